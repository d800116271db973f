// Package audit writes down what was decided: one line of JSON for every
// sign-in, refusal, sign-out, alert, and every request that was answered. It is
// apart from the logs, which are about the program; this is about people. It
// holds no token, no mail address and no query string.
//
// The lines of a stream are a chain: each carries a hash over itself and all
// before it, and from time to time that hash is signed, so that a line that was
// taken out, changed, moved or repeated is found (Verify).
package audit

import (
	"time"

	"anteroom/session"
)

// Kind is what happened; a closed set.
type Kind string

// What is written down.
const (
	SignIn         Kind = "sign_in"         // somebody signed in
	SignInFailed   Kind = "sign_in_fail"    // a sign-in came back and was not accepted
	SignOut        Kind = "sign_out"        // somebody signed out
	Provisioned    Kind = "provision"       // the application was told of somebody who signs in
	SessionEnded   Kind = "session_ended"   // a session ended by itself, or because it was revoked
	Refused        Kind = "refused"         // a request was refused
	Connected      Kind = "connect"         // somebody let us act for them at Nextcloud
	Disconnected   Kind = "disconnect"      // and no longer does, or Nextcloud does not
	ConnectRefused Kind = "connect_refused" // somebody granted that, and it is of no use
	Access         Kind = "access"          // files, calendars, contacts or mail were read or changed, or that was tried
	Request        Kind = "request"         // a request to the application was answered
	Begun          Kind = "begun"           // a request may go on; what came of it is a line of its own
	Alert          Kind = "alert"           // a rule of watch found something
	SecretRefused  Kind = "secret_refused"  // a changed secret, or file of authorities, is not used; Operation is its key
)

// What the stream says of itself.
const (
	Opened     Kind = "open"       // writing began; prev is the hash that it goes on from
	Checkpoint Kind = "checkpoint" // its hash is signed
	Closed     Kind = "close"      // writing ended in an orderly way; the hash is signed
	Lost       Kind = "lost"       // so many events could not be kept before this line
)

// Event is one line. Empty fields are left out.
type Event struct {
	Time      time.Time      `json:"time"`
	Kind      Kind           `json:"event"`
	Subject   string         `json:"sub,omitempty"`
	Session   string         `json:"sid,omitempty"`
	Means     session.Method `json:"by,omitempty"`     // how the person is known
	Client    string         `json:"client,omitempty"` // network address
	Method    string         `json:"method,omitempty"`
	Host      string         `json:"host,omitempty"`
	Path      string         `json:"path,omitempty"`      // escaped, without query
	Operation string         `json:"operation,omitempty"` // of the JSON API
	Object    string         `json:"object,omitempty"`    // what that is about, where the path does not say: a file's path
	To        string         `json:"to,omitempty"`        // escaped path of the destination of a copy or move
	As        string         `json:"as,omitempty"`        // service account that Nextcloud saw; empty for a person's own
	Status    int            `json:"status,omitempty"`    // of the answer
	Received  int64          `json:"received,omitempty"`  // bytes of body, from the client
	Sent      int64          `json:"sent,omitempty"`      // bytes of body, to the client
	Reason    string         `json:"reason,omitempty"`    // from a closed set
	RequestID string         `json:"request_id,omitempty"`
	Alert     string         `json:"alert,omitempty"`  // the rule that found something
	Device    string         `json:"device,omitempty"` // browser and system, in words
	Count     int            `json:"count,omitempty"`  // of events that a line stands for

	// Plain is how many bytes at the start of Path name nothing of anybody's, and
	// are not hashed; PlainTo the same of To.
	Plain   int `json:"-"`
	PlainTo int `json:"-"`

	// Tried is what watch goes by, and no line holds.
	Tried Tried `json:"-"`
}

// Tried is what a refused request came with. People type passwords where names
// belong, so none of it is written down.
type Tried struct {
	Account string      // the name; "" for none
	Proof   uint64      // stands for name and secret, in this process only; 0 for none
	Over    session.End // why the session ended that it came with; "" for none
}

// By fills in who it is about; nil changes nothing.
func (e Event) By(who *session.Identity) Event {
	if who != nil {
		e.Subject, e.Session, e.Means = who.Subject, who.SessionID, who.Method
	}
	return e
}
