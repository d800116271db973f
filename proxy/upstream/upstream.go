// Package upstream is the request as the application receives it: stripped of
// everything that only Anteroom may say, with who is calling added, its path,
// query and body untouched. It trusts the identity it is handed and the
// application it is configured for, and nothing the client sent.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"anteroom/session"
)

var (
	// ErrUnreachable: the application could not be reached, or broke off before
	// it answered. Nothing was written to the client.
	ErrUnreachable = errors.New("application unreachable")
	// ErrTimeout: the application did not answer in time. Nothing was written.
	ErrTimeout = errors.New("application timed out")
)

// Destination is one application as a route names it.
type Destination struct {
	URL        string // http://, https://, h2c:// or unix:/path
	Audience   string // the JWT's aud; see AudienceOf for ""
	JWTInQuery bool   // also set the JWT as a query parameter
}

// Options is what a Forwarder needs besides its configuration.
type Options struct {
	OwnCookie              func(name string) bool // which cookies are ours; they stay here
	MethodOverrideStripped bool                   // X-HTTP-Method-Override is for us to keep away
	DialTimeout            time.Duration
	Log                    *slog.Logger
}

// Hop is what is known of a request's way here.
type Hop struct {
	ClientIP     string
	ForwardedFor string // the whole value for X-Forwarded-For
	Proto, Host  string
	RequestID    string
	Traceparent  string
}

// Forwarder sends requests to one destination. Safe for concurrent use.
type Forwarder struct {
	o         Options
	cfg       Config
	dest      Destination
	audience  string
	asserter  *Asserter
	strip     *stripper
	to        *url.URL
	transport *http.Transport
	proxy     *httputil.ReverseProxy
}

// NewForwarder makes a forwarder; it opens no connection.
func NewForwarder(cfg Config, d Destination, a *Asserter, o Options) (*Forwarder, error) {
	f := &Forwarder{o: o, cfg: cfg, dest: d, audience: AudienceOf(cfg.JWT, d), asserter: a, strip: newStripper(cfg, o.MethodOverrideStripped)}
	if err := f.connect(); err != nil {
		return nil, err
	}
	f.proxy = &httputil.ReverseProxy{
		Rewrite:        f.rewrite,
		Transport:      f.transport,
		BufferPool:     &bufferPool{},
		ModifyResponse: f.answered,
		ErrorHandler:   func(_ http.ResponseWriter, r *http.Request, err error) { callOf(r).err = err },
		ErrorLog:       log.New(io.Discard, "", 0), // what goes wrong is returned, or ends the answer
	}
	return f, nil
}

// connect makes the transport for the destination's scheme.
func (f *Forwarder) connect() error {
	dialer := &net.Dialer{Timeout: f.o.DialTimeout, KeepAlive: 30 * time.Second}
	f.transport = &http.Transport{
		DialContext:           dialer.DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   f.o.DialTimeout,
		MaxIdleConnsPerHost:   512,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // bodies pass byte for byte

	}
	p := new(http.Protocols)
	f.transport.Protocols = p
	u, err := url.Parse(f.dest.URL)
	if err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	switch {
	case u.Scheme == "http", u.Scheme == "https":
		p.SetHTTP1(true)
		p.SetHTTP2(u.Scheme == "https")
		f.to = u
	case u.Scheme == "h2c":
		p.SetUnencryptedHTTP2(true)
		f.to = &url.URL{Scheme: "http", Host: u.Host}
	case u.Scheme == "unix" && u.Path != "":
		p.SetHTTP1(true)
		f.to = &url.URL{Scheme: "http", Host: "localhost"}
		f.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", u.Path)
		}
	default:
		return fmt.Errorf("upstream: %q is not http://, https://, h2c:// or unix:/path", f.dest.URL)
	}
	return nil
}

// Close closes idle connections.
func (f *Forwarder) Close() { f.transport.CloseIdleConnections() }

// call is one request on its way: what rewrite needs to know, and what went
// wrong.
type call struct {
	hop *Hop
	as  *assertion // nil: nobody
	err error
}

type callKey struct{}

func callOf(r *http.Request) *call {
	c, _ := r.Context().Value(callKey{}).(*call)
	return c
}

// Forward sends the request on and the answer back. who is nil where nobody
// need be known. An error (ErrUnreachable, ErrTimeout) means that nothing was
// written; an answer that breaks off is cut off, by panicking with
// http.ErrAbortHandler. When the request's context ends, so do WebSockets and
// streams, on both sides.
func (f *Forwarder) Forward(w http.ResponseWriter, r *http.Request, who *session.Identity, hop *Hop) error {
	c := &call{hop: hop}
	if who != nil {
		var err error
		if c.as, err = f.asserter.assert(who, f.audience); err != nil {
			return err
		}
	}
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	f.proxy.ServeHTTP(w, r)
	return unreachable(c.err)
}

func unreachable(err error) error {
	var timeout net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// rewrite makes the application's request of the client's. ReverseProxy has
// removed hop-by-hop headers before, those that Connection names too, so that
// nothing named there removes what is set here.
func (f *Forwarder) rewrite(p *httputil.ProxyRequest) {
	c := callOf(p.In)
	h := p.Out.Header
	f.strip.strip(h)
	filterCookies(h, f.o.OwnCookie)
	upgrade(p)
	p.Out.Trailer = nil // it could smuggle any header past us
	p.Out.Host = p.In.Host
	f.address(p, c)
	if c.as != nil {
		for _, x := range c.as.headers {
			h[x.name] = x.value
		}
	}
	h["X-Request-Id"] = []string{c.hop.RequestID}
	h["Traceparent"] = []string{c.hop.Traceparent}
	h["X-Forwarded-For"] = []string{c.hop.ForwardedFor}
	h["X-Forwarded-Proto"] = []string{c.hop.Proto}
	h["X-Forwarded-Host"] = []string{c.hop.Host}
}

// upgrade lets WebSocket handshakes through (RFC 6455 §4.1) and drops any
// other Upgrade: h2c would open a tunnel past the gate.
func upgrade(p *httputil.ProxyRequest) {
	h := p.Out.Header
	delete(h, "Http2-Settings")
	if u := p.In.Header["Upgrade"]; len(u) == 1 && strings.EqualFold(u[0], "websocket") {
		return
	}
	delete(h, "Upgrade")
	delete(h, "Connection")
}

// address points the request at the destination, its path and query being the
// bytes the client sent. URL.Opaque goes into the request line as it is; only
// one that begins with // would be taken for a host, and takes the way of Path.
func (f *Forwarder) address(p *httputil.ProxyRequest, c *call) {
	u := p.Out.URL
	u.Scheme, u.Host = f.to.Scheme, f.to.Host
	raw, query, hasQuery := strings.Cut(p.In.RequestURI, "?")
	if strings.HasPrefix(raw, "/") && !strings.HasPrefix(raw, "//") {
		u.Opaque = raw
	}
	if !strings.HasPrefix(raw, "/") {
		query = p.In.URL.RawQuery
	}
	u.RawQuery, u.ForceQuery = query, hasQuery && query == ""
	if f.dest.JWTInQuery {
		token := ""
		if c.as != nil {
			token = c.as.jwt
		}
		u.RawQuery = withToken(u.RawQuery, f.cfg.JWT.Query, token)
	}
}

// answered looks at the application's answer: it may not set our cookies.
func (f *Forwarder) answered(resp *http.Response) error {
	lines := resp.Header["Set-Cookie"]
	if len(lines) == 0 {
		return nil
	}
	kept := lines[:0]
	for _, line := range lines {
		if !f.o.OwnCookie(cookieName(line)) {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(resp.Header, "Set-Cookie")
	} else {
		resp.Header["Set-Cookie"] = kept
	}
	return nil
}

// bufferPool lends ReverseProxy its copy buffers.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *bufferPool) Get() []byte {
	if v, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return v[:]
	}
	return make([]byte, bufferSize)
}

func (b *bufferPool) Put(v []byte) {
	if len(v) == bufferSize {
		b.pool.Put((*[bufferSize]byte)(v))
	}
}
