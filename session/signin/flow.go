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
	stateLimit  = 6000 // bytes of a state; web servers take 8 KiB of request line
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
	Trace    string    `json:"w,omitempty"` // W3C traceparent of the request that began it; "" for none

	state string // the flow, sealed
}

func newFlow(kind, returnTo, browser string, now time.Time) flow {
	sum := sha256.Sum256([]byte(browser))
	return flow{Kind: kind, Nonce: randomText(), Verifier: oauth2.GenerateVerifier(), ReturnTo: returnTo, Browser: sum[:], Began: now}
}

// sealFlow makes a flow's state. A return_to that would make it too long for
// the provider's web server is let go.
func (p *RelyingParty) sealFlow(f *flow) (err error) {
	if f.state, err = p.state.Seal(f); err == nil && len(f.state) > stateLimit {
		f.ReturnTo = "/"
		f.state, err = p.state.Seal(f)
	}
	if err != nil {
		return fmt.Errorf("starting sign-in: %w", err)
	}
	return nil
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

// completed notes a sign-in, and keeps no more than it takes to see a loop.
func (b *browserRecord) completed(now time.Time) {
	b.Done = append(b.Done, now.Unix())
	b.Done = b.Done[max(0, len(b.Done)-loopLimit):]
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

// Underway reports whether a request carries the cookie that a sign-in is bound
// to, which browsers keep from what other sites' pages load.
func (p *RelyingParty) Underway(r *http.Request) bool { return p.readBrowser(r).ID != "" }

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
		why = "" // it came, and nobody here knows the session
		if chunk, _ := p.o.Cookies.Read(r, p.o.Cookies.Name("0")); chunk != "" {
			why = TooLarge // the first piece came, the rest of the session did not
		}
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
	case p.o.Cookies.Secure() && cameOverHTTP(r):
		return SecureOverHTTP
	}
	return Blocked
}

// cameOverHTTP guesses, for a page's advice alone, whether a browser came here
// without TLS. Where no proxy tells, Sec-Fetch-Mode does: browsers send it over
// TLS only (Fetch Metadata §2: potentially trustworthy URLs).
func cameOverHTTP(r *http.Request) bool {
	proto := r.Header.Get("X-Forwarded-Proto")
	return r.TLS == nil && (strings.EqualFold(proto, "http") || proto == "" && r.Header.Get("Sec-Fetch-Mode") == "")
}

func hostName(host string) string {
	u := url.URL{Host: host}
	return strings.ToLower(u.Hostname())
}
