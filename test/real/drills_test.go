//go:build real

package realtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"anteroom/demo"
)

// drilled is a site under attack, as it is built to be used: a public part, the
// rest for whoever is signed in, as the nurse is. Its application echoes
// WebSockets at /ws and answers 8 MiB at /public/large.
func drilled(t *testing.T, env ...string) *drill {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(drillApp))
	t.Cleanup(app.Close)
	d := &drill{rig: rig{site: newSite(t), p: newPerson(t)}}
	d.fast = true
	d.nc = startNextcloud(t, d.site, demo.Options{})
	d.start(t, settings{env: with(with(d.nc.env(), "ANTEROOM_SERVER_H2C", "true"), env...), yaml: fmt.Sprintf(`
upstream: %q
routes:
  - {path: /public, allow: public}
  - {path: /, allow: signed-in}
`, app.URL)})
	d.p.signIn(d.site, d.URL+"/", "nurse", "nurse123")
	d.cookie = d.cookies()
	var err error
	if d.before, err = d.sample(); err != nil {
		t.Fatal(err)
	}
	return d
}

func drillApp(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/ws":
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, b) != nil {
				return
			}
		}
	case "/public/large":
		for b := make([]byte, 64<<10); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
			if r.URL.RawQuery = r.URL.RawQuery + "."; len(r.URL.RawQuery) > 128 {
				return
			}
		}
	}
	io.Copy(io.Discard, r.Body)
	io.WriteString(w, "hello "+r.Header.Get("X-Forwarded-User"))
}

type drill struct {
	rig
	cookie string
	before sample // what the program held when nobody had done anything yet
}

// spared has the nurse go on working while an attack lasts, which is repeated
// for a second at least: each of her requests must be answered, and half of them
// soon.
func (d *drill) spared(t *testing.T, attack func()) {
	t.Helper()
	stop := make(chan struct{})
	var took []time.Duration
	var work sync.WaitGroup
	if err := d.work(); err != nil { // and she has her connection before it begins
		t.Fatalf("before the attack: %v", err)
	}
	work.Go(func() {
		for !pause(stop, 20*time.Millisecond) {
			start := time.Now()
			if err := d.work(); err != nil {
				t.Errorf("a request of somebody else's during the attack: %v", err)
				return
			}
			took = append(took, time.Since(start))
		}
	})
	began := time.Now()
	for attack(); time.Since(began) < time.Second && !t.Failed(); {
		attack()
	}
	lasted := time.Since(began)
	close(stop)
	work.Wait()
	slices.Sort(took)
	if len(took) == 0 {
		t.Errorf("no request of anybody else's was answered in %v", lasted)
		return
	}
	t.Logf("attacked for %v; somebody else's %d requests: median %v, longest %v", lasted.Round(time.Millisecond), len(took), took[len(took)/2], took[len(took)-1])
	if m := took[len(took)/2]; m > 500*time.Millisecond {
		t.Errorf("half of the requests of somebody else's took %v and more, want 500 ms at most", m)
	}
}

// work is one request of the nurse's.
func (d *drill) work() error {
	r, err := http.NewRequest("GET", d.URL+"/work", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Cookie", d.cookie)
	resp, err := (&http.Client{Transport: d.p.client.Transport, Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "hello nurse" {
		return fmt.Errorf("%d %.100q, %w", resp.StatusCode, b, err)
	}
	return nil
}

// recovers is how it has to be after an attack: alive, the session good, and
// what the attack took given back. Of memory Go keeps some for later.
func (d *drill) recovers(t *testing.T) {
	t.Helper()
	resp, err := http.Get(d.Admin + "/healthz")
	if err != nil {
		t.Fatalf("/healthz after the attack: %v", err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Errorf("/healthz after the attack = %d, want 200", resp.StatusCode)
	}
	if err := d.work(); err != nil {
		t.Errorf("the session after the attack: %v", err)
	}
	until(t, d.process, "giving back what the attack took", 20*time.Second, func() error {
		now, err := d.sample()
		if err == nil && now.goroutines > d.before.goroutines+30 {
			err = fmt.Errorf("%v goroutines, %v before", now.goroutines, d.before.goroutines)
		}
		return err
	})
	now, err := d.sample()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("resident %.0f MiB, %.0f before all; goroutines %v, %v", now.resident/(1<<20), d.before.resident/(1<<20), now.goroutines, d.before.goroutines)
	if now.resident > d.before.resident+400<<20 {
		t.Errorf("resident memory is %.0f MiB, and was %.0f", now.resident/(1<<20), d.before.resident/(1<<20))
	}
	for _, kind := range []string{"panic", "fatal error"} {
		if strings.Contains(d.out.String(), kind) {
			t.Errorf("the program printed %q", kind)
		}
	}
}

// limited reads how often a limit was run into.
func (d *drill) limited(t *testing.T, limit string) float64 {
	t.Helper()
	n, err := d.count(`anteroom_limited_total{limit="` + limit + `"}`)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// from opens a connection from an address of loopback.
func (d *drill) from(address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return dialer.Dial("tcp", d.Listen)
}

// gone reports whether the server closes a connection within a while.
func gone(c net.Conn, within time.Duration) bool {
	c.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, c)
	var late net.Error
	return err == nil || !errors.As(err, &late) || !late.Timeout()
}
