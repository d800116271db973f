// Package forwardauth is how front proxies ask whether a request may pass, and
// how they want to be told. A dialect recovers the request that is asked about
// and says what of an answer its front proxy can deliver; whether the request
// may pass is judged elsewhere, by the rules that hold when proxying.
//
// It trusts a front proxy's headers only as far as they are whole: a part that
// is missing, doubled or malformed is no question (ErrQuestion). That the peer
// is a front proxy at all is for the caller to make sure of.
package forwardauth

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
)

// Asked is the request that a front proxy asks about, as it reached the front
// proxy. None of it is judged yet, but each part is there and well-formed.
type Asked struct {
	Method string // a token (RFC 9110 §9.1)
	Proto  string // http or https
	Host   string // with the port, if the client named one
	Target string // path and query as sent: origin-form (RFC 9112 §3.2.1)
}

// AllCookies: however many there are.
const AllCookies = math.MaxInt

// ErrQuestion: what the front proxy sent is not one whole question. The request
// it is about must be refused; a guess would be somebody else's to make.
var ErrQuestion = errors.New("the front proxy's question cannot be read")

// Dialect is one front proxy's way of asking, and of hearing an answer. The
// zero values of the latter describe nothing: see All.
type Dialect struct {
	Name string
	// Path is where it asks. One that ends in a slash stands for everything
	// below it, too.
	Path string
	// Ask recovers the question. The error wraps ErrQuestion and names the part.
	Ask func(r *http.Request) (Asked, error)
	// Relays: an answer that is not 2xx goes to the client as it is, redirects
	// and pages among them. Others tell yes from 401 and 403 alone.
	Relays bool
	// Cookies is how many Set-Cookie of a yes reach the client, or
	// AllCookies.
	Cookies int
	// Removes: headers can be taken from the request on its way to the
	// application.
	Removes bool
}

// All lists every dialect.
func All() []*Dialect {
	return []*Dialect{verify(), forward(), nginx(), haproxy(), traefik(), caddy(), envoy()}
}

// Status is the status that says what status would say to a client. A front
// proxy that does not relay takes anything but 401 and 403 for a failure of
// ours; what is one, stays one.
func (d *Dialect) Status(status int) int {
	if d.Relays || status == http.StatusUnauthorized || status >= 500 {
		return status
	}
	return http.StatusForbidden
}

// verify is the door for front proxies that act upon a status alone and have
// no dialect of their own.
func verify() *Dialect {
	return &Dialect{Name: "verify", Path: "/auth/verify", Ask: either}
}

// forward is the same for those that relay the answer.
func forward() *Dialect {
	return &Dialect{Name: "forward", Path: "/auth/forward", Ask: either, Relays: true, Cookies: AllCookies}
}

// either reads a question in one of the two common forms. Where there is
// something of both, as when a client adds the form that its front proxy does
// not use, both must be whole and say the same.
func either(r *http.Request) (Asked, error) {
	var q Asked
	var err error
	f, o := has(r.Header, "X-Forwarded-Uri", "X-Forwarded-Method"), has(r.Header, "X-Original-Url", "X-Original-Uri", "X-Original-Method")
	if f || !o {
		if q, err = forwarded(r.Header); err != nil {
			return q, err
		}
	}
	if !o {
		return q, nil
	}
	other, err := original(r)
	if err == nil && f && other != q {
		err = fmt.Errorf("%w: X-Forwarded-* and X-Original-* differ", ErrQuestion)
	}
	return other, err
}

func has(h http.Header, names ...string) bool {
	for _, n := range names {
		if len(h[n]) > 0 {
			return true
		}
	}
	return false
}

// forwarded reads X-Forwarded-Method, -Proto, -Host and -Uri.
func forwarded(h http.Header) (q Asked, err error) {
	for _, part := range []struct {
		name string
		to   *string
	}{{"X-Forwarded-Method", &q.Method}, {"X-Forwarded-Proto", &q.Proto}, {"X-Forwarded-Host", &q.Host}, {"X-Forwarded-Uri", &q.Target}} {
		if *part.to, err = one(h, part.name); err != nil {
			return q, err
		}
	}
	return q, q.settle("X-Forwarded-*")
}

// original reads X-Original-Method and X-Original-URL, an absolute one.
//
// ingress-nginx writes the Host header into that URL, and forwards by the host of
// the request line where one is there (RFC 9112 §3.2.2): who sends two hosts would
// be judged by the one and reach the other. So it has to ask with ?host=$host,
// which is where it forwards to.
func original(r *http.Request) (q Asked, err error) {
	h := r.Header
	if q.Method, err = one(h, "X-Original-Method"); err != nil {
		return q, err
	}
	address, err := one(h, "X-Original-Url")
	if err != nil {
		return q, err
	}
	var ok bool
	if q.Proto, address, ok = strings.Cut(address, "://"); !ok {
		return q, fmt.Errorf("%w: X-Original-Url is not absolute", ErrQuestion)
	}
	slash := strings.IndexByte(address, '/')
	if slash < 0 {
		return q, fmt.Errorf("%w: X-Original-Url has no path", ErrQuestion)
	}
	q.Host, q.Target = address[:slash], address[slash:]
	if slices.Contains(h["X-Sent-From"], "nginx-ingress-controller") {
		if _, query, _ := strings.Cut(r.RequestURI, "?"); !strings.EqualFold(query, "host="+bare(q.Host)) {
			return q, fmt.Errorf("%w: it is from ingress-nginx, which has to ask at an address that ends in ?host=$host, and the host there and of X-Original-Url differ", ErrQuestion)
		}
	}
	return q, q.settle("X-Original-*")
}

// bare is a host as nginx has it in $host: without port and trailing dot.
func bare(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}

// one returns the one value of a header.
func one(h http.Header, name string) (string, error) {
	switch v := h[name]; {
	case len(v) == 0 || v[0] == "":
		return "", fmt.Errorf("%w: %s is missing", ErrQuestion, name)
	case len(v) > 1:
		return "", fmt.Errorf("%w: %s is there %d times", ErrQuestion, name, len(v))
	default:
		return v[0], nil
	}
}

// settle judges the form of every part; from names where they were found.
func (q *Asked) settle(from string) error {
	var ok bool
	switch q.Proto, ok = Scheme(q.Proto); {
	case !ok:
		return fmt.Errorf("%w: %s names no scheme of the web", ErrQuestion, from)
	case q.Method == "" || strings.ContainsFunc(q.Method, noToken):
		return fmt.Errorf("%w: %s names no method", ErrQuestion, from)
	case q.Host == "" || strings.ContainsFunc(q.Host, noHost):
		return fmt.Errorf("%w: %s names no host", ErrQuestion, from)
	case len(q.Target) > maxTarget:
		return fmt.Errorf("%w: %s has too long a path", ErrQuestion, from)
	case !strings.HasPrefix(q.Target, "/"), strings.HasPrefix(q.Target, "//"), strings.ContainsFunc(q.Target, noTarget):
		return fmt.Errorf("%w: %s has no path that begins with one slash and is free of spaces and fragments", ErrQuestion, from)
	}
	return nil
}

// maxTarget is the longest path and query that is judged, in bytes.
const maxTarget = 32 << 10

// Scheme is the scheme, http or https, that a front proxy names; WebSockets'
// own are two of them.
func Scheme(s string) (proto string, ok bool) {
	switch strings.ToLower(s) {
	case "http", "ws":
		return "http", true
	case "https", "wss":
		return "https", true
	}
	return "", false
}

// noToken reports what may not be in a token (RFC 9110 §5.6.2).
func noToken(c rune) bool {
	return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
}

// noHost reports what may not be in a host and port as browsers write them.
func noHost(c rune) bool {
	letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
	return !letter && !strings.ContainsRune("-._:[]", c)
}

// noTarget reports what may not be in a request target. What else is odd about
// it is for the policy to judge.
func noTarget(c rune) bool { return c <= ' ' || c == '#' || c == 0x7f }
