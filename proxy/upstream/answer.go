package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"anteroom/session"
)

// longAnswer is from how many bytes on an answer is taken for a stream, as is
// any of unknown length.
const longAnswer = 1 << 20

// answered looks at the application's answer before it goes out: it may not
// set our cookies, and a stream is cut off when the session ends.
func (f *Forwarder) answered(resp *http.Response) error {
	filterSetCookies(resp.Header, f.o.OwnCookie)
	c := callOf(resp.Request)
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		c.switched(resp)
		return nil
	case resp.ContentLength < 0, resp.ContentLength > longAnswer:
		rc := http.NewResponseController(c.ResponseWriter)
		c.whenOver(func() { rc.SetWriteDeadline(time.Unix(1, 0)) })
	}
	c.body = body{resp.Body, c}
	resp.Body = &c.body
	return nil
}

// body is an answer's. If the request ends before it does, reading it is
// context.Canceled and no more: whatever the cause, to ReverseProxy anything
// else is a fault of the application's that is worth a line in the log.
type body struct {
	io.ReadCloser
	c *call
}

func (b *body) Read(p []byte) (n int, err error) {
	switch n, err = b.ReadCloser.Read(p); {
	case err == nil, err == io.EOF:
	case errors.Is(err, context.Canceled):
		err = context.Canceled
	default:
		err = session.WithoutQuotes(err)
		b.c.f.warn("the application broke its answer off", b.c.hop, err)
	}
	return n, err
}

// whenOver has stop called if the request's context ends before the answer
// does: a client that reads nothing would hold it up for ever.
func (c *call) whenOver(stop func()) {
	ran := make(chan struct{})
	cancel := context.AfterFunc(c.r.Context(), func() {
		defer close(ran)
		_ = session.Contain(c.f.o.Log, "cutting a request off", func() error { stop(); return nil })
	})
	c.stops = append(c.stops, func() {
		if !cancel() {
			<-ran
		}
	})
}

// done ends what goes on beside the answer, and leaves the header of one that
// never began as it was handed to us.
func (c *call) done() {
	for _, stop := range c.stops {
		stop()
	}
	c.restore()
}

// Unwrap lets http.ResponseController reach what is not overridden here.
func (c *call) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// WriteHeader passes an answer's status on. ReverseProxy sends informational
// answers (RFC 9110 §15.2) with the header of the final one and clears it
// afterwards; what was in it before is kept out of the one and put back for the
// other.
func (c *call) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		c.begun = true
		c.restore()
		c.ResponseWriter.WriteHeader(status)
		return
	}
	h := c.Header()
	if !c.cleared {
		c.cleared = true
		for name, v := range c.before {
			if h[name] = h[name][len(v):]; len(h[name]) == 0 {
				delete(h, name)
			}
		}
	}
	filterSetCookies(h, c.f.o.OwnCookie)
	// HTTP/1.0 knows none of these, and the server says 100 Continue by itself
	// as the application's makes us read the body.
	if status != http.StatusContinue && c.r.ProtoAtLeast(1, 1) {
		c.ResponseWriter.WriteHeader(status)
	}
}

// restore puts back what ReverseProxy cleared.
func (c *call) restore() {
	if !c.cleared {
		return
	}
	c.cleared = false
	h := c.Header()
	for name, v := range c.before {
		h[name] = append(v[:len(v):len(v)], h[name]...)
	}
}

// Hijack takes the connection over for a WebSocket. It is closed when the
// request's context ends, for a client that reads nothing too, which is told
// the cause (websocket_close.go).
func (c *call) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(c.ResponseWriter).Hijack()
	if err == nil {
		c.begun = true
		c.restore()
		c.whenOver(func() { conn.Close() })
	}
	return conn, rw, err
}

// switched makes a socket of the connection that Hijack will take over, if the
// application agreed to a WebSocket.
func (c *call) switched(resp *http.Response) {
	app, ok := resp.Body.(appSide)
	if ok && strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
		s := newSocket(c.r.Context())
		s.far, s.log = &farSide{appSide: app, near: s}, c.f.o.Log
		s.measure(c.f.o.MaxMessage, c.f.o.TooBig)
		c.ResponseWriter = &taker{c.ResponseWriter, s}
		resp.Body = s.far
	}
}

// taker is a ResponseWriter whose connection becomes a socket.
type taker struct {
	http.ResponseWriter
	socket *socket
}

func (t *taker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t.socket.Conn = conn
	return t.socket, rw, nil
}

func (t *taker) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// appSide is what net/http hands out as the body of a 101.
type appSide interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// farSide is a WebSocket's connection to the application. ReverseProxy closes
// it as the request's context ends, which is too early: the frame that is on
// its way would never end, and no Close frame may stand within another.
type farSide struct {
	appSide
	near *socket

	mu     sync.Mutex // held while writing
	frames frames     // guarded by mu: what went to the application
	said   bool       // guarded by mu: it was told that this is the end
}

func (f *farSide) Close() error {
	if f.near.Conn != nil {
		<-f.near.settled
	}
	return f.appSide.Close()
}
