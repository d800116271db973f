package main

import (
	"context"
	"errors"
	"io/fs"
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

func TestConnect(t *testing.T) {
	c := newConnectsTo(t)
	to := filepath.Join(c.dir, "secret")
	out, done := c.begin(context.Background(), "--to", to, "--user", "testdoc")
	c.invited(out, done)
	c.grant(t, demo.DefaultUser, demo.DefaultPassword)
	if err := <-done; err != nil {
		t.Fatalf("connect = %v\n%s", err, out)
	}
	b, err := os.ReadFile(to)
	if err != nil || strings.TrimSpace(string(b)) != c.secrets[len(c.secrets)-1] {
		t.Errorf("the file has %q, %v, want what was granted", b, err)
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v, want mode 0600", info, err)
	}
	said := out.String()
	for _, want := range []string{"NEXTCLOUD_WEBDAV_USERNAME=testdoc", "NEXTCLOUD_WEBDAV_PASSWORD_FILE=" + to, "password_file:"} {
		if !strings.Contains(said, want) {
			t.Errorf("connect does not say %q:\n%s", want, said)
		}
	}
	if strings.Contains(said, strings.TrimSpace(string(b))) || strings.Contains(said, c.token) {
		t.Errorf("connect says a secret:\n%s", said)
	}
	if names, _ := filepath.Glob(filepath.Join(c.dir, "*")); len(names) != 1 {
		t.Errorf("left are %v", names)
	}
	// A second time it is replaced; it is ours, and nobody else may read it.
	out, done = c.begin(context.Background(), "--to", to)
	c.invited(out, done)
	c.grant(t, demo.DefaultUser, demo.DefaultPassword)
	if err := <-done; err != nil {
		t.Fatalf("connect again = %v\n%s", err, out)
	}
}

// TestConnectRefusals: what is granted by somebody else is given back, and no
// file is touched that is not for this.
func TestConnectRefusals(t *testing.T) {
	c := newConnectsTo(t)
	empty := func(to string) {
		t.Helper()
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", to, err)
		}
		if hidden, _ := filepath.Glob(filepath.Join(filepath.Dir(to), ".*")); len(hidden) > 0 {
			t.Errorf("left are %v", hidden)
		}
	}
	to := filepath.Join(c.dir, "a")
	out, done := c.begin(context.Background(), "--to", to, "--user", "nurse")
	c.invited(out, done)
	c.grant(t, demo.DefaultUser, demo.DefaultPassword)
	if err := <-done; err == nil || !strings.Contains(err.Error(), "has to be by nurse") {
		t.Errorf("connect granted by another = %v", err)
	}
	empty(to)
	if c.accepts(demo.DefaultUser) {
		t.Error("what another granted is still good")
	}

	ctx, cancel := context.WithCancel(context.Background())
	out, done = c.begin(ctx, "--to", to)
	c.invited(out, done)
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "nothing was written") {
		t.Errorf("connect that was stopped = %v", err)
	}
	empty(to)

	open, link := filepath.Join(c.dir, "open"), filepath.Join(c.dir, "link")
	if err := errors.Join(os.WriteFile(open, []byte("x"), 0o644), os.Symlink(open, link)); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"a file that others may read": {"--to", open}, "a link": {"--to", link}, "a link, by force": {"--to", link, "--force"},
		"a folder": {"--to", c.dir}, "no such folder": {"--to", filepath.Join(c.dir, "no", "where")}, "what is left over": {"x"},
	} {
		_, done := c.begin(context.Background(), args...)
		if err := <-done; err == nil {
			t.Errorf("connect to %s = nil, want a refusal", name)
		}
	}
	if b, _ := os.ReadFile(open); string(b) != "x" {
		t.Errorf("a file that others may read became %q", b)
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
