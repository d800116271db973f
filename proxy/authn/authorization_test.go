package authn

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/session"
)

// cloud knows ada by her password and her token, and may be away.
type cloud struct {
	changed atomic.Bool // every password
	asked   atomic.Int32
	away    atomic.Bool
	slow    chan struct{} // if not nil: answers wait for it
}

func (c *cloud) ByPassword(ctx context.Context, user string, password session.Secret) (session.Identity, error) {
	c.asked.Add(1)
	if c.slow != nil {
		<-c.slow
	}
	switch {
	case c.away.Load():
		return session.Identity{}, errors.New("no answer")
	case c.changed.Load():
	case user == "ada" && password == "good":
		return session.Identity{Subject: "ada"}, nil
	case user == "eve":
		return session.Identity{}, session.ErrNotAllowed
	}
	return session.Identity{}, session.ErrGrantDead
}

func (c *cloud) ByToken(ctx context.Context, token session.Secret) (session.Identity, bool, error) {
	who, err := c.ByPassword(ctx, "ada", token)
	return who, true, err
}

// issued knows one JWT of ours.
type issued struct{ broken bool }

func (issued) Issued(token string) bool { return strings.HasPrefix(token, "ours.") }

func (i issued) Verify(_ context.Context, token string) (Caller, error) {
	switch {
	case i.broken:
		return Caller{}, fmt.Errorf("%w: store away", ErrBroken)
	case token == "ours.good":
		return Caller{Who: &session.Identity{Subject: "ada", Method: session.ByAssertion}}, nil
	}
	return Caller{}, session.ErrNone
}

func request(values ...string) *http.Request {
	r := httptest.NewRequest("PROPFIND", "/dav/", nil)
	for _, v := range values {
		r.Header.Add("Authorization", v)
	}
	return r.WithContext(From(r.Context(), "192.0.2.1"))
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func source(t testing.TB, c *cloud, o Options) *Authorization {
	t.Helper()
	if c != nil {
		o.People, o.Tokens = c, c
	}
	a, err := NewAuthorization(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAuthorization(t *testing.T) {
	secret, hash := NewSecret()
	a := source(t, &cloud{}, Options{Clients: []Client{{Name: "indexer", SecretHash: hash, Groups: []string{"programs"}}}, Assertions: issued{}})
	tests := []struct {
		name    string
		values  []string
		subject string // "" for nobody
		means   session.Method
		own     bool
		err     error
	}{
		{"none", nil, "", "", false, nil},
		{"client", []string{basic("indexer", secret.Reveal())}, "client:indexer", session.ByClient, false, nil},
		{"client with another's secret", []string{basic("indexer", "x")}, "", "", false, ErrRefused},
		{"client with its hash for a secret", []string{basic("indexer", hash)}, "", "", false, ErrRefused},
		{"no client, the secret of one", []string{basic("other", secret.Reveal())}, "", "", false, ErrRefused},
		{"person", []string{basic("ada", "good")}, "ada", session.ByAppPassword, true, nil},
		{"person, scheme in other case", []string{strings.Replace(basic("ada", "good"), "Basic", "bASIC", 1)}, "ada", session.ByAppPassword, true, nil},
		{"person, wrong", []string{basic("ada", "bad")}, "", "", false, ErrRefused},
		{"person who may not enter", []string{basic("eve", "good")}, "", "", false, ErrRefused},
		{"no password", []string{basic("ada", "")}, "", "", false, ErrRefused},
		{"no user", []string{basic("", "good")}, "", "", false, ErrRefused},
		{"no colon", []string{"Basic " + base64.StdEncoding.EncodeToString([]byte("ada"))}, "", "", false, ErrRefused},
		{"control characters", []string{basic("ada", "go\nod")}, "", "", false, ErrRefused},
		{"not UTF-8", []string{basic("ad\xff", "good")}, "", "", false, ErrRefused},
		{"too long", []string{basic("ada", strings.Repeat("x", maxSecret+1))}, "", "", false, ErrRefused},
		{"not base64", []string{"Basic ada:good"}, "", "", false, ErrRefused},
		{"token", []string{"Bearer good"}, "ada", session.ByToken, true, nil},
		{"token, wrong", []string{"Bearer bad"}, "", "", false, ErrRefused},
		{"token, none", []string{"Bearer "}, "", "", false, ErrRefused},
		{"token with a space", []string{"Bearer go od"}, "", "", false, ErrRefused},
		{"JWT of ours", []string{"Bearer ours.good"}, "ada", session.ByAssertion, false, nil},
		{"JWT of ours, wrong", []string{"Bearer ours.bad"}, "", "", false, ErrRefused},
		{"another scheme", []string{"Digest x"}, "", "", false, ErrRefused},
		{"empty", []string{""}, "", "", false, ErrRefused},
		{"two", []string{basic("ada", "good"), "Bearer good"}, "", "", false, ErrRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := a.Identify(request(tt.values...))
			if !errors.Is(err, tt.err) || errors.Is(err, ErrBroken) {
				t.Fatalf("Identify = %v, want %v", err, tt.err)
			}
			switch {
			case tt.subject == "" && c.Who != nil:
				t.Errorf("Identify = %v, want nobody", c.Who)
			case tt.subject != "" && (c.Who == nil || c.Who.Subject != tt.subject || c.Who.Method != tt.means || c.Own.IsZero() == tt.own):
				t.Errorf("Identify = %+v own %v, want %s by %s, own %v", c.Who, !c.Own.IsZero(), tt.subject, tt.means, tt.own)
			}
		})
	}
}

// TestClientsAreNotGuessed: whether there is a client of a name shows neither
// in the answer nor in who is asked.
func TestClientsAreNotGuessed(t *testing.T) {
	_, hash := NewSecret()
	c := &cloud{}
	a := source(t, c, Options{Clients: []Client{{Name: "indexer", SecretHash: hash}}})
	_, errKnown := a.Identify(request(basic("indexer", "guess")))
	known := c.asked.Swap(0)
	_, errUnknown := a.Identify(request(basic("nobody", "guess")))
	if unknown := c.asked.Load(); known != unknown || errKnown.Error() != errUnknown.Error() {
		t.Errorf("a known name: asked %d times, %v; an unknown one: %d times, %v; want them alike", known, errKnown, unknown, errUnknown)
	}
}

// TestVerdicts: what Nextcloud said holds for its time, and an answer that did
// not come for none.
func TestVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		a := source(t, c, Options{})
		ask := func(password string, want error, asked int32) {
			t.Helper()
			before := c.asked.Load()
			_, err := a.Identify(request(basic("ada", password)))
			if !errors.Is(err, want) || c.asked.Load()-before != asked {
				t.Errorf("Identify = %v after asking %d times, want %v and %d", err, c.asked.Load()-before, want, asked)
			}
		}
		ask("good", nil, 1)
		ask("good", nil, 0)
		ask("bad", ErrRefused, 1)
		ask("bad", ErrRefused, 0)
		time.Sleep(refusedFor + time.Second)
		ask("bad", ErrRefused, 1)
		ask("good", nil, 0)
		time.Sleep(goodFor)
		c.away.Store(true)
		ask("good", ErrBroken, 1)
		ask("good", ErrBroken, 1)
		ask("bad", ErrBroken, 1)
		c.away.Store(false)
		ask("good", nil, 1)
		a.Forget(session.Credential{User: "ada", Secret: "good"})
		ask("good", nil, 1)
	})
}

// TestOneQuestion: whoever comes with the same credential at the same time
// waits for one answer.
func TestOneQuestion(t *testing.T) {
	c := &cloud{slow: make(chan struct{})}
	a := source(t, c, Options{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if caller, err := a.Identify(request(basic("ada", "good"))); err != nil || caller.Who.Subject != "ada" {
				t.Errorf("Identify = %v, %v", caller.Who, err)
			}
		})
	}
	for c.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	close(c.slow)
	wg.Wait()
	if n := c.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

// TestAttempts: one address has so many failures, and neither others nor who
// was good before pays for them.
func TestAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		a := source(t, c, Options{})
		if _, err := a.Identify(request(basic("ada", "good"))); err != nil {
			t.Fatal(err)
		}
		throttled := 0
		for i := range 3 * addressFailures.Count {
			if _, err := a.Identify(request(basic("ada", fmt.Sprint("guess", i)))); errors.Is(err, ErrThrottled) {
				throttled++
			}
		}
		if throttled != 2*addressFailures.Count {
			t.Errorf("%d of %d guesses were not tried, want %d", throttled, 3*addressFailures.Count, 2*addressFailures.Count)
		}
		time.Sleep(goodFor + time.Second) // some attempts have come back; use them up
		for i := range 2 * addressFailures.Count {
			a.Identify(request(basic("ada", fmt.Sprint("more", i))))
		}
		if _, err := a.Identify(request(basic("ada", "good"))); err != nil {
			t.Errorf("Identify(good before) = %v, want it to pass the limit", err)
		}
		other := request(basic("ada", "another"))
		if _, err := a.Identify(other.WithContext(From(other.Context(), "192.0.2.2"))); errors.Is(err, ErrThrottled) {
			t.Error("another address pays for the first one's failures")
		}
	})
}

// TestVerdictsAreBounded: a flood of credentials costs no more memory than
// there is for them, and a good one stays.
func TestVerdictsAreBounded(t *testing.T) {
	v := newVerdicts(time.Now, nil)
	free := func() error { return nil }
	good := session.Credential{User: "ada", Secret: "good"}
	yes := func(context.Context) (session.Identity, bool, error) {
		return session.Identity{Subject: "ada"}, true, nil
	}
	no := func(context.Context) (session.Identity, bool, error) {
		return session.Identity{}, false, session.ErrGrantDead
	}
	v.ask(t.Context(), good, free, yes)
	for i := range maxVerdicts + 100 {
		v.ask(t.Context(), session.Credential{Secret: session.Secret(fmt.Sprint(i))}, free, no)
	}
	if len(v.all) > maxVerdicts {
		t.Errorf("%d verdicts, want %d at most", len(v.all), maxVerdicts)
	}
	if _, _, err := v.ask(t.Context(), good, free, no); err != nil {
		t.Errorf("the good one = %v, want it remembered", err)
	}
}

func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{basic("ada", "good"), "Bearer good", "Bearer ours.good", "basic  " + "YTpi", "Basic", " ", "Bearer\tx"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		a := source(t, &cloud{}, Options{Assertions: issued{}})
		c, err := a.Identify(request(value))
		if err == nil && (c.Who == nil || c.Who.Subject != "ada") {
			t.Errorf("Identify(%q) = %v, nil", value, c.Who)
		}
	})
}

func BenchmarkVerdict(b *testing.B) {
	a := source(b, &cloud{}, Options{})
	for name, value := range map[string]string{"basic": basic("ada", "good"), "bearer": "Bearer good"} {
		b.Run(name, func(b *testing.B) {
			r := request(value)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Identify(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
