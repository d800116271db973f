package integrations

import (
	"context"
	"errors"
	"time"

	"anteroom/session"
)

// granted is what a flow gave, before it is known whose it is.
type granted struct {
	ID     string
	Login  string
	Secret password
	At     time.Time
}

func (g granted) credential() session.Credential {
	return session.Credential{User: g.Login, Secret: session.Secret(g.Secret)}
}

// granted is what a flow gave and nobody has settled yet.
func (c *Connections) granted(ctx context.Context, f flow) (g granted, found bool, err error) {
	c.mu.Lock()
	g, unsaved := c.unsaved[f.name()]
	c.mu.Unlock()
	if unsaved {
		return g, true, c.save(ctx, f, g)
	}
	found, err = c.get(ctx, f.granted(), &g)
	return g, found, err
}

// save keeps what a flow gave. Where the vault does not take it, this process
// remembers it for the next time.
func (c *Connections) save(ctx context.Context, f flow, g granted) error {
	err := c.put(ctx, f.granted(), g, grantedTime)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.o.Log.Error("an app password that was granted cannot be kept: it is lost if this process ends", "sub", f.subject, "error", err)
		c.unsaved[f.name()] = g
		return err
	}
	delete(c.unsaved, f.name())
	return nil
}

// settle finds out whose app password was granted, and makes it the person's
// connection or has it deleted.
func (c *Connections) settle(ctx context.Context, f flow, g granted) (Progress, error) {
	owner, err := c.o.Flow.Owner(ctx, g.credential())
	switch {
	case errors.Is(err, ErrAway):
		return Progress{State: Checking}, nil
	case errors.Is(err, ErrRefused):
		return c.fail(ctx, f, Dead, false)
	case err != nil:
		return Progress{}, err
	case owner != f.subject:
		return c.refuse(ctx, f, g)
	}
	return c.connect(ctx, f, g)
}

// refuse has what somebody else granted deleted. Where Nextcloud does not do
// so, it is tried again at the next look.
func (c *Connections) refuse(ctx context.Context, f flow, g granted) (Progress, error) {
	err := c.o.Flow.Revoke(ctx, g.credential())
	if err != nil {
		c.o.Log.Warn("an app password of somebody else was granted, and stays at nextcloud", "sub", f.subject, "error", err)
	}
	return c.fail(ctx, f, Refused, err != nil)
}

// fail ends a flow of which no connection comes. The person may look again, and
// is told the same.
func (c *Connections) fail(ctx context.Context, f flow, state State, left bool) (Progress, error) {
	var before pending
	if _, err := c.get(ctx, f.name(), &before); err != nil {
		return Progress{}, err
	}
	if before.Failed == Refused { // its app password may be gone by now, which is no other failure
		state = Refused
	}
	over := pending{Subject: f.subject, Started: c.o.Now(), Failed: state, Left: left}
	if err := c.put(ctx, f.name(), over, FlowTime); err != nil {
		return Progress{}, err
	}
	p := over.progress()
	p.New = before.Failed == ""
	if left {
		return p, nil
	}
	return p, c.remove(ctx, f.granted())
}

// connect makes what was granted the person's connection, in place of any other.
func (c *Connections) connect(ctx context.Context, f flow, g granted) (Progress, error) {
	old, replaces, err := c.load(ctx, f.subject)
	if err != nil {
		return Progress{}, err
	}
	r := connection{ID: g.ID, Subject: f.subject, Login: g.Login, Secret: g.Secret, Since: g.At}
	switch err := c.keep(ctx, r); {
	case errors.Is(err, errEnded): // by another process, after it had finished this
		return Progress{State: None}, c.clear(ctx, f)
	case err != nil:
		return Progress{}, err
	}
	c.learn(r)
	if replaces && old.ID != r.ID {
		if err := c.o.Flow.Revoke(ctx, old.credential()); err != nil {
			c.o.Log.Warn("an app password that was replaced stays at nextcloud", "sub", f.subject, "error", err)
		}
	}
	if err := c.clear(ctx, f); err != nil {
		c.o.Log.Warn("a finished login flow is not forgotten yet", "sub", f.subject, "error", err)
	}
	return Progress{State: Connected, Connection: r.shown(), New: !replaces || old.ID != r.ID}, nil
}

// clear forgets a flow that is over.
func (c *Connections) clear(ctx context.Context, f flow) error {
	return errors.Join(c.remove(ctx, f.name()), c.remove(ctx, f.granted()))
}
