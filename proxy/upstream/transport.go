package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// idleTimeout is how long an unused connection to the application is kept:
	// less than the five seconds after which uvicorn and Node close theirs, so
	// that no request meets a connection that is just being closed.
	idleTimeout = 4 * time.Second
	// idleConns is how many are kept: more than the default's 2, with which a
	// proxy would open a connection for nearly every request under load.
	idleConns       = 512
	maxHeaderBytes  = 1 << 20 // of an answer
	continueTimeout = time.Second
	keepAlive       = 30 * time.Second
)

// wire is the connections to one application.
type wire struct {
	main    *http.Transport
	sockets *http.Transport // for WebSockets, where main cannot carry them; else nil
	sign    *signature      // nil: requests go out unsigned
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	next := http.RoundTripper(w.main)
	if w.sockets != nil && len(r.Header["Upgrade"]) > 0 {
		next = w.sockets
	}
	if w.sign != nil {
		return w.sign.send(next, r)
	}
	return next.RoundTrip(r)
}

func (w *wire) close() {
	w.main.CloseIdleConnections()
	if w.sockets != nil {
		w.sockets.CloseIdleConnections()
	}
}

// connect reads a destination's URL: where requests are addressed to, and the
// connections that take them there. HTTP/2 is spoken to https where the server
// chooses it (ALPN), and to h2c from the start (RFC 9113 §3.3); WebSockets
// always go over HTTP/1.1.
func connect(dest string, o Options) (*url.URL, *wire, error) {
	u, err := url.Parse(dest)
	if err != nil {
		return nil, nil, fmt.Errorf("upstream: %w", err)
	}
	to := &url.URL{Scheme: u.Scheme, Host: u.Host}
	w := &wire{main: newTransport(o)}
	switch {
	case u.Scheme == "unix" && u.Path != "" && u.Host == "":
		to.Scheme, to.Host = "http", "localhost"
		w.main.DialContext = dialSocket(u.Path, o)
		return to, w, nil
	case u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil:
		return nil, nil, badURL(dest)
	case u.Scheme == "http":
	case u.Scheme == "https":
		w.main.Protocols.SetHTTP2(true)
	case u.Scheme == "h2c":
		to.Scheme = "http"
		w.sockets = newTransport(o)
		w.main.Protocols.SetHTTP1(false)
		w.main.Protocols.SetUnencryptedHTTP2(true)
	default:
		return nil, nil, badURL(dest)
	}
	return to, w, nil
}

func badURL(dest string) error {
	return fmt.Errorf("upstream: %q is not http://host, https://host, h2c://host or unix:/path", dest)
}

// newTransport is tuned for one host, asks no environment for a proxy, and
// passes bodies as they are.
func newTransport(o Options) *http.Transport {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	dialer := newDialer(o)
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)},
		TLSHandshakeTimeout:    o.DialTimeout,
		ResponseHeaderTimeout:  o.HeaderTimeout,
		ExpectContinueTimeout:  continueTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    idleConns,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: keepAlive, PingTimeout: o.DialTimeout},
		Protocols:              p,
	}
}

func newDialer(o Options) *net.Dialer {
	return &net.Dialer{Timeout: o.DialTimeout, KeepAlive: keepAlive}
}

func dialSocket(path string, o Options) func(context.Context, string, string) (net.Conn, error) {
	dialer := newDialer(o)
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
}

// bufferPool lends ReverseProxy its copy buffers.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get implements httputil.BufferPool.
func (b *bufferPool) Get() []byte {
	if v, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return v[:]
	}
	return make([]byte, bufferSize)
}

// Put implements httputil.BufferPool.
func (b *bufferPool) Put(v []byte) {
	if len(v) == bufferSize {
		b.pool.Put((*[bufferSize]byte)(v))
	}
}
