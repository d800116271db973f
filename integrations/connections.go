package integrations

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"anteroom/session"
)

const (
	renewTime = 24 * time.Hour   // how often that time is counted from anew
	freshTime = 30 * time.Second // for which this process believes what it read
	keptTime  = 10 * time.Minute // for which it remembers, at least, what it gave out
)

// Connections are the app passwords that people granted us, each for the
// account they are signed in with. A connection lasts until its person or
// Nextcloud ends it, or nobody uses it for half a year; it outlives sessions.
//
// Safe for concurrent use, and by several processes over one vault. What one of
// them ends, another may go on using for half a minute.
type Connections struct {
	o ConnectionsOptions

	reads singleflight.Group // by subject
	polls singleflight.Group // by the name of the flow

	mu      sync.Mutex
	known   map[string]known   // guarded by mu: by subject
	ends    uint64             // guarded by mu: how often something was dropped from known
	swept   time.Time          // guarded by mu: when what is too old was last dropped
	unsaved map[string]granted // guarded by mu: what the vault did not take yet, by the name of the flow
}

// ConnectionsOptions are what Connections are made of. All is required but
// what says otherwise.
type ConnectionsOptions struct {
	Flow  *LoginFlow
	Vault Vault
	Log   *slog.Logger

	Grace time.Duration        // how long a connection that was used here goes on while the vault does not answer
	Dead  func(subject string) // told of a connection that Nextcloud refused, and that was therefore forgotten; nil: nobody is
	Now   func() time.Time     // nil: time.Now
}

// NewConnections makes them.
func NewConnections(o ConnectionsOptions) *Connections {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Connections{o: o, known: map[string]known{}, unsaved: map[string]granted{}}
}

// Connection is what a person may know of theirs.
type Connection struct {
	Login string // the name it was granted under: the account's id or mail address
	Since time.Time
}

// known is a connection that this process read.
type known struct {
	connection
	at time.Time
}

// Of is what a person's requests go to Nextcloud with; false for somebody who
// is not connected.
func (c *Connections) Of(ctx context.Context, subject string) (session.Credential, bool, error) {
	k, knew := c.recall(subject)
	age := c.o.Now().Sub(k.at)
	if knew && age < freshTime {
		return k.credential(), true, nil
	}
	read := c.reads.DoChan(subject, func() (v any, err error) {
		err = session.Contain(c.o.Log, "reading a connection", func() error { // DoChan would end the program
			r, found, err := c.read(context.WithoutCancel(ctx), subject)
			if found {
				v = r
			}
			return err
		})
		if errors.Is(err, session.ErrPanic) {
			err = fmt.Errorf("%w: %w", ErrUnkept, err)
		}
		return v, err
	})
	var got singleflight.Result
	select {
	case <-ctx.Done():
		return session.Credential{}, false, ctx.Err()
	case got = <-read:
	}
	if got.Err != nil && knew && age < freshTime+c.o.Grace {
		return k.credential(), true, nil
	}
	r, found := got.Val.(connection)
	if got.Err != nil || !found {
		return session.Credential{}, false, got.Err
	}
	return r.credential(), true, nil
}

// Status is what a person is told of their connection, as the vault has it now;
// false if there is none.
func (c *Connections) Status(ctx context.Context, subject string) (Connection, bool, error) {
	r, found, err := c.read(ctx, subject)
	return r.shown(), found, err
}

// Revoke ends a person's connection, here and at Nextcloud. left reports that
// Nextcloud did not delete the app password, so that the person has to. An
// error means that the connection is as it was, or dead at Nextcloud alone.
func (c *Connections) Revoke(ctx context.Context, subject string) (was Connection, left bool, err error) {
	ctx = context.WithoutCancel(ctx)
	r, found, err := c.read(ctx, subject)
	if err != nil || !found {
		return Connection{}, false, err
	}
	if err := c.o.Flow.Revoke(ctx, r.credential()); err != nil {
		c.o.Log.Warn("an app password stays at nextcloud: its person has to delete it there", "sub", subject, "error", err)
		left = true
	}
	err = c.end(ctx, r)
	c.drop(subject)
	return r.shown(), left, err
}

// Forget is told of a credential that Of gave for a person and that Nextcloud
// refuses. Another one, granted meanwhile, stays.
func (c *Connections) Forget(ctx context.Context, subject string, refused session.Credential) {
	ctx = context.WithoutCancel(ctx)
	r, found, err := c.load(ctx, subject)
	dead := found && r.credential() == refused
	if err == nil && dead {
		err = c.end(ctx, r)
	}
	c.drop(subject)
	switch {
	case err != nil:
		c.o.Log.Warn("a dead app password is not forgotten yet", "sub", subject, "error", err)
	case dead:
		c.o.Log.Info("nextcloud refuses an app password that was granted: forgotten", "sub", subject)
		if c.o.Dead != nil {
			c.o.Dead(subject)
		}
	}
}

// recall is what this process knows of a person's connection, however old.
func (c *Connections) recall(subject string) (known, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.known[subject]
	return k, ok
}

// drop forgets what this process knows of a person's connection, and what it
// is about to read of it.
func (c *Connections) drop(subject string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, subject)
	c.ends++
	c.reads.Forget(subject)
}

// learn takes over a connection that was just granted.
func (c *Connections) learn(r connection) {
	c.drop(r.Subject)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[r.Subject] = known{r, c.o.Now()}
}

// read reads a connection from the vault and remembers it, unless one was
// dropped meanwhile. One that is in use is kept for longer.
func (c *Connections) read(ctx context.Context, subject string) (connection, bool, error) {
	c.mu.Lock()
	ends := c.ends
	c.mu.Unlock()
	r, found, err := c.load(ctx, subject)
	if err != nil {
		return r, false, err
	}
	now := c.o.Now()
	if found && now.Sub(r.Kept) >= renewTime {
		if err := c.keep(ctx, r); errors.Is(err, errEnded) {
			found = false
		} else if err != nil {
			c.o.Log.Warn("a connection in use is not kept for longer", "sub", subject, "error", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !found:
		delete(c.known, subject)
	case ends == c.ends:
		c.sweep(now)
		c.known[subject] = known{r, now}
	}
	return r, found, nil
}

// sweep drops what is too old to be of use, once a minute. Called with mu held.
func (c *Connections) sweep(now time.Time) {
	if now.Sub(c.swept) < time.Minute {
		return
	}
	c.swept = now
	for subject, k := range c.known {
		if now.Sub(k.at) >= max(freshTime+c.o.Grace, keptTime) {
			delete(c.known, subject)
		}
	}
	for name, g := range c.unsaved {
		if now.Sub(g.At) >= grantedTime {
			delete(c.unsaved, name)
		}
	}
}
