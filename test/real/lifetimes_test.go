//go:build real

package realtest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"anteroom/demo"
)

// rig is an Anteroom between the pretend Nextcloud and an application, with
// the demo's doctor signed in.
type rig struct {
	*site
	nc  nextcloud
	app *application
	p   *person
}

func newRig(t *testing.T, o demo.Options, env ...string) *rig {
	t.Helper()
	g := &rig{site: newSite(t), app: newApplication(t), p: newPerson(t)}
	g.nc = startNextcloud(t, g.site, o)
	g.start(t, settings{env: with(with(g.nc.env(), "ANTEROOM_UPSTREAM", g.app.URL), env...)})
	shown(t, g.p.signIn(g.site, g.URL+"/", demo.DefaultUser, demo.DefaultPassword))
	return g
}

// use visits the application every quarter of a second for a while, and
// returns how long the session held.
func (g *rig) use(d time.Duration) time.Duration {
	started := time.Now()
	for time.Since(started) < d {
		if g.p.visit(g.URL+"/auth/me").status != http.StatusOK {
			break
		}
		time.Sleep(250 * time.Millisecond)
	}
	return time.Since(started)
}

// ended waits for the audit line about a session that ended by itself.
func (g *rig) ended(t *testing.T, why string) {
	t.Helper()
	until(t, g.process, "an audit line", 3*time.Second, g.wrote(1, map[string]string{"event": "session_ended", "reason": why, "sub": demo.DefaultUser}))
}

// TestLifetimes is a day of behaviour in seconds, with real clocks.
func TestLifetimes(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, demo.Options{}, "ANTEROOM_SESSION_IDLE_TIMEOUT", "2s")
		if held := g.use(4 * time.Second); held < 4*time.Second {
			t.Fatalf("a session in use ended after %v, want it to go on", held)
		}
		time.Sleep(2500 * time.Millisecond) // idleness is what is tested
		if err := g.p.gone(g.site)(); err != nil {
			t.Errorf("2.5 s idle with idle_timeout 2s: %v", err)
		}
		g.ended(t, "idle")
	})
	t.Run("lifetime", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, demo.Options{}, "ANTEROOM_SESSION_LIFETIME", "4s", "ANTEROOM_SESSION_IDLE_TIMEOUT", "2s")
		if held := g.use(7 * time.Second); held < 2*time.Second || held > 5*time.Second {
			t.Errorf("a session in use with lifetime 4s held %v, want about 4s", held)
		}
		g.ended(t, "lifetime")
	})
	t.Run("dead token", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, demo.Options{AccessTTL: 3 * time.Second})
		g.nc.RevokeAll(demo.DefaultUser)
		until(t, g.process, "ending a session whose grant is dead", 8*time.Second, g.p.gone(g.site))
		g.ended(t, "grant_dead")
	})
	t.Run("disabled user", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, demo.Options{OIDC: demo.NoOIDC, AccessTTL: 3 * time.Second})
		g.nc.Disable(demo.DefaultUser, true)
		until(t, g.process, "ending a disabled user's session", 8*time.Second, g.p.gone(g.site))
	})
	t.Run("renewal", func(t *testing.T) { t.Parallel(); renewal(t) })
	t.Run("provider down", func(t *testing.T) { t.Parallel(); providerDown(t) })
	t.Run("started without Nextcloud", func(t *testing.T) { t.Parallel(); startedAlone(t) })
}

// renewal: one refresh at a time however many ask, and what changed at
// Nextcloud arrives with it.
func renewal(t *testing.T) {
	g := newRig(t, demo.Options{OIDC: demo.NoOIDC, AccessTTL: 3 * time.Second})
	g.nc.SetLatency(demo.Refresh, 300*time.Millisecond)
	g.nc.SetGroups(demo.DefaultUser, []string{"users", "night-shift"})
	until(t, g.process, "a renewed group reaches the application", 10*time.Second, func() error {
		var all errgroup.Group
		for range 8 {
			r := g.p.request(http.MethodGet, g.URL+"/", nil)
			all.Go(func() error {
				a, err := g.p.try(r)
				if err == nil && !strings.Contains(a.body, `"X-Forwarded-Groups":["night-shift,users"]`) {
					err = fmt.Errorf("%s = %d %.400s", a.url, a.status, a.body)
				}
				return err
			})
		}
		return all.Wait()
	})
	ok, err := g.count(renewedOK)
	if calls := g.nc.Calls(demo.Refresh); err != nil || float64(calls) != ok {
		t.Errorf("%d refreshes at Nextcloud, %v renewals counted (%v), want as many", calls, ok, err)
	}
	if held := g.use(5 * time.Second); held < 5*time.Second {
		t.Errorf("the session ended after %v although its tokens are renewed", held)
	}
}

// providerDown: a known session goes on within its grace, then nobody can
// tell, and nobody is signed out.
func providerDown(t *testing.T) {
	g := newRig(t, demo.Options{AccessTTL: 2 * time.Second, RefreshTTL: time.Hour}, "ANTEROOM_SESSION_GRACE", "4s")
	g.nc.SetDown(true)
	if held := g.use(4 * time.Second); held < 4*time.Second {
		t.Fatalf("with Nextcloud down the session held %v, want grace to carry it", held)
	}
	until(t, g.process, "grace runs out", 8*time.Second, func() error {
		r := g.p.request(http.MethodGet, g.URL+"/auth/me", nil)
		switch a := g.p.do(r); {
		case a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
			return nil
		default:
			return fmt.Errorf("/auth/me = %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
		}
	})
	g.nc.SetDown(false)
	until(t, g.process, "the session is back when Nextcloud is", 40*time.Second, func() error {
		if a := g.p.visit(g.URL + "/auth/me"); a.status != http.StatusOK {
			return fmt.Errorf("/auth/me = %d", a.status)
		}
		return nil
	})
}

// startedAlone: Anteroom comes up while Nextcloud is down, says so, and
// recovers by itself.
func startedAlone(t *testing.T) {
	s, app, p := newSite(t), newApplication(t), newPerson(t)
	nc := startNextcloud(t, s, demo.Options{})
	nc.SetDown(true)
	s.launch(t, settings{env: with(nc.env(), "ANTEROOM_UPSTREAM", app.URL)})
	if err := s.ready(); err == nil {
		t.Error("/readyz = 200 with Nextcloud down, want 503")
	}
	if g := p.visit(s.URL + "/auth/login"); g.status != http.StatusServiceUnavailable || g.header.Get("Retry-After") == "" {
		t.Errorf("signing in with Nextcloud down = %d, Retry-After %q, want 503 with one", g.status, g.header.Get("Retry-After"))
	}
	nc.SetDown(false)
	until(t, s.process, "ready once Nextcloud answers", 40*time.Second, s.ready)
	shown(t, p.signIn(s, s.URL+"/", demo.DefaultUser, demo.DefaultPassword))
}
