package pages

import (
	"net/mail"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"anteroom/session"
)

// view is what a template works with: the page and the words of one language.
type view struct {
	Page   Page
	Assets assetPaths
	Ref    string // to quote when asking for help; "" for none
	Posted bool   // the request was not a GET: trying again is not for us to offer

	catalog *catalog
	now     time.Time
}

// Lang is the page's language, as BCP 47 writes it.
func (v *view) Lang() string { return v.catalog.code }

// T is a text, with {name} replaced by the value that follows name.
func (v *view) T(key string, pairs ...any) (string, error) { return v.catalog.text(key, pairs...) }

// Topic is what the page's texts are filed under.
func (v *view) Topic() string { return v.Page.topic() }

// Title is the page's heading.
func (v *view) Title() (string, error) {
	if e, ok := v.Page.(Error); ok && e.Title != "" {
		return e.Title, nil
	}
	return v.T(v.Page.topic() + ".title")
}

// Lead is the page's first sentence.
func (v *view) Lead() (string, error) {
	if e, ok := v.Page.(Error); ok && e.Text != "" {
		return e.Text, nil
	}
	return v.T(v.Page.topic() + ".lead")
}

// Door says how the doorway above the heading stands: open, ajar, shut, or
// dark where something is out of order.
func (v *view) Door() string {
	switch v.Page.(type) {
	case Account, SignedIn, Continue:
		return "open"
	case SignOutAsk, LostForm, FrameSignIn, Connecting:
		return "ajar"
	case SignInFailed, Unavailable, Error:
		return "dark"
	}
	return "shut"
}

// When is a moment as the page shows it.
type When struct {
	Machine string // RFC 3339
	Human   string // date and time in UTC, in words
	Near    string // how far away, in words
}

// When puts a moment into words; nil for the zero time.
func (v *view) When(t time.Time) (*When, error) {
	if t.IsZero() {
		return nil, nil
	}
	human, err := v.catalog.date(t)
	if err != nil {
		return nil, err
	}
	near, err := v.catalog.near(t.Sub(v.now))
	return &When{Machine: t.UTC().Format(time.RFC3339), Human: human, Near: near}, err
}

// Span puts a length of time into words: "5 seconds".
func (v *view) Span(d time.Duration) (string, error) { return v.catalog.span(d) }

// Row is a line of a table with a moment in it.
func (v *view) Row(label string, t time.Time) (map[string]any, error) {
	when, err := v.When(t)
	if when == nil || err != nil {
		return nil, err
	}
	text, err := v.T(label)
	return map[string]any{"Label": text, "When": when}, err
}

// Link is a URL fit for href, action and meta refresh; "" for any other.
func (v *view) Link(s string) string { return link(s) }

// Host is the host of a URL as a person would name it, or the URL itself.
func (v *view) Host(s string) string {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		return u.Host + strings.TrimSuffix(u.Path, "/")
	}
	return s
}

// Mail is a mailto URL where s is a mail address, else "".
func (v *view) Mail(s string) string {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s {
		return ""
	}
	return (&url.URL{Scheme: "mailto", Opaque: url.PathEscape(s)}).String()
}

// Person is somebody as the page names them.
type Person struct {
	Initial string
	Name    string   // the best name there is
	Also    []string // user name and mail, where they add something
}

// Person names who is signed in; nil for nobody.
func (v *view) Person(who *session.Identity) *Person {
	if who == nil {
		return nil
	}
	p := &Person{Name: first(strings.TrimSpace(who.Name), who.Username, who.Subject)}
	for _, s := range []string{first(who.Username, who.Subject), who.Email} {
		if s != "" && s != p.Name {
			p.Also = append(p.Also, s)
		}
	}
	if r, _ := utf8.DecodeRuneInString(p.Name); unicode.IsLetter(r) || unicode.IsDigit(r) {
		p.Initial = string(unicode.ToUpper(r))
	}
	return p
}

// groupsShown is how many groups are shown before the rest is folded away.
const groupsShown = 12

// Groups are a person's groups: those shown at once, and the rest.
func (v *view) Groups(who *session.Identity) [2][]string {
	g := who.Groups
	n := min(len(g), groupsShown)
	return [2][]string{g[:n], g[n:]}
}

// Count is how many things there are, with their noun.
func (v *view) Count(noun string, n int) (string, error) { return v.catalog.count(noun, n) }

// link returns s where a browser can do no more with it than go there: an
// absolute http or https URL with a host, or an absolute path.
func link(s string) string {
	u, err := url.Parse(s)
	odd := func(c rune) bool { return c == '\\' || unicode.IsControl(c) } // of which url.Parse lets some pass in a fragment
	if err != nil || u.Opaque != "" || strings.ContainsFunc(s, odd) {
		return ""
	}
	switch {
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return s
	case u.Scheme == "" && u.Host == "" && strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//"):
		return s
	}
	return ""
}
