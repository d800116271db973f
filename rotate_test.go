package main

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/proxy/authn"
)

// connectsTo is a pretend Nextcloud that anteroom connect is used with.
type connectsTo struct {
	*testing.T
	*grants
	url, dir string
}

func newConnectsTo(t *testing.T) *connectsTo {
	t.Helper()
	g := &grants{cloud: demo.NewNextcloud(demo.Options{}), flows: map[string][2]string{}}
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	return &connectsTo{t, g, s.URL, t.TempDir()}
}

// begin runs the command, and gives what it says in the end.
func (c *connectsTo) begin(ctx context.Context, args ...string) (out *output, done chan error) {
	out, done = &output{}, make(chan error, 1)
	sys := system{Environ: []string{"NEXTCLOUD_BASE_URL=" + c.url}, Out: out, Err: out}
	go func() { done <- run(ctx, append([]string{"connect"}, args...), sys) }()
	return out, done
}

// invited waits until the command has said where to go.
func (c *connectsTo) invited(out *output, done chan error) {
	c.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if strings.Contains(out.String(), "/login/v2/flow/") {
			return
		}
		select {
		case err := <-done:
			c.Fatalf("connect = %v\n%s", err, out)
		default:
		}
		if time.Now().After(deadline) {
			c.Fatalf("connect says nothing:\n%s", out)
		}
	}
}

// TestRotationWhileServing exchanges the service account's password again and
// again while programs use it: no request fails.
func TestRotationWhileServing(t *testing.T) {
	c := newConnectsTo(t)
	to := filepath.Join(c.dir, "secret")
	out, done := c.begin(context.Background(), "--to", to)
	c.invited(out, done)
	c.grant(t, demo.DefaultUser, demo.DefaultPassword)
	if err := <-done; err != nil {
		t.Fatalf("connect = %v\n%s", err, out)
	}
	client, hash := authn.NewSecret()
	secret := client.Reveal()
	addr := freeAddr(t)
	w := &town{T: t, site: "http://" + addr, log: &output{}, audit: &output{}}
	w.start([]string{"NEXTCLOUD_BASE_URL=" + c.url, "NEXTCLOUD_CLIENT_ID=x", "NEXTCLOUD_CLIENT_SECRET=y", "NEXTCLOUD_REDIRECT_URI=http://" + addr + "/auth/callback",
		"ANTEROOM_UPSTREAM=" + c.url, "ANTEROOM_SERVER_LISTEN=" + addr, "ANTEROOM_SERVER_ADMIN_LISTEN=127.0.0.1:0",
		`ANTEROOM_CLIENTS=[{name: indexer, secret_hash: "` + hash + `"}]`,
		"NEXTCLOUD_WEBDAV_USERNAME=testdoc", "NEXTCLOUD_WEBDAV_PASSWORD_FILE=" + to, "NEXTCLOUD_CALDAV_USERNAME=testdoc", "NEXTCLOUD_CALDAV_PASSWORD_FILE=" + to,
		"ANTEROOM_INTEGRATIONS_ROTATE_EVERY=720h"})
	var wg sync.WaitGroup
	var asked, failed atomic.Int32
	over := make(chan struct{})
	ask := func(method, path, body string) {
		resp, text := w.ask(nil, method, path, body, basic("indexer", secret), "Depth: 1")
		if asked.Add(1); resp.StatusCode/100 != 2 {
			if failed.Add(1) < 4 {
				t.Errorf("%s %s while rotating = %d %s", method, path, resp.StatusCode, text)
			}
		}
	}
	for _, r := range [][3]string{{"GET", "/integrations/files", ""}, {"PROPFIND", "/dav/files/testdoc/", ""}, {"GET", "/integrations/calendars", ""}, {"GET", "/integrations/files/entry?path=/", ""}} {
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					ask(r[0], r[1], r[2])
				}
			}
		})
	}
	before, _ := os.ReadFile(to)
	for range 4 {
		for n := asked.Load(); asked.Load() < n+12; time.Sleep(time.Millisecond) { // as nobody rotates faster than programs ask
		}
		var text output
		if err := run(context.Background(), []string{"connect", "rotate"}, system{Environ: w.env, Out: &text, Err: &text}); err != nil || !strings.Contains(text.String(), "exchanged") {
			t.Errorf("connect rotate = %v: %s", err, text.String())
		}
	}
	close(over)
	wg.Wait()
	after, _ := os.ReadFile(to)
	if failed.Load() > 0 || asked.Load() < 10 || string(before) == string(after) {
		t.Errorf("%d of %d requests failed; the password changed: %v", failed.Load(), asked.Load(), string(before) != string(after))
	}
	w.stop()
	if log := w.log.String(); strings.Contains(log, strings.TrimSpace(string(after))) || strings.Contains(log, strings.TrimSpace(string(before))) {
		t.Error("the log has a password")
	}
}
