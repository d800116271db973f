package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"anteroom/proxy/pages"
	"anteroom/session"
)

// hostile is what an address or a name could do to a terminal.
const hostile = "\x1b[2Jx\ty\nz\u202e"

// newRegister is a register of four sessions of three people.
func newRegister(t *testing.T, store session.Shared) (*register, *session.Manager) {
	t.Helper()
	codec, err := session.NewCodec(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := pages.New()
	if err != nil {
		t.Fatal(err)
	}
	cfg := session.Config{IdleTimeout: time.Hour, Lifetime: 12 * time.Hour}
	m := session.New(cfg, session.Options{Store: store, Codec: codec, Cookies: session.NewCookies(cfg.Cookie, false), Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { m.Close(context.Background()) })
	for _, one := range []struct{ subject, username, agent, address string }{
		{"u1", "ada", onLinux, "192.0.2.1"}, {"u1", "ada", onPhone, "2001:db8::1"}, {"nurse", "nurse", "", ""}, {"u3", hostile, hostile, hostile},
	} {
		r := httptest.NewRequest("GET", "http://localhost/", nil)
		r.Header.Set("User-Agent", one.agent)
		if _, err := m.Begin(httptest.NewRecorder(), r, session.Grant{Identity: session.Identity{Subject: one.subject, Username: one.username}}, one.address); err != nil {
			t.Fatal(err)
		}
	}
	return &register{store: store, codec: codec, pages: p, close: func() error { return nil }}, m
}

func (r *register) must(t *testing.T, which selection) []session.Overview {
	t.Helper()
	found, err := r.find(t.Context(), which)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSessionsTable(t *testing.T) {
	r, _ := newRegister(t, &session.Memory{})
	var out bytes.Buffer
	if err := r.writeTable(&out, r.must(t, selection{})); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 5 || strings.Join(strings.Fields(lines[0]), " ") != "ID USER DEVICE ADDRESS STARTED LAST SEEN" {
		t.Fatalf("%d lines, want a head and four sessions\n%s", len(lines), out.String())
	}
	for _, want := range []string{"u1 (ada)", "Firefox on Linux", "Safari on iPhone", "2001:db8::1", "Unknown device", "\ufffd[2Jx\ufffdy\ufffdz\ufffd"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q\n%s", want, out.String())
		}
	}
	if strings.ContainsAny(out.String(), "\x1b\t\u202e") {
		t.Errorf("the table has a control character in it: %q", out.String())
	}
	at := strings.Index(lines[0], "DEVICE")
	for _, l := range lines[1:] {
		if r := []rune(l); r[at-1] != ' ' || r[at] == ' ' {
			t.Errorf("columns are not aligned\n%s", out.String())
		}
	}
}

func TestSessionsAsJSON(t *testing.T) {
	r, _ := newRegister(t, &session.Memory{})
	for user, want := range map[string]int{"": 4, "u1": 2, "ada": 2, "nurse": 1, "nobody": 0} {
		var out bytes.Buffer
		if err := r.writeJSON(&out, r.must(t, selection{user: user})); err != nil {
			t.Fatal(err)
		}
		var list []struct {
			ID, Sub, Device   string
			Started, LastSeen time.Time
			Ends              time.Time
		}
		if err := json.Unmarshal(out.Bytes(), &list); err != nil || list == nil || len(list) != want {
			t.Errorf("--user %q: %d sessions, want %d\n%s", user, len(list), want, out.String())
		}
		for _, l := range list {
			if l.ID == "" || l.Sub == "" || l.Device == "" || l.Started.IsZero() || l.Ends.IsZero() {
				t.Errorf("a session is %+v", l)
			}
		}
	}
}

func TestSessionsRevoked(t *testing.T) {
	for name, tt := range map[string]struct {
		which func(r *register) selection
		said  string
		left  int
	}{
		"a person by id":   {func(*register) selection { return selection{user: "u1"} }, "2 sessions ended.\n", 2},
		"a person by name": {func(*register) selection { return selection{user: "ada"} }, "2 sessions ended.\n", 2},
		"one session":      {func(r *register) selection { return selection{id: r.must(t, selection{user: "nurse"})[0].ID} }, "1 session ended.\n", 3},
		"all":              {func(*register) selection { return selection{} }, "4 sessions ended.\n", 0},
	} {
		r, m := newRegister(t, &session.Memory{})
		var out strings.Builder
		if err := r.revoke(t.Context(), tt.which(r), &out); err != nil || out.String() != tt.said {
			t.Errorf("%s: %q, %v, want %q", name, out.String(), err, tt.said)
		}
		if left := r.must(t, selection{}); len(left) != tt.left {
			t.Errorf("%s: %d sessions left, want %d", name, len(left), tt.left)
		}
		if mine, err := m.SessionsOf(t.Context(), "nurse"); err != nil || len(mine) > tt.left {
			t.Errorf("%s: the server lists %d, %v", name, len(mine), err)
		}
		if err := r.revoke(t.Context(), selection{user: "nobody"}, &out); err == nil || !strings.Contains(err.Error(), `no session is of the user "nobody"; nobody was signed out`) {
			t.Errorf("%s: revoking nobody's = %v, want an error that says so", name, err)
		}
	}
}

func TestSessionsOfAStoreThatIsDown(t *testing.T) {
	store := &shaky{}
	r, _ := newRegister(t, store)
	store.down.Store(true)
	if _, err := r.find(t.Context(), selection{}); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("find = %v, want ErrUnavailable", err)
	}
	if err := r.revoke(t.Context(), selection{}, &strings.Builder{}); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("revoke = %v, want ErrUnavailable", err)
	}
}

// TestSessionsCommand: what is asked for wrongly is said, and nothing is touched.
func TestSessionsCommand(t *testing.T) {
	env := []string{"NEXTCLOUD_BASE_URL=http://localhost:1", "NEXTCLOUD_CLIENT_ID=c", "NEXTCLOUD_REDIRECT_URI=http://localhost:8000/auth/callback", "ANTEROOM_UPSTREAM=http://localhost:1"}
	for line, want := range map[string]string{
		"sessions":                             "anteroom sessions list",
		"sessions burn":                        "anteroom sessions list",
		"sessions --help":                      "revoke --user U | --id S | --all --yes",
		"sessions list --help":                 "-json",
		"sessions revoke --help":               "-yes",
		"sessions list":                        "session.store is memory: sessions are known to the serving process",
		"sessions revoke --user u":             "session.store is memory",
		"sessions revoke --all --yes":          "session.store is memory",
		"sessions revoke":                      "one of --user, --id and --all",
		"sessions revoke --user u --id x":      "one of --user, --id and --all",
		"sessions revoke --all":                "--yes",
		"sessions list u":                      `do not know what to do with "u"`,
		"--config /nowhere.yaml sessions list": "/nowhere.yaml",
		"sessions --config /nowhere.yaml list": "/nowhere.yaml",
	} {
		var out bytes.Buffer
		err := run(t.Context(), strings.Fields(line), system{Environ: env, Out: &out, Err: &out})
		if err == nil || errors.Is(err, flag.ErrHelp) != strings.Contains(line, "help") {
			t.Errorf("anteroom %s = %v", line, err)
			continue
		}
		if said := out.String() + err.Error(); !strings.Contains(said, want) {
			t.Errorf("anteroom %s says %q, want %q in it", line, said, want)
		}
	}
}
