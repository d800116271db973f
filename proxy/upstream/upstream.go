// Package upstream is the request as the application receives it: stripped of
// everything that only Anteroom may say, with who is calling added, its path,
// query and body untouched. It trusts the identity it is handed and the
// application it is configured for, and nothing the client sent.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"

	"anteroom/session"
)

var (
	// ErrUnreachable: the application could not be reached, or broke off before
	// it answered. It is context.Canceled as well where the client or the
	// session was gone first, which is no fault of the application's; and
	// *http.MaxBytesError where the body was too long.
	ErrUnreachable = errors.New("application unreachable")
	// ErrTimeout: the application did not answer in time.
	ErrTimeout = errors.New("application timed out")
	// ErrTarget: the request target (RFC 9112 §3.2) cannot be passed on as it
	// is: it holds a space or control character, or begins with // and is no
	// path by RFC 3986. The client is at fault (400).
	ErrTarget = errors.New("request target cannot be passed on")
)

// Destination is one application as a route names it.
type Destination struct {
	// URL is http://, https://, h2c:// or unix:/path, without a path. The
	// application gets the Host that the request was judged by (Hop.Host), whatever
	// the scheme: links it makes are right. Over https the server's name (SNI, RFC 6066 §3) and its
	// certificate are those of the URL.
	URL        string
	Audience   string // the JWT's aud; see AudienceOf for ""
	JWTInQuery bool   // also set the JWT as a query parameter
	Sign       string // SignNothing, SignRequest or SignBody; "" for the first
}

// Options is what a Forwarder needs besides its configuration.
type Options struct {
	OwnCookie              func(name string) bool                    // which cookies are ours; nil for none. They stay here
	MethodOverrideStripped bool                                      // X-HTTP-Method-Override is for us to keep away
	DialTimeout            time.Duration                             // for connecting, and again for TLS; zero for none
	HeaderTimeout          time.Duration                             // from request sent to answer begun; zero for none
	MaxMessage             int64                                     // bytes of a WebSocket message, either way; 0 for no limit
	TooBig                 func()                                    // told of each that was longer; nil: nobody is
	Log                    *slog.Logger                              // told of answers that break off; nil for nobody
	Traced                 func(http.RoundTripper) http.RoundTripper // has requests told of; nil: nobody is told
}

// Hop is what is known of a request's way here.
type Hop struct {
	ClientIP     string
	ForwardedFor string // the whole value for X-Forwarded-For
	Proto, Host  string
	RequestID    string
	Traceparent  string // "" for none
	Tracestate   string // goes with it; "" for none
}

// Forwarder sends requests to one destination. Safe for concurrent use.
type Forwarder struct {
	o        Options
	cfg      Config
	dest     Destination
	audience string
	asserter *Asserter
	strip    *stripper
	to       *url.URL
	wire     *wire
	proxy    *httputil.ReverseProxy
	away     atomic.Bool // nobody listened there the last time
}

// NewForwarder makes a forwarder; it opens no connection. An error means that
// the destination's URL is none.
func NewForwarder(cfg Config, d Destination, a *Asserter, o Options) (*Forwarder, error) {
	if o.OwnCookie == nil {
		o.OwnCookie = func(string) bool { return false }
	}
	f := &Forwarder{o: o, cfg: cfg, dest: d, audience: AudienceOf(cfg.JWT, d), asserter: a, strip: newStripper(cfg, o.MethodOverrideStripped)}
	var err error
	if f.to, f.wire, err = connect(d.URL, o); err != nil {
		return nil, err
	}
	f.wire.sign = newSignature(cfg, d.Sign, a)
	var wire http.RoundTripper = f.wire
	if o.Traced != nil {
		wire = o.Traced(wire)
	}
	f.proxy = &httputil.ReverseProxy{
		Rewrite:        f.rewrite,
		Transport:      wire,
		BufferPool:     &bufferPool{},
		ModifyResponse: f.answered,
		ErrorHandler:   func(_ http.ResponseWriter, r *http.Request, err error) { callOf(r).err = session.WithoutQuotes(err) },
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	if o.Log != nil {
		f.proxy.ErrorLog = slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)
	}
	return f, nil
}

// Close closes idle connections; requests under way go on.
func (f *Forwarder) Close() { f.wire.close() }

// Forward sends the request on and the answer back. who is nil where nobody
// need be known: no identity is told then. An error means that nothing was
// written, and is ErrUnreachable, ErrTimeout, ErrTarget or a fault in making
// the assertion; an answer that breaks off is cut off, by panicking with
// http.ErrAbortHandler. When the request's context ends, so do WebSockets and
// streams, on both sides.
func (f *Forwarder) Forward(w http.ResponseWriter, r *http.Request, who *session.Identity, hop *Hop) error {
	c := &call{ResponseWriter: w, f: f, r: r, hop: hop}
	var err error
	if c.target, err = targetOf(r); err != nil {
		return err
	}
	if who != nil {
		if c.as, err = f.asserter.assert(who, f.audience); err != nil {
			return err
		}
	}
	if len(w.Header()) > 0 {
		c.before = w.Header().Clone()
	}
	if r.ContentLength != 0 {
		// Without it, net/http reads the rest of the client's body away as the
		// answer begins, and the application would miss it (HTTP/1.1 only).
		_ = http.NewResponseController(w).EnableFullDuplex()
		c.whenOver(func() { _ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) }) // a client that sends no more would hold it up
	}
	defer c.done()
	f.proxy.ServeHTTP(c, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
	err = c.fault()
	f.heard(err, hop)
	return err
}

// heard says when the application cannot be connected to any more, and when it
// can again: once, for requests say it each.
func (f *Forwarder) heard(err error, hop *Hop) {
	var op *net.OpError
	switch {
	case err == nil:
		if f.away.Load() && f.away.Swap(false) && f.o.Log != nil {
			f.o.Log.Info("the application can be reached again", "upstream", f.dest.URL)
		}
	case errors.Is(err, ErrUnreachable) && errors.As(err, &op) && op.Op == "dial" && !errors.Is(err, context.Canceled):
		if !f.away.Swap(true) {
			f.warn("the application cannot be reached", hop, err)
		}
	}
}

func (f *Forwarder) warn(what string, hop *Hop, err error) {
	if f.o.Log != nil {
		f.o.Log.Warn(what, "upstream", f.dest.URL, "error", err, "request_id", hop.RequestID)
	}
}

// call is one request on its way: what rewrite needs to know, what became of
// it, and the answer's way back (answer.go).
type call struct {
	http.ResponseWriter
	f      *Forwarder
	r      *http.Request // its context ends with the session
	hop    *Hop
	target target
	as     *assertion // nil: nobody
	err    error
	body   body // the answer's

	before  http.Header // the answer's header as it was handed to us
	cleared bool        // of that, for an informational answer
	begun   bool        // the answer itself has begun
	stops   []func()    // called when the answer is over
}

type callKey struct{}

func callOf(r *http.Request) *call {
	c, _ := r.Context().Value(callKey{}).(*call)
	return c
}

// fault names what went wrong before the answer began.
func (c *call) fault() error {
	if c.err == nil {
		return nil
	}
	if c.begun { // the connection was taken over: there is nobody to tell
		panic(http.ErrAbortHandler)
	}
	if errors.Is(c.err, ErrUnsigned) || errors.Is(c.err, ErrBusy) || errors.Is(c.err, ErrSlowBody) {
		return c.err
	}
	var slow net.Error
	if errors.As(c.err, &slow) && slow.Timeout() {
		return fmt.Errorf("%w: %w", ErrTimeout, c.err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, c.err)
}
