package mail

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"anteroom/integrations"
	"anteroom/session"
	"anteroom/session/semaphore"
)

// conn is a signed-in connection to the IMAP server, in one caller's hands or
// idle in the pool.
type conn struct {
	*imapclient.Client
	guard   *guard
	roots   *x509.CertPool // that the server was known by
	by      string         // in whose hands it is, or was last
	caps    imap.CapSet
	reused  bool        // it was idle before
	touched bool        // something may have been changed by it since it was got
	rested  time.Time   // since when it is idle
	expiry  *time.Timer // ends it when it has been idle too long
}

// has reports whether the server has an extension; IMAP4rev2 implies most.
func (c *conn) has(cap imap.Cap) bool { return c.caps.Has(cap) }

// end ends it without ceremony.
func (c *conn) end() {
	c.guard.abort(errEnded)
	_ = c.Client.Close()
}

var errEnded = errors.New("the connection was ended")

// broken reports whether nothing more can be asked through it.
func (c *conn) broken() bool {
	select {
	case <-c.Closed():
		return true
	default:
		return c.guard.why() != nil || c.State() == imap.ConnStateLogout
	}
}

// lives asks the server for a sign of life.
func (c *conn) lives(ctx context.Context) bool {
	stop := context.AfterFunc(ctx, func() { c.guard.abort(ctx.Err()) })
	defer stop()
	c.guard.allow(maxHeader)
	err := c.Noop().Wait()
	c.guard.rest()
	return err == nil && !c.broken()
}

// pool holds connections: so many at most, of which one caller has some, each idle for so long at most.
type pool struct {
	dial   func(context.Context) (*conn, error)
	places *semaphore.Keyed // for each connection in use, by caller
	idle   time.Duration
	roots  *session.Authorities // no connection that others vouched for is given out

	mu     sync.Mutex
	free   []*conn // guarded by mu; the last was used last
	closed bool    // guarded by mu
}

func newPool(places *semaphore.Keyed, idle time.Duration, roots *session.Authorities, dial func(context.Context) (*conn, error)) *pool {
	return &pool{dial: dial, idle: idle, roots: roots, places: places}
}

// get waits for a place and gives out a connection that lived when it was last
// looked at; a new one if fresh. It has to be given back.
func (p *pool) get(ctx context.Context, fresh bool) (*conn, error) {
	by := callerOf(ctx)
	if err := p.places.Acquire(ctx, by, 0); err != nil {
		return nil, err
	}
	for !fresh {
		c := p.take()
		if c == nil {
			break
		}
		if c.roots == p.roots.Pool() && (time.Since(c.rested) < proveAfter && !c.broken() || c.lives(ctx)) {
			c.reused, c.touched, c.by = true, false, by
			return c, nil
		}
		c.end()
	}
	roots := p.roots.Pool()
	c, err := p.dial(ctx)
	if err != nil {
		p.places.Release(by)
		return nil, err
	}
	c.by, c.roots = by, roots
	return c, nil
}

func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return nil
	}
	c := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	c.expiry.Stop()
	return c
}

// put takes a connection back; one that is broken, or not to be used again, is
// ended.
func (p *pool) put(c *conn, usable bool) {
	by := c.by // once it is idle, it may be somebody else's
	if usable = usable && !c.broken() && p.keep(c); !usable {
		c.end()
	}
	p.places.Release(by)
}

func (p *pool) keep(c *conn) bool {
	c.guard.rest()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	c.rested = time.Now()
	c.expiry = time.AfterFunc(p.idle, func() { p.expire(c) })
	p.free = append(p.free, c)
	return true
}

// expire ends a connection if it is still idle.
func (p *pool) expire(c *conn) {
	p.mu.Lock()
	for i, f := range p.free {
		if f == c {
			p.free = append(p.free[:i], p.free[i+1:]...)
			p.mu.Unlock()
			c.end()
			return
		}
	}
	p.mu.Unlock()
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	free := p.free
	p.free = nil
	p.mu.Unlock()
	for _, c := range free {
		c.expiry.Stop()
		c.end()
	}
}

// do has something done through a connection.
func (a *Account) do(ctx context.Context, f func(*conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*commandTime)
	defer cancel()
	c, err := a.hold(ctx, f)
	if err == nil {
		a.pool.put(c, true)
	}
	return err
}

// hold has something done through a connection and leaves that in the caller's
// hands, unless it failed. One that turns out to be broken is replaced once, as
// long as nothing can have been changed by it.
func (a *Account) hold(ctx context.Context, f func(*conn) error) (*conn, error) {
	for again := false; ; again = true {
		c, err := a.pool.get(ctx, again)
		if err != nil {
			return nil, a.trouble(err)
		}
		if err = a.through(ctx, c, f); err == nil {
			return c, nil
		}
		why, retry := c.guard.why(), c.reused && !c.touched && !again && ctx.Err() == nil
		a.pool.put(c, answered(err))
		switch {
		case isProblem(err):
			return nil, err
		case errors.Is(why, errTooMuch), errors.Is(why, errTooDeep):
			return nil, a.trouble(why)
		case !answered(err) && retry:
			continue
		case ctx.Err() != nil:
			return nil, a.trouble(ctx.Err())
		case !answered(err) && why != nil:
			return nil, a.trouble(why)
		}
		return nil, a.trouble(err)
	}
}

// through has something done through a connection, which is ended if that panics.
func (a *Account) through(ctx context.Context, c *conn, f func(*conn) error) error {
	returned, stop := false, context.AfterFunc(ctx, func() { c.guard.abort(ctx.Err()) })
	defer func() {
		if stop(); !returned {
			a.pool.put(c, false)
		}
	}()
	err := f(c)
	returned = true
	return err
}

// answered reports whether an error leaves the connection as it was: it is the
// server's own word, or ours about it.
func answered(err error) bool {
	var no *imap.Error
	_, ours := integrations.ProblemOf(err)
	return ours || errors.As(err, &no)
}
