package signin

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/test/person"
)

// TestConcurrentSignIns has many people sign in at once, each in a browser of
// their own: nobody ends up as somebody else, or where somebody else was going.
func TestConcurrentSignIns(t *testing.T) {
	for _, provider := range []string{kindOIDC, kindNextcloud} {
		t.Run(provider, func(t *testing.T) {
			s := newSite(t, demo.Options{}, func(c *Config) { c.Provider = provider })
			var wg sync.WaitGroup
			for i := range 12 {
				u := demo.DefaultUsers()[i%3]
				wg.Go(func() {
					to := fmt.Sprintf("/of/%s/%d", u.UID, i)
					p := person.New(map[string]string{"user": u.UID, "password": u.Password})
					page, err := p.SignIn(s.url + "/login?to=" + url.QueryEscape(to))
					if want := u.UID + " to " + to + ": <nil>"; err != nil || page.Body != want {
						t.Errorf("SignIn(%s) = %+v, %v, want %q", u.UID, page, err, want)
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestStolenCallback has one person open the callback of another: login CSRF.
func TestStolenCallback(t *testing.T) {
	for _, provider := range []string{kindOIDC, kindNextcloud} {
		s := newSite(t, demo.Options{}, func(c *Config) { c.Provider = provider })
		s.signIn(t)
		theirs := s.url + "/auth/callback?" + s.query
		victim := person.New(nil)
		if _, err := victim.Open(s.url + "/login?to=/"); err != nil { // has a flow of their own under way
			t.Fatal(err)
		}
		before := s.cloud.Calls(demo.Token)
		page, err := victim.Open(theirs)
		if err != nil || !strings.HasPrefix(page.Body, " to : ") || kindOf(s.err) != Invalid {
			t.Errorf("%s: Finish(another's callback) = %+v, %v, want Invalid", provider, page, s.err)
		}
		if n := s.cloud.Calls(demo.Token); n != before {
			t.Errorf("%s: another's callback cost %d token calls, want none", provider, n-before)
		}
	}
}

// TestBrowserRecordStaysSmall: however many tabs finish, the cookie does not grow.
func TestBrowserRecordStaysSmall(t *testing.T) {
	var b browserRecord
	for range 200 {
		b.completed(time.Now())
	}
	if len(b.Done) != loopLimit {
		t.Errorf("completed(200 times) keeps %d, want %d", len(b.Done), loopLimit)
	}
}
