package integrations

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"anteroom/session"
)

// State is how far a person has come with connecting; a closed set.
type State string

// The states. Refused and Dead last until the person starts again, or FlowTime.
const (
	None      State = "none"      // nobody is connecting or connected
	Pending   State = "pending"   // the person is to grant it at Nextcloud
	Checking  State = "checking"  // it is granted; Nextcloud does not answer whose it is
	Connected State = "connected" // it is done
	Refused   State = "refused"   // it was granted for another account than the person's
	Dead      State = "dead"      // it was granted, and Nextcloud does not accept it
)

// Progress is how connecting goes.
type Progress struct {
	State      State
	Login      string     // Pending: where the person grants it
	Ends       time.Time  // Pending: when it is too late
	Away       bool       // Pending: Nextcloud did not answer just now
	Connection Connection // Connected
	New        bool       // Connected, Refused, Dead: just now
	Left       bool       // Refused: what was granted is not deleted at Nextcloud
}

// askTime is for all that one look at a flow takes.
const askTime = 45 * time.Second

// pending is a flow that nothing was fetched of yet, or one that failed.
type pending struct {
	Subject  string
	Login    string
	Endpoint string
	Token    password
	Started  time.Time

	Failed State // Refused or Dead; "" while it is open
	Left   bool  // what was granted is not deleted at Nextcloud
}

// flow is one person's connecting, within one session of theirs.
type flow struct{ subject, session string }

func (f flow) name() string    { return "flow\x00" + f.session + "\x00" + f.subject }
func (f flow) granted() string { return "granted\x00" + f.session + "\x00" + f.subject }

// Start has a person begin to connect, within a session of theirs. What they
// began there before is void, unless it turns out to be done.
func (c *Connections) Start(ctx context.Context, subject, session string) (Progress, error) {
	before, err := c.Poll(ctx, subject, session)
	if err != nil || before.State == Connected || before.State == Checking {
		return before, err
	}
	at := flow{subject, session}
	if before.Left { // the person was told
		if err := c.remove(ctx, at.granted()); err != nil {
			return Progress{}, err
		}
	}
	f, err := c.o.Flow.Start(ctx)
	if err != nil {
		return Progress{}, err
	}
	p := pending{Subject: subject, Login: f.Login, Endpoint: f.Endpoint, Token: password(f.Token), Started: c.o.Now()}
	if err := c.put(ctx, at.name(), p, FlowTime); err != nil {
		return Progress{}, err
	}
	return p.progress(), nil
}

func (p pending) progress() Progress {
	if p.Failed != "" {
		return Progress{State: p.Failed, Left: p.Left}
	}
	return Progress{State: Pending, Login: p.Login, Ends: p.Started.Add(FlowTime)}
}

// Poll looks how far a person has come, and finishes what they granted. It may
// be called as often as one likes, in any process. An error means that nobody
// can tell at the moment.
func (c *Connections) Poll(ctx context.Context, subject, session string) (Progress, error) {
	f := flow{subject, session}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime) // what is fetched must be kept, whoever went away
	defer cancel()
	v, err, _ := c.polls.Do(f.name(), func() (any, error) { return c.poll(ctx, f) })
	p, _ := v.(Progress)
	return p, err
}

func (c *Connections) poll(ctx context.Context, f flow) (Progress, error) {
	g, found, err := c.granted(ctx, f)
	if err != nil {
		return Progress{}, err
	}
	if found {
		return c.settle(ctx, f, g)
	}
	var p pending
	if found, err = c.get(ctx, f.name(), &p); err != nil {
		return Progress{}, err
	}
	left := p.Started.Add(FlowTime).Sub(c.o.Now())
	if !found || p.Subject != f.subject || left <= 0 {
		return c.standing(ctx, f.subject)
	}
	if s, err := c.standing(ctx, f.subject); err != nil || s.State == Connected && !s.Connection.Since.Before(p.Started) {
		return s, err // another process has finished it
	}
	if p.Failed != "" {
		return p.progress(), nil
	}
	if err := c.put(ctx, f.name(), p, left); err != nil { // as a proof that the vault will take the answer, too
		return Progress{}, err
	}
	cred, found, err := c.o.Flow.Fetch(ctx, Flow{Login: p.Login, Endpoint: p.Endpoint, Token: session.Secret(p.Token)})
	if errors.Is(err, ErrAway) {
		s := p.progress()
		s.Away = true
		return s, nil
	}
	if err != nil {
		return Progress{}, err
	}
	if !found {
		return p.progress(), nil
	}
	g = granted{ID: rand.Text(), Login: cred.User, Secret: password(cred.Secret), At: c.o.Now()}
	if err := c.save(ctx, f, g); err != nil {
		return Progress{}, err
	}
	return c.settle(ctx, f, g)
}

// standing is how far somebody has come who is not connecting.
func (c *Connections) standing(ctx context.Context, subject string) (Progress, error) {
	r, found, err := c.load(ctx, subject)
	if err != nil || !found {
		return Progress{State: None}, err
	}
	return Progress{State: Connected, Connection: r.shown()}, nil
}
