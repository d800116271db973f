//go:build real

package realtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anteroom/test/loopback"
)

// site is where an Anteroom is, or will be: its addresses are needed by the
// providers that it is registered with before it starts.
type site struct {
	URL      string // origin, as browsers see it
	Redirect string // the redirect URI
	Listen   string // 127.0.0.1:port
	Admin    string // origin of the admin listener
	fast     bool   // without the race detector, where speed or memory is judged
	*process        // nil until started
}

func newSite(t *testing.T) *site {
	t.Helper()
	port, admin := loopback.Port(t), loopback.Port(t)
	s := &site{URL: "http://localhost:" + port, Listen: "127.0.0.1:" + port, Admin: "http://127.0.0.1:" + admin}
	s.Redirect = s.URL + "/auth/callback"
	return s
}

// storeEnv is where every site keeps its sessions; nil: in memory, unless its
// settings say otherwise.
var storeEnv map[string]string

// settings of an Anteroom: environment variables, and a config.yaml if yaml is
// not empty.
type settings struct {
	env  map[string]string
	yaml string
}

// start runs the program at the site and waits until it says ready.
func (s *site) start(t *testing.T, cfg settings) {
	t.Helper()
	s.launch(t, cfg)
	until(t, s.process, "waiting for /readyz", 20*time.Second, s.ready)
}

// launch runs the program and waits for its admin listener alone. When the
// test ends it must stop at SIGINT, with exit code 0.
func (s *site) launch(t *testing.T, cfg settings) {
	t.Helper()
	env := map[string]string{
		"ANTEROOM_SERVER_LISTEN":       s.Listen,
		"ANTEROOM_SERVER_ADMIN_LISTEN": strings.TrimPrefix(s.Admin, "http://"),
		"NEXTCLOUD_REDIRECT_URI":       s.Redirect,
		// Few people sign in here, very often. What these limit has tests of its own.
		"ANTEROOM_SERVER_SIGN_IN_RATE": "off", "ANTEROOM_SERVER_SIGN_IN_ACCOUNT_RATE": "off",
	}
	maps.Copy(env, storeEnv)
	maps.Copy(env, cfg.env)
	program := binaries + "/anteroom"
	if s.fast {
		program += "-plain"
	}
	c := command{dir: t.TempDir(), argv: []string{absolute(t, program)}}
	for k, v := range env {
		c.env = append(c.env, k+"="+v)
	}
	if cfg.yaml != "" {
		file := filepath.Join(c.dir, "config.yaml")
		if err := os.WriteFile(file, []byte(cfg.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := launch(t, "anteroom", c)
	t.Cleanup(func() {
		if p.interrupt(t); p.err != nil {
			t.Errorf("anteroom after SIGINT: %v, want exit code 0", p.err)
		}
	})
	s.process = p
	until(t, s.process, "waiting for /healthz", 20*time.Second, func() error {
		resp, err := http.Get(s.Admin + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
}

// ready is a condition: /readyz says 200.
func (s *site) ready() error {
	resp, err := http.Get(s.Admin + "/readyz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return fmt.Errorf("/readyz = %d: %s", resp.StatusCode, why)
	}
	return nil
}

// lines are the program's JSON lines (log and audit) that have all the fields.
func (s *site) lines(fields map[string]string) []map[string]any {
	var found []map[string]any
	scan := bufio.NewScanner(strings.NewReader(s.out.String()))
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var line map[string]any
		if json.Unmarshal(scan.Bytes(), &line) != nil {
			continue
		}
		all := true
		for k, v := range fields {
			all = all && fmt.Sprint(line[k]) == v
		}
		if all {
			found = append(found, line)
		}
	}
	return found
}

// wrote is a condition: so many lines have these fields.
func (s *site) wrote(n int, fields map[string]string) func() error {
	return func() error {
		if got := len(s.lines(fields)); got != n {
			return fmt.Errorf("%d lines with %v, want %d", got, fields, n)
		}
		return nil
	}
}

// noSecrets stops the program and fails the test if it has printed any of the
// secrets.
func (s *site) noSecrets(t *testing.T, secrets ...string) {
	t.Helper()
	s.interrupt(t)
	for i, secret := range secrets {
		if secret != "" && strings.Contains(s.out.String(), secret) {
			t.Errorf("anteroom printed secret number %d of this test, want it in no line", i)
		}
	}
}
