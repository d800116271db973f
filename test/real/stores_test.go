//go:build real

package realtest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/test/redistest"
)

// rediss are the ways of having a Redis that people have, and what befalls each
// while it is in use.
var rediss = map[string]func(t *testing.T) (env []string, befall func()){
	"TLS and an ACL user": func(t *testing.T) ([]string, func()) {
		s := redistest.Start(t, redistest.Options{TLS: true, Users: map[string]string{"anteroom": "on >a-password " + redistest.ACL}})
		return []string{redisURL, s.URL(), "ANTEROOM_SESSION_REDIS_CA_FILE", s.CAFile, "ANTEROOM_SESSION_REDIS_USERNAME", "anteroom", "ANTEROOM_SESSION_REDIS_PASSWORD", "a-password"}, s.Restart
	},
	"Sentinel": func(t *testing.T) ([]string, func()) {
		s := redistest.StartSentinel(t)
		return []string{redisURL, s.URL()}, func() { s.Master().Kill() }
	},
	"Cluster": func(t *testing.T) ([]string, func()) {
		c := redistest.StartCluster(t, redistest.Options{})
		return []string{redisURL, c.URL()}, func() {
			for slot := range 12 { // every session's is as likely as another's
				at := slot * 1365
				c.Move(at, (c.Owner(at)+1)%3, func(string) { time.Sleep(50 * time.Millisecond) })
			}
		}
	},
}

// TestSignInOnEveryRedis runs the suites about signing in and sessions with the
// sessions in each kind of Redis.
func TestSignInOnEveryRedis(t *testing.T) {
	defer func() { storeEnv = nil }()
	for name, start := range rediss {
		t.Run(name, func(t *testing.T) {
			env, _ := start(t)
			storeEnv = with(map[string]string{"ANTEROOM_SESSION_STORE": "redis", "ANTEROOM_SESSION_KEYS": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}, env...)
			for what, test := range map[string]func(*testing.T){
				"fixation": TestSessionFixation, "CSRF": TestSignInCSRF, "tossing": TestCookieTossing, "swap": TestIdentitySwap,
				"lifetimes": TestLifetimes, "guide": TestOnlyGuideVariables, "many groups": TestManyGroups,
			} {
				t.Run(what, test)
			}
		})
	}
}

// TestRedisBefallen: a failover, a restart, slots that move, all in the middle
// of load: who is signed in notices nothing, and afterwards people sign in and
// out again.
func TestRedisBefallen(t *testing.T) {
	for name, start := range rediss {
		t.Run(name, func(t *testing.T) {
			env, befall := start(t)
			f := newFleet(t, 2, demo.Options{OIDC: demo.NoOIDC, Strict: true, AccessTTL: tokenLife}, env...)
			people := f.signIn(40)
			for _, p := range people { // known everywhere
				for range f.replicas {
					(&load{}).one(p, f.url+"/page")
				}
			}
			stop := make(chan struct{})
			stopped := sync.OnceFunc(func() { close(stop) })
			defer stopped()
			l := f.visits(people, 200*time.Millisecond, stop)
			time.Sleep(2 * time.Second)
			began := time.Now()
			befall()
			until(t, nil, "every replica judges unknown sessions again", 10*time.Second, f.judges)
			t.Logf("over after %v", time.Since(began).Round(time.Millisecond))
			time.Sleep(8 * time.Second)
			newcomers := f.signIn(5)
			stopped()
			l.check(t)
			if n := f.nc.Reuses(); n != 0 {
				t.Errorf("%d refresh tokens were presented twice, want none", n)
			}
			for _, p := range slices.Concat(people[:5], newcomers) {
				f.signOut(t, p)
			}
		})
	}
}

// signOut signs a person out at one replica and has every one say so.
func (f *fleet) signOut(t *testing.T, p *person) {
	t.Helper()
	cookie := f.cookieOf(p)
	if status, err := f.at(0, "POST", "/auth/logout", cookie); err != nil || status >= 400 {
		t.Fatalf("signing out = %d, %v", status, err)
	}
	until(t, nil, "every replica has heard of a sign-out", 500*time.Millisecond, func() error {
		for i := range f.replicas {
			if status, err := f.at(i, "GET", "/auth/me", cookie); status != 401 {
				return fmt.Errorf("replica %d says %d, %v", i, status, err)
			}
		}
		return nil
	})
}
