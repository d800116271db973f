package proxy

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// conn is a client's connection. A write that the client takes nothing of for
// as long as stall ends it, also below TLS, HTTP/2 and WebSockets; who waits for
// nothing, such as the reader of an event stream between events, may wait.
type conn struct {
	net.Conn
	l     *limits
	from  netip.Addr
	stall time.Duration // zero: for ever
	once  sync.Once     // for counting it out

	mu     sync.Mutex // never held while writing
	wanted time.Time  // guarded by mu: the limit that somebody set; zero: none
	ours   time.Time  // guarded by mu: the limit in force is ours, and set then; zero: it is not
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	c.allow()
	n, err := c.Conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && c.stalled() {
		c.l.hit(limitReader)
	}
	return n, err
}

// allow gives the next write its time. It is given anew when an eighth of it is
// over and not before, as most writes follow one another closely.
func (c *conn) allow() {
	if c.stall <= 0 {
		return
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := now.Add(c.stall)
	switch {
	case !c.wanted.IsZero() && c.wanted.Before(limit): // the earlier one holds
		if !c.ours.IsZero() {
			c.ours = time.Time{}
			c.Conn.SetWriteDeadline(c.wanted)
		}
	case c.ours.IsZero() || now.Sub(c.ours) > c.stall/8:
		c.ours = now
		c.Conn.SetWriteDeadline(limit)
	}
}

// stalled reports whether the limit in force is ours.
func (c *conn) stalled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.ours.IsZero()
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() && c.wanted.IsZero() && !c.ours.IsZero() {
		return nil // ours goes on, for a write that is under way
	}
	c.wanted, c.ours = t, time.Time{}
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// CloseWrite ends what we send, and lets the client go on.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() { c.l.leave(c.from) })
	return c.Conn.Close()
}
