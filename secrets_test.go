package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"anteroom/demo"
	"anteroom/proxy/audit"
	"anteroom/proxy/authn"
	"anteroom/session"
	"anteroom/test/loopback"

	"github.com/prometheus/client_golang/prometheus"
)

// TestFollowedSecrets: a changed file is taken up once it rests, whichever way
// it is exchanged; a bad one is said once, and the old secret stays.
func TestFollowedSecrets(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("canary-one\n")
	log := new(output)
	var events []audit.Event
	f := newFollower(slog.New(slog.NewTextHandler(log, nil)), func(e audit.Event) error { events = append(events, e); return nil }, prometheus.NewRegistry())
	var taken []string
	bad := errors.New("too weak")
	x := f.follow(&Config{SecretFiles: map[string]secretFile{"k": {path, "canary-one"}}}, "k", func(_ context.Context, text string) error {
		if text == "canary-bad" {
			return bad
		}
		taken = append(taken, strings.TrimPrefix(text, "canary-"))
		return nil
	})
	if f.follow(&Config{}, "other", nil) != nil {
		t.Error("a secret that is in no file is followed")
	}
	look := func(n int) {
		for range n {
			f.look(t.Context(), x, false)
		}
	}
	steps := []struct {
		name string
		do   func()
		want string
		said int // complaints in all
	}{
		{"nothing", func() { look(3) }, "", 0},
		{"a new one", func() { write("canary-two"); look(1) }, "", 0},
		{"once it rests", func() { look(1) }, "two", 0},
		{"no time to wait", func() { write("canary-three"); f.look(t.Context(), x, true) }, "two three", 0},
		{"a bad one", func() { write("canary-bad"); look(5) }, "two three", 1},
		{"gone", func() { os.Remove(path); look(3) }, "two three", 2},
		{"empty", func() { write(" \n"); look(3) }, "two three", 2},
		{"the old one again", func() { write("canary-three"); look(3) }, "two three", 2},
		{"the bad one again", func() { write("canary-bad"); look(3) }, "two three", 3},
		{"better meanwhile", func() { bad = nil; write("canary-four"); look(3) }, "two three four", 3},
		{"by a link, as Kubernetes does", func() {
			if err := os.Mkdir(filepath.Join(dir, "v2"), 0o700); err != nil {
				t.Fatal(err)
			}
			os.WriteFile(filepath.Join(dir, "v2", "secret"), []byte("canary-five"), 0o600)
			os.Remove(path)
			if err := os.Symlink(filepath.Join("v2", "secret"), path); err != nil {
				t.Fatal(err)
			}
			look(2)
		}, "two three four five", 3},
		{"a pipe", func() { os.Remove(path); syscall.Mkfifo(path, 0o600); look(3) }, "two three four five", 4},
		{"the old one again", func() { write("canary-five"); look(1) }, "two three four five", 4},
		{"half written", func() { write(""); look(1); write("canary-five"); look(1) }, "two three four five", 4},
		{"too large", func() { os.Remove(path); write(strings.Repeat("x", maxSecretBytes+1)); look(2) }, "two three four five", 5},
	}
	for _, s := range steps {
		s.do()
		if got, said := strings.Join(taken, " "), strings.Count(log.String(), "is not used"); got != s.want || said != s.said {
			t.Errorf("%s: taken %q, %d complaints, want %q, %d", s.name, got, said, s.want, s.said)
		}
	}
	if len(events) != 5 || events[0].Kind != audit.SecretRefused || events[0].Operation != "k" {
		t.Errorf("written down: %+v, want what was refused, by its key", events)
	}
	if strings.Contains(log.String(), "canary") {
		t.Errorf("the log has a secret:\n%s", log)
	}
}

// TestFollowedFromTheStart: what changed after it was loaded, and before it was
// followed, is taken up. Where nobody gives a word on it, that is said once, is no
// refusal, and it is tried again.
func TestFollowedFromTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("canary-two"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(output)
	f := newFollower(slog.New(slog.NewTextHandler(log, nil)), func(e audit.Event) error { t.Errorf("written down: %+v", e); return nil }, prometheus.NewRegistry())
	tried, taken := 0, ""
	x := f.follow(&Config{SecretFiles: map[string]secretFile{"k": {path, "canary-one"}}}, "k", func(_ context.Context, text string) error {
		if tried++; tried < 3 {
			return fmt.Errorf("%w: away", session.ErrUntried)
		}
		taken = text
		return nil
	})
	for range 4 * (untriedLooks + 1) {
		f.look(t.Context(), x, false)
	}
	if taken != "canary-two" || tried != 3 || strings.Count(log.String(), "waits to be tried") != 1 || strings.Contains(log.String(), "canary") {
		t.Errorf("taken: %v, after %d tries\n%s", taken == "canary-two", tried, log)
	}
}

// TestFollowedAuthorities: each file of authorities is followed: what it has
// counts for the next connection, and a broken one is reported and changes nothing.
func TestFollowedAuthorities(t *testing.T) {
	old, next := loopback.Certificate(t), loopback.Certificate(t)
	cloud := next.Issue(t).HTTPS(t, http.NotFoundHandler())
	file, _ := old.Files(t)
	said, lines := new(output), new(output)
	sys := system{Environ: []string{"NEXTCLOUD_BASE_URL=" + cloud, "NEXTCLOUD_CLIENT_ID=x", "NEXTCLOUD_CLIENT_SECRET=y", "ANTEROOM_UPSTREAM=http://localhost:1",
		"ANTEROOM_SERVER_PUBLIC_URL=http://localhost:8000", "ANTEROOM_NEXTCLOUD_CA_FILE=" + file,
		"ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_KEYS=" + base64.StdEncoding.EncodeToString(make([]byte, 32)), "ANTEROOM_SESSION_REDIS_URL=rediss://localhost:1", "ANTEROOM_SESSION_REDIS_CA_FILE=" + file,
		"NEXTCLOUD_IMAP_URL=imaps://localhost:1", "NEXTCLOUD_EMAIL_USERNAME=a@example.com", "NEXTCLOUD_EMAIL_PASSWORD=p", "ANTEROOM_INTEGRATIONS_MAIL_CA_FILE=" + file,
		"ANTEROOM_AUDIT_CA_FILE=" + file, "ANTEROOM_WATCH_WEBHOOK_CA_FILE=" + file, "ANTEROOM_WATCH_WEBHOOK_URL=https://localhost:1",
		"ANTEROOM_TELEMETRY_OTLP_ENDPOINT=https://localhost:1", "ANTEROOM_TELEMETRY_OTLP_CA_FILE=" + file}, Out: lines, Err: said}
	cfg, faults := loadConfig("", false, sys.lookup, sys.Environ)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	h, err := build(cfg, slog.New(slog.NewTextHandler(said, nil)), sys)
	if err != nil {
		t.Fatal(err)
	}
	defer h.audit.Close()
	defer h.closeStore()
	defer h.sessions.Close(t.Context())
	followed := map[string]bool{}
	loopback.FollowAuthorities(t, old, next, func(pem string) error {
		if err := errors.Join(os.WriteFile(file+".new", []byte(pem), 0o600), os.Rename(file+".new", file)); err != nil {
			t.Fatal(err)
		}
		before := strings.Count(said.String(), "authorities is not used")
		for _, x := range h.secrets.all {
			followed[x.key] = true
			h.secrets.look(t.Context(), x, false)
			h.secrets.look(t.Context(), x, false)
		}
		if n := strings.Count(said.String(), "authorities is not used") - before; n > 0 {
			return fmt.Errorf("%d files are complained of", n)
		}
		return nil
	}, func() error {
		resp, err := h.nextcloud.Get(cloud)
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	h.audit.Close()
	for _, key := range []string{"nextcloud.ca_file", "session.redis.ca_file", "integrations.mail.ca_file", "audit.ca_file", "watch.webhook.ca_file", "telemetry.otlp_ca_file"} {
		if !followed[key] || strings.Count(lines.String(), `"operation":"`+key+`"`) != 2 {
			t.Errorf("%s: followed: %v; audit lines:\n%s\nwant it followed, and two lines", key, followed[key], lines)
		}
	}
}

// TestServicePasswordIsTried: a changed password of a service account is used
// once Nextcloud takes it; one that it refuses is reported, and fails no request.
func TestServicePasswordIsTried(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	write("not-yet")
	client, hash := authn.NewSecret()
	w := found(t, demo.Options{}, `ANTEROOM_CLIENTS=[{name: indexer, secret_hash: "`+hash+`"}]`,
		"NEXTCLOUD_WEBDAV_USERNAME="+demo.DefaultUser, "NEXTCLOUD_WEBDAV_PASSWORD_FILE="+path,
		"NEXTCLOUD_CALDAV_USERNAME="+demo.DefaultUser, "NEXTCLOUD_CALDAV_PASSWORD_FILE="+path)
	ask := func(when string) {
		t.Helper()
		for _, door := range []string{"/dav/files/" + demo.DefaultUser + "/", "/calendar/" + demo.DefaultUser + "/"} {
			if resp, _ := w.ask(nil, "PROPFIND", door, "", basic("indexer", client.Reveal()), "Depth: 0"); resp.StatusCode != 207 {
				t.Errorf("%s %s: %d", door, when, resp.StatusCode)
			}
		}
	}
	reloads := func(result string) float64 {
		return w.metric(`anteroom_secret_reloads_total{key="integrations.webdav.password",result="` + result + `"}`)
	}
	write(w.appPassword(demo.DefaultUser, demo.DefaultPassword))
	ask("by what the file has instead of a refused one")
	w.await("used", func() bool { return reloads("used") == 1 })
	write("canary-bad")
	w.await("refused", func() bool { return reloads("refused") == 1 })
	ask("after a bad one")
	w.await("written down", func() bool { return w.lines("secret_refused") == 1 })
	another := w.appPassword(demo.DefaultUser, demo.DefaultPassword)
	w.cloud.SetDown(true)
	write(another)
	w.await("waiting", func() bool { return strings.Contains(w.log.String(), "waits to be tried") })
	w.cloud.SetDown(false)
	ask("before the new one is tried")
	if n := reloads("refused"); n != 1 {
		t.Errorf("%v are counted as refused, want one: an outage is no word", n)
	}
	w.stop()
	if strings.Contains(w.log.String(), "canary") {
		t.Error("the log has a password")
	}
}
