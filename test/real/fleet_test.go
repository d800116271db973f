//go:build real

package realtest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"anteroom/demo"
	"anteroom/test/redistest"
)

// span is how long the suites of this file keep up their load, SPAN in the
// environment; the figures in the documentation are from a minute each.
func span() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("SPAN")); err == nil {
		return d
	}
	return 15 * time.Second
}

const redisURL = "ANTEROOM_SESSION_REDIS_URL"

// fleet is replicas of one site behind a balancer that goes round, with one
// Redis and one provider behind them.
type fleet struct {
	t        *testing.T
	url      string // the site, as browsers see it: the balancer
	nc       nextcloud
	redis    *redistest.Server // nil where the environment names another
	app      *httptest.Server
	replicas []*replica
	next     atomic.Uint64
	answers  answers // of the provider, to look for later
}

// replica is one Anteroom of the fleet.
type replica struct {
	*site
	argv command
}

func newFleet(t *testing.T, n int, o demo.Options, env ...string) *fleet {
	t.Helper()
	f := &fleet{t: t}
	if !slices.Contains(env, redisURL) {
		f.redis = redistest.Start(t, redistest.Options{})
		env = append(env, redisURL, f.redis.URL())
	}
	balancer := httptest.NewServer(f.balancer())
	t.Cleanup(balancer.Close)
	at, _ := url.Parse(balancer.URL)
	f.url = "http://localhost:" + at.Port()
	f.app = httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(f.app.Close)
	nc := demo.NewNextcloud(o)
	nc.AddRedirectURI(demo.DefaultClientID, f.url+"/auth/callback")
	server := httptest.NewServer(f.answers.of(nc))
	t.Cleanup(server.Close)
	f.nc = nextcloud{nc, server}
	key := make([]byte, 32)
	rand.Read(key)
	all := with(f.nc.env(), append([]string{
		"ANTEROOM_UPSTREAM", f.app.URL, "ANTEROOM_SESSION_STORE", "redis",
		"ANTEROOM_SESSION_KEYS", base64.StdEncoding.EncodeToString(key), "NEXTCLOUD_REDIRECT_URI", f.url + "/auth/callback",
		"ANTEROOM_SERVER_SIGN_IN_RATE", "off", "ANTEROOM_SERVER_SIGN_IN_ACCOUNT_RATE", "off",
	}, env...)...)
	for range n {
		r := &replica{site: newSite(t)}
		r.argv = command{dir: t.TempDir(), argv: []string{absolute(t, binaries+"/anteroom-plain")}}
		for k, v := range with(map[string]string{"ANTEROOM_SERVER_LISTEN": r.Listen, "ANTEROOM_SERVER_ADMIN_LISTEN": strings.TrimPrefix(r.Admin, "http://")}, pairs(all)...) {
			r.argv.env = append(r.argv.env, k+"="+v)
		}
		f.replicas = append(f.replicas, r)
		r.process = launch(t, "replica", r.argv)
	}
	for _, r := range f.replicas {
		until(t, r.process, "a replica is ready", 20*time.Second, r.ready)
	}
	return f
}

func pairs(m map[string]string) (out []string) {
	for k, v := range m {
		out = append(out, k, v)
	}
	return out
}

// echo answers with who it was told is calling; a WebSocket is kept open.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		keepSocket(w, r)
		return
	}
	io.Copy(io.Discard, r.Body)
	io.WriteString(w, r.Header.Get("X-Forwarded-User"))
}

// balancer goes round the replicas. A GET whose replica cannot be reached, or
// dies over it, goes to the next, as any balancer does.
func (f *fleet) balancer() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.Out.Host = p.In.Host },
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			var err error
			first := f.next.Add(1)
			for i := range uint64(len(f.replicas)) {
				to := f.replicas[(first+i)%uint64(len(f.replicas))]
				try := r.Clone(r.Context())
				try.URL.Scheme, try.URL.Host = "http", to.Listen
				var resp *http.Response
				if resp, err = http.DefaultTransport.RoundTrip(try); err == nil || r.Method != http.MethodGet || r.Context().Err() != nil {
					return resp, err
				}
			}
			return nil, err
		}),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "balancer: "+err.Error(), http.StatusBadGateway)
		},
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// kill ends a replica without warning and starts it again.
func (f *fleet) kill(i int) {
	r := f.replicas[i]
	r.process.cmd.Process.Signal(syscall.SIGKILL)
	<-r.process.done
	r.process = launch(f.t, "replica", r.argv)
	until(f.t, r.process, "a killed replica is ready again", 20*time.Second, r.ready)
}

// signIn signs people in, each in a browser of their own.
func (f *fleet) signIn(n int) []*person {
	f.t.Helper()
	people := make([]*person, n)
	var all errgroup.Group
	all.SetLimit(8)
	for i := range people {
		people[i] = newPerson(f.t)
		all.Go(func() error {
			_, err := people[i].trySignIn(&site{URL: f.url}, f.url+"/", demo.DefaultUser, demo.DefaultPassword)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		f.t.Fatalf("signing in: %v", err)
	}
	return people
}

// load is requests under way and what became of them.
type load struct {
	mu       sync.Mutex
	n        int
	failures []string
	waited   []time.Duration
	cleared  int // answers that took the session's cookie away
}

// visits has each person ask for a page now and then until stop is closed.
func (f *fleet) visits(people []*person, every time.Duration, stop <-chan struct{}) *load {
	l := &load{}
	var all sync.WaitGroup
	for i, p := range people {
		all.Go(func() {
			pause(stop, every*time.Duration(i)/time.Duration(len(people)))
			for !pause(stop, every) {
				l.one(p, f.url+"/page")
			}
		})
	}
	f.t.Cleanup(all.Wait)
	return l
}

// pause waits; it reports true once stop is closed.
func pause(stop <-chan struct{}, d time.Duration) bool {
	select {
	case <-stop:
		return true
	case <-time.After(d):
		return false
	}
}

func (l *load) one(p *person, address string) {
	r, _ := http.NewRequest(http.MethodGet, address, nil)
	began := time.Now()
	resp, err := (&http.Client{Transport: p.client.Transport, Jar: p.client.Jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	took := time.Since(began)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	l.waited = append(l.waited, took)
	switch {
	case err != nil:
		l.failures = append(l.failures, err.Error())
		return
	case resp.StatusCode != http.StatusOK || string(body) != demo.DefaultUser:
		l.failures = append(l.failures, fmt.Sprintf("%d %.80q", resp.StatusCode, body))
	}
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 || c.Value == "" {
			l.cleared++
		}
	}
}

// check holds the load to what was promised: nobody noticed anything.
func (l *load) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.waited)
	t.Logf("%d requests, p50 %v, p99 %v, longest %v", l.n, l.at(50), l.at(99), l.at(100))
	if len(l.failures) > 0 || l.cleared > 0 {
		t.Errorf("%d of %d requests failed, %d cookies cleared; first: %s", len(l.failures), l.n, l.cleared, l.failures[:min(3, len(l.failures))])
	}
}

// at is a percentile of the waits. Called with mu held, once they are sorted.
func (l *load) at(percent int) time.Duration {
	if len(l.waited) == 0 {
		return 0
	}
	return l.waited[min(len(l.waited)-1, len(l.waited)*percent/100)].Round(time.Microsecond * 100)
}

// answers keeps what the provider answered at its token endpoint.
type answers struct {
	mu  sync.Mutex
	all [][]byte
}

func (a *answers) of(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/token") {
			h.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		a.mu.Lock()
		a.all = append(a.all, bytes.Clone(rec.Body.Bytes()))
		a.mu.Unlock()
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes())
	})
}
