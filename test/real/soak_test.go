//go:build real

package realtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"anteroom/demo"
	"anteroom/proxy/authn"
	"anteroom/session"
)

// soak is for how long TestSoak goes on: SOAK in the environment ("make soak"
// says 30m), else long enough to see that it works.
func soak() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("SOAK")); err == nil {
		return d
	}
	return 20 * time.Second
}

// TestSoak keeps replicas at a moderate rate: requests, renewals, WebSockets
// that come and go, people who sign in and out, a program that reads files by
// DAV and as JSON, with an audit log that is watched, and traces. What they hold
// must not grow.
func TestSoak(t *testing.T) {
	t.Parallel() // what is judged is each replica's own
	var spans atomic.Int64
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		spans.Add(n)
	}))
	t.Cleanup(collector.Close)
	key := make([]byte, 32)
	rand.Read(key)
	secret, hash := authn.NewSecret()
	f := newFleet(t, 2, demo.Options{OIDC: demo.NoOIDC, Strict: true, AccessTTL: 10 * time.Second},
		"ANTEROOM_SESSION_IDLE_TIMEOUT", "2m", // for so long the mark of an ended session stays
		"ANTEROOM_AUDIT_OUTPUT", "audit.log", "ANTEROOM_AUDIT_KEY", base64.StdEncoding.EncodeToString(key), "ANTEROOM_AUDIT_HASH_PATHS", "true",
		"ANTEROOM_WATCH_WEBHOOK_URL", collector.URL+"/alerts", "ANTEROOM_TELEMETRY_OTLP_ENDPOINT", collector.URL,
		"ANTEROOM_CLIENTS", `[{name: indexer, secret_hash: "`+hash+`"}]`,
		"NEXTCLOUD_WEBDAV_USERNAME", demo.DefaultUser, "NEXTCLOUD_WEBDAV_PASSWORD", demo.DefaultPassword)
	stop := make(chan struct{})
	stopped := sync.OnceFunc(func() { close(stop) })
	defer stopped()
	l := f.visits(f.signIn(40), 200*time.Millisecond, stop)
	others := &counted{what: map[string]int{}}
	var churn sync.WaitGroup
	churn.Go(func() { f.comeAndGo(t, stop) })
	churn.Go(func() { f.index(secret, others, stop) })
	defer churn.Wait()
	defer stopped()

	samples := make([][]sample, len(f.replicas))
	every := max(time.Second, min(10*time.Second, soak()/40))
	for began := time.Now(); time.Since(began) < soak(); {
		time.Sleep(every)
		for i, r := range f.replicas {
			s, err := r.sample()
			if err != nil {
				t.Fatal(err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	stopped()
	churn.Wait()
	l.check(t)
	others.check(t, "dav", "json")
	if spans.Load() == 0 {
		t.Error("no traces arrived")
	}
	if n := f.nc.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were presented twice, want none", n)
	}
	f.audited(t)
	for i, s := range samples {
		judgeFlat(t, fmt.Sprintf("replica %d: goroutines", i), s, func(s sample) float64 { return s.goroutines }, 25)
		judgeFlat(t, fmt.Sprintf("replica %d: heap in use MiB", i), s, func(s sample) float64 { return s.heap / (1 << 20) }, 4)
		judgeFlat(t, fmt.Sprintf("replica %d: resident MiB", i), s, func(s sample) float64 { return s.resident / (1 << 20) }, unsettled())
	}
}

// unsettled is what the resident memory may grow besides, in MiB: at first it
// follows what the garbage collector makes of each new kind of work.
func unsettled() float64 {
	if soak() < 5*time.Minute {
		return 32
	}
	return 4
}

// index has a program read a folder, now by DAV and now as JSON, until stop is
// closed.
func (f *fleet) index(secret session.Secret, c *counted, stop <-chan struct{}) {
	for !pause(stop, 200*time.Millisecond) {
		r, _ := http.NewRequest("PROPFIND", f.url+"/dav/files/"+demo.DefaultUser+"/", nil)
		r.SetBasicAuth("indexer", secret.Reveal())
		r.Header.Set("Depth", "1")
		c.count("dav", expect(http.DefaultClient, r, http.StatusMultiStatus))
		r, _ = http.NewRequest(http.MethodGet, f.url+"/integrations/files?path=/", nil)
		r.SetBasicAuth("indexer", secret.Reveal())
		c.count("json", expect(http.DefaultClient, r, http.StatusOK))
	}
}

// comeAndGo has one person after another sign in, open WebSockets, sign out and
// have them closed.
func (f *fleet) comeAndGo(t *testing.T, stop <-chan struct{}) {
	for i := 0; !pause(stop, 500*time.Millisecond); i++ {
		p := newPerson(t)
		if _, err := p.trySignIn(&site{URL: f.url}, f.url+"/", demo.DefaultUser, demo.DefaultPassword); err != nil {
			t.Errorf("signing in: %v", err)
			return
		}
		if err := f.beSignedOut(t.Context(), i%len(f.replicas), f.cookieOf(p)); err != nil {
			t.Error(err)
		}
		p.client.CloseIdleConnections()
	}
}

// beSignedOut opens a WebSocket at each replica, signs out at one, and waits
// until all are closed.
func (f *fleet) beSignedOut(ctx context.Context, at int, cookie string) error {
	var open []*websocket.Conn
	for i := range f.replicas {
		c, err := f.dial(ctx, i, cookie)
		if err != nil {
			return fmt.Errorf("opening a WebSocket: %w", err)
		}
		defer c.CloseNow()
		open = append(open, c)
	}
	if status, err := f.at(at, http.MethodPost, "/auth/logout", cookie); err != nil || status >= 400 {
		return fmt.Errorf("signing out = %d, %w", status, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, c := range open {
		if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != 4401 {
			return fmt.Errorf("a WebSocket ended with %w, want 4401", err)
		}
	}
	return nil
}

// audited stops the replicas and has each one's audit log verified.
func (f *fleet) audited(t *testing.T) {
	t.Helper()
	for i, r := range f.replicas {
		r.process.cmd.Process.Signal(syscall.SIGTERM)
		<-r.process.done
		verify := exec.Command(r.argv.argv[0], "audit", "verify")
		verify.Dir, verify.Env = r.argv.dir, r.argv.env
		out, err := verify.CombinedOutput()
		if err != nil {
			t.Errorf("replica %d: audit verify: %v\n%s", i, err, out)
		}
		t.Logf("replica %d: %s", i, bytes.TrimSpace(out))
	}
}

// sample is what a replica holds at a time.
type sample struct {
	goroutines, resident float64
	heap                 float64 // that was in use after the last collection: half of where the next begins
}

func (s *site) sample() (v sample, err error) {
	if v.goroutines, err = s.count("go_goroutines"); err != nil {
		return v, err
	}
	if v.resident, err = s.count("process_resident_memory_bytes"); err != nil {
		return v, err
	}
	v.heap, err = s.count("go_memstats_next_gc_bytes")
	v.heap /= 2
	return v, err
}

// judgeFlat compares the median of the last third with that of the middle one:
// it may be a tenth more, and a little.
func judgeFlat(t *testing.T, what string, s []sample, of func(sample) float64, little float64) {
	t.Helper()
	third := len(s) / 3
	middle, last := medianOf(s[third:2*third], of), medianOf(s[2*third:], of)
	t.Logf("%s: %.1f in the middle third, %.1f in the last, of %d samples", what, middle, last, len(s))
	if last > middle*1.1+little {
		t.Errorf("%s grew from %.1f to %.1f", what, middle, last)
	}
}

func medianOf(s []sample, of func(sample) float64) float64 {
	var v []float64
	for _, x := range s {
		v = append(v, of(x))
	}
	slices.Sort(v)
	if len(v) == 0 {
		return 0
	}
	return v[len(v)/2]
}
