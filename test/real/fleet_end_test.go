//go:build real

package realtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"anteroom/demo"
)

// keepSocket is an application's WebSocket that says nothing.
func keepSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	<-c.CloseRead(r.Context()).Done()
	c.CloseNow()
}

// cookieOf is the Cookie header of a person's session.
func (f *fleet) cookieOf(p *person) string {
	u, _ := url.Parse(f.url)
	var out []string
	for _, c := range p.client.Jar.Cookies(u) {
		if !strings.HasSuffix(c.Name, "_signin") {
			out = append(out, c.Name+"="+c.Value)
		}
	}
	return strings.Join(out, "; ")
}

// at asks one replica, not the balancer, with a cookie.
func (f *fleet) at(i int, method, path, cookie string) (int, error) {
	r, err := http.NewRequest(method, "http://"+f.replicas[i].Listen+path, nil)
	if err != nil {
		return 0, err
	}
	r.Host = strings.TrimPrefix(f.url, "http://")
	r.Header.Set("Cookie", cookie)
	r.Header.Set("Origin", f.url)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// TestRevocationReachesReplicas: what one replica ends, no other serves.
func TestRevocationReachesReplicas(t *testing.T) {
	const trials = 100
	f := newFleet(t, 3, demo.Options{OIDC: demo.NoOIDC})
	var all []time.Duration
	for i, p := range f.signIn(trials) {
		cookie := f.cookieOf(p)
		for at := range f.replicas {
			if status, err := f.at(at, http.MethodGet, "/auth/me", cookie); status != http.StatusOK {
				t.Fatalf("trial %d: replica %d says %d (%v) before the end", i, at, status, err)
			}
		}
		if status, err := f.at(i%3, http.MethodPost, "/auth/logout", cookie); err != nil || status >= 400 {
			t.Fatalf("trial %d: signing out = %d, %v", i, status, err)
		}
		began := time.Now()
		for at := range f.replicas {
			for {
				status, err := f.at(at, http.MethodGet, "/auth/me", cookie)
				if status == http.StatusUnauthorized {
					break
				}
				if time.Since(began) > time.Second {
					t.Fatalf("trial %d: replica %d still says %d (%v) after a second", i, at, status, err)
				}
			}
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	most, longest := all[trials*95/100], all[trials-1]
	t.Logf("%d sessions ended: every replica had heard of 95 in 100 after at most %v, of all after %v", trials, most.Round(100*time.Microsecond), longest.Round(100*time.Microsecond))
	if most > 100*time.Millisecond {
		t.Errorf("an end took %v to be seen by every replica, want 100 ms at most", most)
	}
}

// TestRevocationClosesSockets: by another replica, by the provider's word or by
// an operator's, a session's WebSockets close with the code for it.
func TestRevocationClosesSockets(t *testing.T) {
	f := newFleet(t, 3, demo.Options{OIDC: demo.NoOIDC})
	ends := map[string]func(cookie string){
		"sign-out at another replica": func(cookie string) { f.at(0, http.MethodPost, "/auth/logout", cookie) },
		"sessions revoke": func(string) {
			c := f.replicas[0].argv
			p := launch(t, "sessions revoke", command{dir: c.dir, env: c.env, argv: append(slices.Clone(c.argv), "sessions", "revoke", "--user", demo.DefaultUser)})
			<-p.done
			if p.err != nil {
				t.Errorf("sessions revoke: %v: %s", p.err, p.out.String())
			}
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			cookie := f.cookieOf(f.signIn(1)[0])
			var all sync.WaitGroup
			closed := make([]time.Time, len(f.replicas))
			for i := range f.replicas {
				c := f.socket(t, i, cookie)
				all.Go(func() {
					_, _, err := c.Read(t.Context())
					closed[i] = time.Now()
					if code := websocket.CloseStatus(err); code != 4401 {
						t.Errorf("replica %d closed with %v (%v), want 4401", i, code, err)
					}
				})
			}
			began := time.Now()
			end(cookie)
			ended := time.Now()
			all.Wait()
			for i, at := range closed {
				t.Logf("replica %d: closed %v after the end was asked for (which took %v)", i, at.Sub(began).Round(time.Millisecond), ended.Sub(began).Round(time.Millisecond))
				if at.After(ended.Add(time.Second)) {
					t.Errorf("replica %d closed %v after the end, want a second at most", i, at.Sub(ended))
				}
			}
		})
	}
}

func (f *fleet) socket(t *testing.T, at int, cookie string) *websocket.Conn {
	t.Helper()
	c, err := f.dial(t.Context(), at, cookie)
	if err != nil {
		t.Fatalf("opening a WebSocket at replica %d: %v", at, err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func (f *fleet) dial(ctx context.Context, at int, cookie string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+f.replicas[at].Listen+"/socket", &websocket.DialOptions{
		Host: strings.TrimPrefix(f.url, "http://"), HTTPHeader: http.Header{"Cookie": {cookie}, "Origin": {f.url}},
	})
	return c, err
}

// TestRoundTrips: in steady state Redis is asked next to nothing.
func TestRoundTrips(t *testing.T) {
	f := newFleet(t, 3, demo.Options{OIDC: demo.NoOIDC})
	people := f.signIn(30)
	for _, p := range people {
		for range f.replicas {
			(&load{}).one(p, f.url+"/page")
		}
	}
	time.Sleep(time.Second)
	before := f.redis.Commands()
	stop := make(chan struct{})
	stopped := sync.OnceFunc(func() { close(stop) })
	defer stopped()
	l := f.visits(people, 50*time.Millisecond, stop)
	time.Sleep(span())
	stopped()
	time.Sleep(100 * time.Millisecond)
	after := f.redis.Commands()
	l.check(t)
	per := float64(after-before) / float64(l.n)
	t.Logf("%d commands for %d requests: %.4f each", after-before, l.n, per)
	if per > 0.05 {
		t.Errorf("%.4f commands per request by Redis's own counter, want 0.05 at most", per)
	}
}

// TestNothingToRead: neither what Redis wrote to its disk nor what the replicas
// printed holds a token, a name, an address of mail or a session's cookie.
func TestNothingToRead(t *testing.T) {
	canary := demo.User{UID: "canary-uid", Password: "canary-password", Name: "Canary Displayname", Email: "canary.mail@example.com", Groups: []string{"canary-group"}}
	f := newFleet(t, 2, demo.Options{OIDC: demo.OIDC06, AccessTTL: 3 * time.Second, RefreshTTL: time.Hour, Users: []demo.User{canary}})
	p := newPerson(t)
	if _, err := p.trySignIn(&site{URL: f.url}, f.url+"/", canary.UID, canary.Password); err != nil {
		t.Fatal(err)
	}
	secrets := [][]byte{[]byte(canary.Name), []byte(canary.Email), []byte(canary.Password), []byte(canary.Groups[0])}
	for _, c := range strings.Split(f.cookieOf(p), "; ") {
		_, value, _ := strings.Cut(c, "=")
		secrets = append(secrets, []byte(value))
	}
	for range 12 { // through some renewals
		(&load{}).one(p, f.url+"/page")
		time.Sleep(500 * time.Millisecond)
	}
	f.answers.mu.Lock()
	for _, a := range f.answers.all {
		var tokens map[string]any
		if json.Unmarshal(a, &tokens) == nil {
			for _, name := range []string{"access_token", "refresh_token", "id_token"} {
				if s, _ := tokens[name].(string); s != "" {
					secrets = append(secrets, []byte(s))
				}
			}
		}
	}
	f.answers.mu.Unlock()
	if len(secrets) < 4+1+3*2 {
		t.Fatalf("%d secrets to look for, want those of a sign-in and a renewal", len(secrets))
	}
	for _, r := range f.replicas {
		r.noSecrets(t, stringsOf(secrets)...)
	}
	dump := dumped(t, f.redis.Dir())
	if !bytes.Contains(dump, []byte("anteroom:s:")) {
		t.Fatal("the dump of Redis holds no session at all")
	}
	for i, secret := range append(secrets, []byte(canary.UID)) {
		if bytes.Contains(dump, secret) {
			t.Errorf("Redis holds secret number %d of %d in the clear", i, len(secrets)+1)
		}
	}
	t.Logf("%d secrets looked for in %d bytes of Redis and the output of %d replicas", len(secrets)+1, len(dump), len(f.replicas))
}

func stringsOf(all [][]byte) (out []string) {
	for _, b := range all {
		out = append(out, string(b))
	}
	return out
}

// dumped is every byte a Redis has written.
func dumped(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(append(all, b...), '\n')
		return err
	})
	if err != nil {
		t.Fatal(fmt.Errorf("reading Redis's files: %w", err))
	}
	return all
}
