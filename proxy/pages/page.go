package pages

import (
	"net/http"
	"time"

	"anteroom/session"
)

// Page is one of this package's pages. All are values; their zero value
// renders, with what is missing left out. URLs must be http, https or begin
// with a slash: anything else leads nowhere.
type Page interface {
	name() string  // of its template
	topic() string // what the texts of its heading and first sentence are filed under
}

// kinds lists every page.
func kinds() []Page {
	return []Page{
		Account{}, SignOutAsk{}, SignedOut{}, SignedIn{}, Continue{}, NotAllowed{}, Forbidden{},
		Unavailable{}, SignInFailed{}, LostForm{}, FrameSignIn{}, Connecting{}, Disconnected{}, Error{},
	}
}

// Account tells a person who they are here and how long that lasts. A zero
// time or a nil Identity is left out.
type Account struct {
	Identity *session.Identity
	Started  time.Time // sign-in
	LastSeen time.Time
	Ends     time.Time // at the latest
	IdleEnds time.Time // if nothing happens until then
	Sessions Sessions  // all of the person's
	Access   Connection
	Provider string // Nextcloud's URL
	SignOut  string // where the form to sign out is posted to
}

// SignOutAsk asks whether to sign out, for a GET must not do it.
type SignOutAsk struct {
	Identity *session.Identity
	Action   string // where the answer is posted to
	Back     string // where no leads
}

// SignedOut is what follows signing out.
type SignedOut struct {
	SignIn   string
	Provider bool // the person comes from the provider's own sign-out
}

// SignedIn ends a sign-in that was done in a tab of its own: the other tab
// holds what the person was doing.
type SignedIn struct{}

// Continue goes on to another URL at once, by meta refresh, with a link beside
// it. It takes the place of a redirect where browsers would hold the page
// before against it.
type Continue struct {
	To string
}

// NotAllowed is for a person who proved who they are but may not enter.
type NotAllowed struct {
	Identity *session.Identity
	Switch   string // where to sign in as somebody else
	Contact  string // whom to ask: a mail address, a URL or words; "" for nobody in particular
	ByApp    bool   // the application says so (identity.provision), not our configuration
}

// Forbidden is for a person who may enter the site but not this part of it.
type Forbidden struct {
	Identity *session.Identity
	Switch   string // where to sign in as somebody else
}

// Unavailable says that something does not answer at the moment, and that
// nobody was signed out over it.
type Unavailable struct {
	What       string        // "nextcloud", "store", "sign_out", "connection", "provision" or "application"
	RetryAfter time.Duration // zero: not known
}

// FrameSignIn is shown within another page's frame, where signing in cannot
// be done: it leads out of the frame.
type FrameSignIn struct {
	SignIn string
}

// Error is any other error.
type Error struct {
	Status    int
	Title     string // "" for the status's own
	Text      string // "" for the status's own
	RequestID string // to quote; "" for the reply's X-Request-Id
	Site      string // where the start page is; "" for / here
	Account   string // where the account page is, if that is where to go; "" if not
}

func (Account) name() string     { return "account" }
func (SignOutAsk) name() string  { return "sign_out_ask" }
func (SignedOut) name() string   { return "signed_out" }
func (SignedIn) name() string    { return "signed_in" }
func (Continue) name() string    { return "continue" }
func (NotAllowed) name() string  { return "not_allowed" }
func (Forbidden) name() string   { return "forbidden" }
func (Unavailable) name() string { return "unavailable" }
func (FrameSignIn) name() string { return "frame_sign_in" }
func (Error) name() string       { return "error" }

func (Account) topic() string     { return "account" }
func (SignOutAsk) topic() string  { return "sign_out_ask" }
func (SignedOut) topic() string   { return "signed_out" }
func (SignedIn) topic() string    { return "signed_in" }
func (Continue) topic() string    { return "continue" }
func (NotAllowed) topic() string  { return "not_allowed" }
func (Forbidden) topic() string   { return "forbidden" }
func (FrameSignIn) topic() string { return "frame_sign_in" }

func (u Unavailable) topic() string {
	switch u.What {
	case "nextcloud", "store", "sign_out", "connection", "provision":
		return "unavailable." + u.What
	}
	return "unavailable.application"
}

func (e Error) topic() string {
	switch e.Status {
	case http.StatusBadRequest:
		return "error.400"
	case http.StatusForbidden:
		return "error.403"
	case http.StatusNotFound:
		return "error.404"
	case http.StatusMethodNotAllowed:
		return "error.405"
	case http.StatusMisdirectedRequest:
		return "error.421"
	}
	if e.Status >= 400 && e.Status < 500 {
		return "error.refused"
	}
	return "error.broken"
}
