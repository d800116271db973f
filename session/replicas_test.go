package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/session"
)

// rotating is a provider that takes each refresh token once and, shown one a
// second time, revokes all that came of it.
type rotating struct {
	mu      sync.Mutex
	life    time.Duration
	delay   time.Duration   // guarded by mu
	n       int             // guarded by mu: refreshes
	used    map[string]bool // guarded by mu
	reuses  int             // guarded by mu
	fault   error           // guarded by mu: instead of an answer; the token is taken all the same
	refused error           // guarded by mu: instead of an answer; the token is not taken
	asked   func() error    // guarded by mu: instead of an answer to who it is
}

func (p *rotating) Renew(ctx context.Context, g session.Grant) (session.Grant, error) {
	p.mu.Lock()
	delay := p.delay
	p.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return g, session.ErrInDoubt
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused != nil {
		return g, p.refused
	}
	token := g.Tokens.Refresh.Reveal()
	if token == "" && p.asked != nil {
		return g, p.asked()
	}
	if token == "" {
		return g, nil // only asked who it is
	}
	if p.used[token] {
		p.reuses++
		return g, session.ErrGrantDead
	}
	p.used[token] = true
	if p.fault != nil {
		return g, p.fault
	}
	p.n++
	g.Tokens = p.tokens()
	return g, nil
}

func (p *rotating) tokens() session.Tokens {
	now := time.Now()
	return session.Tokens{Access: session.Secret(fmt.Sprint("access", p.n)), Refresh: session.Secret(fmt.Sprint("refresh", p.n)), Issued: now, Expiry: now.Add(p.life)}
}

func (p *rotating) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *rotating) counts() (refreshes, reuses int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n, p.reuses
}

// fleet is replicas of one site, with one browser in front of them.
type fleet struct {
	*testing.T
	p     *rotating
	lines []*line
	ms    []*session.Manager
	b     *browser
	log   lines // of all of them

	mu     sync.Mutex
	back   []session.End // guarded by mu: why grants were given back
	tokens []string      // guarded by mu: their access tokens
	told   []session.End // guarded by mu: of ends that nobody asked for here
}

func newFleet(t *testing.T, n int, cfg session.Config) *fleet {
	f := &fleet{T: t, p: &rotating{life: 15 * time.Minute, delay: time.Second, used: map[string]bool{}}, b: newBrowser(t)}
	store, codec := &session.Memory{}, codec(t)
	for range n {
		l := &line{Shared: store}
		m := session.New(cfg, session.Options{
			Store: l, Codec: codec, Cookies: session.NewCookies(cfg.Cookie, false), Renewer: f.p, Log: slog.New(slog.NewTextHandler(&f.log, nil)),
			Ended: func(_ *session.Identity, why session.End) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.told = append(f.told, why)
			},
			GiveBack: func(_ context.Context, g session.Grant, why session.End) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.back, f.tokens = append(f.back, why), append(f.tokens, g.Tokens.Access.Reveal())
			},
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { m.Run(ctx); close(done) }()
		t.Cleanup(func() { m.Close(context.Background()); cancel(); <-done })
		f.lines, f.ms = append(f.lines, l), append(f.ms, m)
	}
	synctest.Wait()
	return f
}

func (f *fleet) signIn(at int) *session.Session {
	f.Helper()
	w, r := f.b.exchange()
	r.Header.Set("User-Agent", "Browser/1")
	s, err := f.ms[at].Begin(w, r, session.Grant{
		Identity: session.Identity{Subject: "testdoc", Username: "testdoc"}, Tokens: f.p.tokens(),
		Login: session.Login{Issuer: "https://op", Subject: "testdoc", Session: "at-op"},
	}, "203.0.113.7")
	if err != nil {
		f.Fatalf("Begin = %v", err)
	}
	return s
}

func (f *fleet) visit(at int) (*session.Session, error) {
	w, r := f.b.exchange()
	s, err := f.ms[at].Load(r)
	if err == nil {
		f.ms[at].Touch(w, r, s, session.AnyCookies)
	}
	return s, err
}

func (f *fleet) want(at int, err error) *session.Session {
	f.Helper()
	s, got := f.visit(at)
	if !errors.Is(got, err) || err == nil && got != nil {
		f.Fatalf("Load at replica %d = %v, want %v", at, got, err)
	}
	return s
}

func inFleet(t *testing.T, n int, cfg session.Config, test func(f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newFleet(t, n, cfg)) })
}

// TestReplicasRefreshOnce: requests go round the replicas for a day, also
// several at once; each refresh token is used once.
func TestReplicasRefreshOnce(t *testing.T) {
	for _, delay := range []time.Duration{5 * time.Millisecond, 3 * time.Second, time.Minute} {
		t.Run(delay.String(), func(t *testing.T) {
			cfg := config
			cfg.Lifetime = 25 * time.Hour
			inFleet(t, 3, cfg, func(f *fleet) {
				f.p.set(func() { f.p.delay = delay })
				f.signIn(0)
				for range 24 * 60 {
					time.Sleep(time.Minute)
					var all sync.WaitGroup
					for at := range f.ms {
						_, r := f.b.exchange()
						all.Go(func() {
							if s, err := f.ms[at].Load(r); err != nil {
								f.Errorf("Load = %v", err)
							} else {
								f.ms[at].Touch(httptest.NewRecorder(), r, s, session.AnyCookies)
							}
						})
					}
					all.Wait()
				}
				time.Sleep(2 * time.Minute)
				n, reuses := f.p.counts()
				if periods := int(24 * time.Hour / (13 * time.Minute)); reuses != 0 || n < periods*3/4 || n > periods*2 {
					f.Errorf("%d refreshes with %d reuses in 24 h of tokens of 15 min, want about %d and none", n, reuses, periods)
				}
			})
		})
	}
}

func TestEndIsSeenEverywhere(t *testing.T) {
	inFleet(t, 3, config, func(f *fleet) {
		s := f.signIn(0)
		stopped := make(chan time.Time, 2)
		f.want(1, nil).Attach(func() { stopped <- time.Now() })
		f.want(2, nil).Attach(func() { stopped <- time.Now() })
		at := time.Now()
		if found, err := f.ms[1].Revoke(f.Context(), "testdoc", s.Who().SessionID, session.EndRevoked); !found || err != nil {
			f.Fatalf("Revoke = %v, %v, want it found", found, err)
		}
		for range 2 {
			if took := (<-stopped).Sub(at); took > 100*time.Millisecond {
				f.Errorf("a stream was stopped after %v", took)
			}
		}
		for i := range f.ms {
			f.want(i, session.ErrNone)
		}
	})
}

func TestEndByLogin(t *testing.T) {
	for _, c := range []struct {
		login session.Login
		want  int
	}{
		{session.Login{Issuer: "https://op", Session: "at-op"}, 1},
		{session.Login{Issuer: "https://op", Subject: "testdoc"}, 1},
		{session.Login{Issuer: "https://op", Subject: "testdoc", Session: "at-op"}, 1},
		{session.Login{Issuer: "https://op", Subject: "other", Session: "at-op"}, 0},
		{session.Login{Issuer: "https://other", Subject: "testdoc"}, 0},
		{session.Login{Issuer: "https://op", Session: "other"}, 0},
	} {
		inFleet(t, 2, config, func(f *fleet) {
			f.signIn(0)
			n, err := f.ms[1].EndLogin(f.Context(), c.login, session.EndAtProvider)
			if n != c.want || err != nil {
				f.Errorf("EndLogin(%+v) = %d, %v, want %d", c.login, n, err, c.want)
			}
			if c.want == 1 {
				f.want(0, session.ErrNone)
			} else {
				f.want(0, nil)
			}
		})
	}
}

// TestTokensOfARevokedSessionAreGivenBack: by one who knows them, if anybody.
func TestTokensOfARevokedSessionAreGivenBack(t *testing.T) {
	inFleet(t, 3, config, func(f *fleet) {
		s := f.signIn(0)
		f.want(1, nil)
		f.ms[2].Revoke(f.Context(), "testdoc", s.Who().SessionID, session.EndRevoked)
		synctest.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.back) != 1 || f.back[0] != session.EndRevoked {
			f.Errorf("grants given back: %v, want one, revoked", f.back)
		}
	})
}

func TestOverviews(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		one := f.signIn(0)
		other := f.b
		f.b = newBrowser(f.T)
		time.Sleep(time.Minute)
		two := f.signIn(1)
		got, err := f.ms[1].SessionsOf(f.Context(), "testdoc")
		if err != nil || len(got) != 2 || got[0].ID != two.Who().SessionID || got[1].ID != one.Who().SessionID {
			f.Fatalf("SessionsOf = %+v, %v, want the two, the latest first", got, err)
		}
		if o := got[1]; o.Agent != "Browser/1" || o.Address != "203.0.113.7" || !o.Ends.Equal(o.Started.Add(config.Lifetime)) {
			f.Errorf("overview = %+v", o)
		}
		if n, err := f.ms[1].RevokeOthers(f.Context(), two, session.EndRevoked); n != 1 || err != nil {
			f.Errorf("RevokeOthers = %d, %v, want 1", n, err)
		}
		f.want(1, nil)
		f.b = other
		f.want(0, session.ErrNone)
	})
}

// TestNoRoundTripInSteadyState: what is known and heard of is not read again.
func TestNoRoundTripInSteadyState(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		f.signIn(0)
		f.want(1, nil)
		before := f.lines[0].read() + f.lines[1].read()
		for i := range 600 {
			time.Sleep(time.Second)
			f.want(i%2, nil)
		}
		if n := f.lines[0].read() + f.lines[1].read() - before; n != 0 {
			f.Errorf("600 requests in ten minutes read the store %d times, want none", n)
		}
	})
}

// TestUsedElsewhere: a replica that has not seen a session for long does not
// end it while others serve it.
func TestUsedElsewhere(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		f.signIn(0)
		f.want(1, nil)
		for range 10 {
			time.Sleep(30 * time.Minute)
			f.want(0, nil)
		}
		f.want(1, nil)
		time.Sleep(61 * time.Minute)
		f.want(1, session.ErrNone)
		f.want(0, session.ErrNone)
	})
}

// TestOperatorsEndIsTold by one of the replicas that knew the session, and no
// more; by each where none can tell whether another did.
func TestOperatorsEndIsTold(t *testing.T) {
	for name, tt := range map[string]struct {
		once       error
		told, back int
	}{"once": {nil, 1, 1}, "though the store went away": {errDown, 3, 0}} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 3, config, func(f *fleet) {
				for i := range f.ms {
					s := f.shim(i)
					s.set(func() { s.once = tt.once })
				}
				f.signIn(0)
				for i := range f.ms {
					f.want(i, nil)
				}
				list, err := f.ms[0].SessionsOf(f.Context(), "testdoc")
				if err != nil || len(list) != 1 {
					f.Fatalf("SessionsOf = %v, %v", list, err)
				}
				if ended, err := session.EndListed(f.Context(), f.lines[0].Shared, list[0]); !ended || err != nil {
					f.Fatalf("EndListed = %v, %v", ended, err)
				}
				time.Sleep(time.Minute)
				f.mu.Lock()
				defer f.mu.Unlock()
				if len(f.told) != tt.told || f.told[0] != session.EndByOperator || len(f.back) != tt.back {
					f.Errorf("told of %v and given back %v, want %d and %d", f.told, f.back, tt.told, tt.back)
				}
			})
		})
	}
}
