package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/session"
)

// provider is a Nextcloud as a session sees it: it renews, and can be told how.
type provider struct {
	calls  atomic.Int32
	delay  time.Duration
	mu     sync.Mutex
	err    error         // guarded by mu
	unsure error         // guarded by mu: comes with new tokens, after they were rotated
	life   time.Duration // guarded by mu: of the access tokens it gives
	groups []string      // guarded by mu
	seen   []string      // guarded by mu: refresh tokens presented
}

func (p *provider) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *provider) Renew(ctx context.Context, g session.Grant) (session.Grant, error) {
	n := p.calls.Add(1)
	select {
	case <-time.After(p.delay):
	case <-ctx.Done():
		return session.Grant{}, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, g.Tokens.Refresh.Reveal())
	if p.err != nil {
		return session.Grant{}, p.err
	}
	if p.groups != nil {
		g.Identity.Groups = p.groups
	}
	now := time.Now()
	g.Tokens = session.Tokens{Access: session.Secret(fmt.Sprint("access", n)), Refresh: session.Secret(fmt.Sprint("refresh", n)), Issued: now, Expiry: now.Add(p.life)}
	return g, p.unsure
}

// site is a manager with one browser in front of it.
type site struct {
	*testing.T
	m *session.Manager
	o session.Options
	p *provider
	b *browser

	mu   sync.Mutex
	told []session.End // guarded by mu
}

func (s *site) ended() []session.End {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

var config = session.Config{IdleTimeout: time.Hour, Lifetime: 12 * time.Hour, Grace: time.Hour, Cookie: session.CookieConfig{Name: "anteroom"}}

func newSite(t *testing.T, kind string, cfg session.Config) *site {
	s := &site{T: t, p: &provider{life: 15 * time.Minute, delay: time.Second}, b: newBrowser(t)}
	cookies := session.NewCookies(cfg.Cookie, false)
	var store session.Store = &session.Memory{}
	if kind == "cookie" {
		store = session.NewBrowser(cookies, codec(t), nil)
	}
	s.o = session.Options{Store: store, Cookies: cookies, Codec: codec(t), Renewer: s.p, Log: slog.New(slog.DiscardHandler),
		Ended: func(_ *session.Identity, why session.End) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.told = append(s.told, why)
		}}
	s.m = session.New(cfg, s.o)
	stop := run(s.m)
	t.Cleanup(func() { s.m.Close(context.Background()); stop() })
	return s
}

// run runs a manager until stop is called.
func run(m *session.Manager) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { m.Run(ctx); close(done) }()
	return func() { m.Close(context.Background()); cancel(); <-done }
}

func (s *site) signIn() *session.Session {
	s.Helper()
	w, r := s.b.exchange()
	now := time.Now()
	got, err := s.m.Begin(w, r, session.Grant{
		Identity: session.Identity{Subject: "testdoc", Username: "testdoc", Groups: []string{"users"}},
		Tokens:   session.Tokens{Access: "access0", Refresh: "refresh0", Issued: now, Expiry: now.Add(15 * time.Minute)},
	}, "203.0.113.7")
	if err != nil {
		s.Fatalf("Begin = %v", err)
	}
	return got
}

// visit makes a request, and touches as the gate does.
func (s *site) visit() (*session.Session, error) {
	w, r := s.b.exchange()
	got, err := s.m.Load(r)
	if err == nil {
		s.m.Touch(w, r, got, session.AnyCookies)
	}
	return got, err
}

func (s *site) want(err error) *session.Session {
	s.Helper()
	got, gotErr := s.visit()
	if !errors.Is(gotErr, err) {
		s.Fatalf("Load = %v, want %v", gotErr, err)
	}
	return got
}

// each runs a test in fake time, with every kind of store.
func each(t *testing.T, cfg session.Config, f func(s *site)) {
	for _, kind := range []string{"memory", "cookie"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(newSite(t, kind, cfg)) })
		})
	}
}

func TestIdleTimeout(t *testing.T) {
	each(t, config, func(s *site) {
		s.signIn()
		for range 5 {
			time.Sleep(59 * time.Minute)
			s.want(nil)
		}
		time.Sleep(time.Hour + time.Minute)
		s.want(session.ErrNone)
		if len(s.ended()) != 1 || s.ended()[0] != session.EndIdle {
			s.Errorf("told of %v, want one end: idle", s.ended())
		}
	})
}

func TestLifetime(t *testing.T) {
	each(t, config, func(s *site) {
		s.signIn()
		for range 23 {
			time.Sleep(30 * time.Minute)
			s.want(nil)
		}
		time.Sleep(31 * time.Minute)
		s.want(session.ErrNone)
		if len(s.ended()) != 1 || s.ended()[0] != session.EndLifetime {
			s.Errorf("told of %v, want one end: lifetime", s.ended())
		}
	})
}

// TestRestart: another process with the same store and keys finds the session.
func TestRestart(t *testing.T) {
	each(t, config, func(s *site) {
		first := s.signIn()
		time.Sleep(14 * time.Minute)
		s.want(nil)
		time.Sleep(2 * time.Second) // the renewal ahead of expiry
		s.want(nil)
		s.m = session.New(config, s.o)
		got := s.want(nil)
		if got.Who().SessionID != first.Who().SessionID || got.Grant().Tokens.Access.Reveal() != "access1" {
			s.Errorf("after a restart: %v with %q, want %v with the renewed token", got.Who().SessionID, got.Grant().Tokens.Access.Reveal(), first.Who().SessionID)
		}
		time.Sleep(46 * time.Minute)
		s.want(nil) // the use before the restart was written down
	})
}

func TestNewIDAtEverySignIn(t *testing.T) {
	each(t, config, func(s *site) {
		one := s.signIn()
		_, r := s.b.exchange()
		old := r.Header.Get("Cookie")
		two := s.signIn()
		if one.Who().SessionID == two.Who().SessionID {
			s.Error("second sign-in has the first one's session id")
		}
		s.want(nil)
		r = httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", old)
		if _, err := s.m.Load(r); !errors.Is(err, session.ErrNone) {
			s.Errorf("Load(cookie of the first sign-in) = %v, want ErrNone", err)
		}
	})
}

func TestPlantedCookieIsNotAdopted(t *testing.T) {
	each(t, config, func(s *site) {
		s.signIn()
		_, r := s.b.exchange()
		before := r.Header.Get("Cookie")
		planted := httptest.NewRequest("GET", "/", nil)
		planted.Header.Set("Cookie", "anteroom="+strings.Repeat("A", 43))
		w := httptest.NewRecorder()
		if _, err := s.m.Begin(w, planted, session.Grant{Identity: session.Identity{Subject: "x"}}, ""); err != nil {
			s.Fatal(err)
		}
		for _, c := range w.Result().Cookies() {
			if c.Name == "anteroom" && (c.Value == strings.Repeat("A", 43) || strings.Contains(before, c.Value)) {
				s.Error("Begin adopted a cookie it was sent")
			}
		}
	})
}

func TestTossedCookie(t *testing.T) {
	each(t, config, func(s *site) {
		s.signIn()
		_, r := s.b.exchange()
		r.Header.Set("Cookie", r.Header.Get("Cookie")+"; anteroom="+strings.Repeat("B", 43))
		if _, err := s.m.Load(r); !errors.Is(err, session.ErrTossed) {
			s.Errorf("Load(two cookies) = %v, want ErrTossed", err)
		}
	})
}

func TestRefreshAheadAndOnce(t *testing.T) {
	each(t, config, func(s *site) {
		s.signIn()
		time.Sleep(13*time.Minute + 30*time.Second)
		start := time.Now()
		_, r := s.b.exchange()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := s.m.Load(r.Clone(r.Context())); err != nil {
					s.Errorf("Load while renewing = %v", err)
				}
			})
		}
		wg.Wait()
		if waited := time.Since(start); waited != 0 {
			s.Errorf("requests waited %v for a renewal ahead of expiry, want none", waited)
		}
		time.Sleep(2 * time.Second)
		if n := s.p.calls.Load(); n != 1 {
			s.Errorf("50 requests made %d renewals, want 1", n)
		}
		if got := s.want(nil).Grant().Tokens.Access.Reveal(); got != "access1" {
			s.Errorf("access token = %q, want the renewed one", got)
		}
	})
}

func TestExpiredIsWaitedForOnce(t *testing.T) {
	each(t, config, func(s *site) {
		s.signIn()
		time.Sleep(20 * time.Minute)
		_, r := s.b.exchange()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				got, err := s.m.Load(r.Clone(r.Context()))
				if err != nil || got.Grant().Tokens.Access.Reveal() != "access1" {
					s.Errorf("Load(expired token) = %v, want a session with the renewed one", err)
				}
			})
		}
		wg.Wait()
		if n := s.p.calls.Load(); n != 1 {
			s.Errorf("50 requests made %d renewals, want 1", n)
		}
	})
}

// TestADay: every refresh token is used once, for a whole working day.
func TestADay(t *testing.T) {
	cfg := config
	cfg.Lifetime = 25 * time.Hour
	each(t, cfg, func(s *site) {
		s.signIn()
		for range 24 * 12 {
			time.Sleep(5 * time.Minute)
			s.want(nil)
		}
		used := map[string]bool{}
		s.p.mu.Lock()
		defer s.p.mu.Unlock()
		for _, r := range s.p.seen {
			if used[r] {
				s.Errorf("refresh token %q was used twice", r)
			}
			used[r] = true
		}
		if n := s.p.calls.Load(); n < 24*4-1 || n > 24*12 {
			s.Errorf("24 h with 15 min tokens made %d renewals", n)
		}
	})
}

func TestGroupsFollow(t *testing.T) {
	each(t, config, func(s *site) {
		s.signIn()
		s.p.set(func() { s.p.groups = []string{"admins"} })
		time.Sleep(16 * time.Minute)
		if got := s.want(nil).Who().Groups; len(got) != 1 || got[0] != "admins" {
			s.Errorf("groups after renewal = %v, want [admins]", got)
		}
	})
}

func TestDeadGrantEndsTheSession(t *testing.T) {
	for _, end := range []struct {
		err  error
		want session.End
	}{{session.ErrGrantDead, session.EndGrantDead}, {session.ErrNotAllowed, session.EndNotAllowed}} {
		each(t, config, func(s *site) {
			got := s.signIn()
			stopped := make(chan struct{})
			got.Attach(func() { close(stopped) })
			s.p.set(func() { s.p.err = fmt.Errorf("refused: %w", end.err) })
			time.Sleep(16 * time.Minute)
			s.want(session.ErrNone)
			<-stopped
			if len(s.ended()) != 1 || s.ended()[0] != end.want {
				s.Errorf("told of %v, want one end: %v", s.ended(), end.want)
			}
		})
	}
}

func TestProviderDownIsGrace(t *testing.T) {
	each(t, config, func(s *site) {
		s.signIn()
		s.p.set(func() { s.p.err = errors.New("connection refused") })
		for range 6 { // until 15 min + 1 h of grace
			time.Sleep(12 * time.Minute)
			s.want(nil)
		}
		if n := s.p.calls.Load(); n > 12 {
			s.Errorf("6 requests asked a broken provider %d times", n)
		}
		time.Sleep(5 * time.Minute)
		s.want(session.ErrUnavailable)
		s.p.set(func() { s.p.err = nil })
		time.Sleep(2 * time.Minute)
		s.want(nil)
		if len(s.ended()) != 0 {
			s.Errorf("an outage ended sessions: %v", s.ended())
		}
	})
}

func TestEndStopsStreams(t *testing.T) {
	each(t, config, func(s *site) {
		got := s.signIn()
		var stopped atomic.Int32
		for i := range 10 {
			detach := got.Attach(func() { stopped.Add(1) })
			if i%2 == 1 {
				detach()
				detach()
			}
		}
		w, r := s.b.exchange()
		if grants, err := s.m.End(s.Context(), w, r, session.EndSignedOut); err != nil || len(grants) != 1 {
			s.Fatalf("End = %d grants, %v, want 1", len(grants), err)
		}
		if stopped.Load() != 5 {
			s.Errorf("End stopped %d streams, want 5", stopped.Load())
		}
		got.Attach(func() { stopped.Add(1) })
		if stopped.Load() != 6 {
			s.Error("Attach to an ended session did not stop at once")
		}
		if _, err := s.m.Load(r); !errors.Is(err, session.ErrNone) {
			s.Errorf("Load(old cookies) after End = %v, want ErrNone", err)
		}
		s.want(session.ErrNone)
	})
}

// TestStreamIsUse: an open socket keeps a session from idling out, is renewed
// under way, and is cut at the end of the lifetime.
func TestStreamIsUse(t *testing.T) {
	each(t, config, func(s *site) {
		got := s.signIn()
		start, cut := time.Now(), make(chan time.Time, 1)
		got.Attach(func() { cut <- time.Now() })
		ended := (<-cut).Sub(start)
		if ended < config.Lifetime || ended > config.Lifetime+6*time.Second {
			s.Errorf("stream was cut after %v, want %v", ended, config.Lifetime)
		}
		if n := s.p.calls.Load(); n < 40 {
			s.Errorf("renewed %d times under a stream of 12 h, want about 55", n)
		}
	})
}

func TestSecretsRedact(t *testing.T) {
	g := session.Grant{Identity: session.Identity{Subject: "s", Email: "canary@example.com", Name: "Canary"}, Tokens: session.Tokens{Access: "canary-token"}}
	var out strings.Builder
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "who", &g.Identity, "tokens", g.Tokens, "access", g.Tokens.Access)
	fmt.Fprintf(&out, "%v %+v %#v %s", g.Tokens, g.Tokens, g.Tokens, g.Tokens.Access)
	if strings.Contains(strings.ToLower(out.String()), "canary") {
		t.Errorf("a secret or personal detail shows: %s", out.String())
	}
}

// TestRotationAloneProvesNothing: a provider that rotates tokens but cannot say
// who the person is does not extend the grace.
func TestRotationAloneProvesNothing(t *testing.T) {
	each(t, config, func(s *site) {
		s.signIn()
		s.p.set(func() { s.p.unsure = errors.New("userinfo: status 500") })
		for range 6 {
			time.Sleep(12 * time.Minute)
			s.want(nil)
		}
		time.Sleep(5 * time.Minute)
		s.want(session.ErrUnavailable)
		s.p.set(func() { s.p.unsure = nil })
		time.Sleep(2 * time.Minute)
		s.want(nil)
	})
}

// TestSignOutOfWhatCannotBeUsed: whoever signs out is signed out, also while
// the session is beyond its grace or its cookie is doubled.
func TestSignOutOfWhatCannotBeUsed(t *testing.T) {
	each(t, config, func(s *site) {
		s.signIn()
		_, r := s.b.exchange()
		cookies := r.Header.Get("Cookie")
		r.Header.Set("Cookie", cookies+"; anteroom="+strings.Repeat("B", 43))
		w := httptest.NewRecorder()
		if grants, err := s.m.End(s.Context(), w, r, session.EndSignedOut); err != nil || len(grants) != 1 {
			s.Errorf("End(two cookies) = %d grants, %v, want the one that is good", len(grants), err)
		}
		r.Header.Set("Cookie", cookies)
		if _, err := s.m.Load(r); !errors.Is(err, session.ErrNone) {
			s.Errorf("Load(the good cookie) after End = %v, want ErrNone", err)
		}
	})
}

// TestEndedIsShed: of a session that ended a while ago only that is kept, and
// its cookie still opens nothing.
func TestEndedIsShed(t *testing.T) {
	each(t, config, func(s *site) {
		got := s.signIn()
		_, old := s.b.exchange()
		w, r := s.b.exchange()
		if _, err := s.m.End(s.Context(), w, r, session.EndSignedOut); err != nil {
			s.Fatal(err)
		}
		for _, tt := range []struct {
			after time.Duration
			kept  int
		}{{30 * time.Second, 1}, {90 * time.Second, 0}} {
			time.Sleep(tt.after)
			if n := session.Held(s.m, got.Who().Subject); n != tt.kept {
				s.Errorf("%v after the end %d sessions are held with their tokens, want %d", tt.after, n, tt.kept)
			}
			if _, err := s.m.Load(old); !errors.Is(err, session.ErrNone) {
				s.Errorf("Load(the cookie) %v after the end = %v, want ErrNone", tt.after, err)
			}
		}
		if grants, err := s.m.End(s.Context(), httptest.NewRecorder(), old, session.EndSignedOut); err != nil || len(grants) != 0 {
			s.Errorf("End again = %v, %v, want nothing to give back", grants, err)
		}
	})
}

// TestSignOutDuringRenewal: the tokens that come back are the newest, so that
// none is left which nobody revokes.
func TestSignOutDuringRenewal(t *testing.T) {
	each(t, config, func(s *site) {
		s.signIn()
		time.Sleep(14 * time.Minute)
		w, r := s.b.exchange()
		if _, err := s.m.Load(r); err != nil { // begins the renewal
			s.Fatal(err)
		}
		time.Sleep(time.Millisecond) // it has reached the provider
		grants, err := s.m.End(s.Context(), w, r, session.EndSignedOut)
		if err != nil || len(grants) != 1 || grants[0].Tokens.Access.Reveal() != "access1" {
			s.Errorf("End during a renewal = %d grants, %v, want the renewed one", len(grants), err)
		}
		s.want(session.ErrNone)
	})
}

// TestGroupsChangedBeforeAttach: the stream was let in by groups that are gone.
func TestGroupsChangedBeforeAttach(t *testing.T) {
	each(t, config, func(s *site) {
		got := s.signIn()
		s.p.set(func() { s.p.groups = []string{"others"} })
		time.Sleep(14 * time.Minute)
		s.want(nil)
		time.Sleep(2 * time.Second)
		stopped := false
		got.Attach(func() { stopped = true })
		if !stopped {
			s.Error("Attach with groups that are gone did not stop at once")
		}
	})
}

// TestGroupsChangedCutsStreams: a stream's door may be closed to the person now.
func TestGroupsChangedCutsStreams(t *testing.T) {
	each(t, config, func(s *site) {
		cut := make(chan struct{})
		s.signIn().Attach(func() { close(cut) })
		s.p.set(func() { s.p.groups = []string{"others"} })
		<-cut
		s.want(nil)
	})
}
