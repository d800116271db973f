package signin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	flowCookie  = "signin" // suffix of the cookie's name
	flowTime    = 15 * time.Minute
	browserTime = time.Hour
	loopWindow  = time.Minute
	loopLimit   = 3    // completed sign-ins within loopWindow, without a session after them
	returnLimit = 2000 // bytes of a return_to
)

// flow is one attempt to sign in. It travels sealed as the state parameter: no
// server remembers it, and tabs do not disturb each other.
type flow struct {
	Kind     string    `json:"k"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"` // PKCE
	ReturnTo string    `json:"r"`
	Browser  []byte    `json:"b"` // hash of the browser's id
	Began    time.Time `json:"t"`

	state string // the flow, sealed
}

func newFlow(kind, returnTo, browser string, now time.Time) flow {
	sum := sha256.Sum256([]byte(browser))
	return flow{Kind: kind, Nonce: randomText(), Verifier: oauth2.GenerateVerifier(), ReturnTo: returnTo, Browser: sum[:], Began: now}
}

// boundTo reports whether the browser with this id began the flow.
func (f *flow) boundTo(browser string) bool {
	sum := sha256.Sum256([]byte(browser))
	return subtle.ConstantTimeCompare(f.Browser, sum[:]) == 1
}

// browserRecord is the one cookie that all sign-ins of a browser share.
type browserRecord struct {
	ID   string  `json:"i"`
	Done []int64 `json:"d,omitempty"` // when sign-ins were completed lately, in Unix seconds
}

func randomText() string {
	b := make([]byte, 16)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// readBrowser is the browser's record, empty if it has none that opens.
func (p *RelyingParty) readBrowser(r *http.Request) (b browserRecord) {
	value, _ := p.o.Cookies.Read(r, p.o.Cookies.Name(flowCookie))
	if value == "" || p.browser.Open(value, &b) != nil {
		return browserRecord{}
	}
	return b
}

func (p *RelyingParty) writeBrowser(w http.ResponseWriter, b browserRecord) error {
	value, err := p.browser.Seal(b)
	if err != nil {
		return fmt.Errorf("starting sign-in: %w", err)
	}
	p.o.Cookies.SetLax(w, p.o.Cookies.Name(flowCookie), value, browserTime)
	return nil
}

// Forget clears the flow cookie.
func (p *RelyingParty) Forget(w http.ResponseWriter) {
	p.o.Cookies.Clear(w, p.o.Cookies.Name(flowCookie))
}

// countStart notices a browser that starts again although it has completed
// sign-ins just now: its session cookie does not come back.
func (p *RelyingParty) countStart(b *browserRecord, r *http.Request) error {
	since := p.o.Now().Add(-loopWindow).Unix()
	b.Done = slices.DeleteFunc(b.Done, func(t int64) bool { return t < since })
	if len(b.Done) < loopLimit {
		return nil
	}
	name := p.o.Cookies.Name("")
	value, tossed := p.o.Cookies.Read(r, name)
	why := p.whyLost(r)
	switch {
	case tossed:
		why = Tossed
	case value != "":
		why = TooLarge // the cookie came, the rest of the session did not
	}
	return &Error{Kind: Loop, Cookie: name, Why: why}
}

// whyLost works out from a request why a cookie of ours did not come with it.
func (p *RelyingParty) whyLost(r *http.Request) Why {
	host := hostName(r.Host)
	domain := strings.TrimPrefix(p.o.Cookies.Domain(), ".")
	switch {
	case host != hostName(p.o.Public.Host) && (domain == "" || host != domain && !strings.HasSuffix(host, "."+domain)):
		return OtherHost
	case p.o.Cookies.Secure() && r.TLS == nil && strings.HasPrefix(r.Header.Get("Origin")+r.Referer(), "http://"):
		return SecureOverHTTP
	}
	return Blocked
}

func hostName(host string) string {
	u := url.URL{Host: host}
	return strings.ToLower(u.Hostname())
}

// ReturnTo is the one judge of where a sign-in may lead: a path of this site,
// or an address on an allowed host. Anything else, and anything that a browser
// might read in another way, is "/".
func (p *RelyingParty) ReturnTo(raw string) string {
	if raw == "" || len(raw) > returnLimit || strings.ContainsFunc(raw, oddInURL) {
		return "/"
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Opaque != "" {
		return "/"
	}
	if u.Scheme == "" && u.Host == "" {
		if !strings.HasPrefix(raw, "/") || strings.HasPrefix(raw, "//") || climbs(u.Path) {
			return "/"
		}
		return raw
	}
	if u.Scheme == p.o.Public.Scheme && strings.EqualFold(u.Host, p.o.Public.Host) {
		return p.ReturnTo(u.RequestURI())
	}
	if (u.Scheme == "https" || u.Scheme == p.o.Public.Scheme && u.Scheme == "http") && p.returnHost(u) && !strings.HasPrefix(u.Path, "//") {
		return u.String()
	}
	return "/"
}

// climbs reports whether resolving a path's dots could make it begin with two
// slashes, and so a host.
func climbs(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return strings.Contains(path, "//") && strings.HasPrefix(path, "/.")
}

// oddInURL reports characters that browsers drop, or read as a slash.
func oddInURL(r rune) bool { return r <= ' ' || r == '\\' || r >= 0x7f }

// returnHost reports whether a URL's host is among those allowed, at a dot's
// boundary.
func (p *RelyingParty) returnHost(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != p.o.Public.Port() {
		return false
	}
	if host == "" || strings.ContainsFunc(host, oddInURL) { // by percent signs; a browser may make a slash of what is here a letter
		return false
	}
	return slices.ContainsFunc(p.o.ReturnHosts, func(allowed string) bool {
		if strings.HasPrefix(allowed, ".") {
			return strings.HasSuffix(host, allowed) && len(host) > len(allowed)
		}
		return host == allowed
	})
}
