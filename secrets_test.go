package main

import (
	"anteroom/proxy/audit"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	x := f.follow(&Config{SecretFiles: map[string]string{"k": path}}, "k", func(_ context.Context, text string) error {
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
		{"too large", func() { os.Remove(path); write(strings.Repeat("x", maxSecretBytes+1)); look(2) }, "two three four five", 4},
	}
	for _, s := range steps {
		s.do()
		if got, said := strings.Join(taken, " "), strings.Count(log.String(), "is not used"); got != s.want || said != s.said {
			t.Errorf("%s: taken %q, %d complaints, want %q, %d", s.name, got, said, s.want, s.said)
		}
	}
	if len(events) != 4 || events[0].Kind != audit.SecretRefused || events[0].Operation != "k" {
		t.Errorf("written down: %+v, want what was refused, by its key", events)
	}
	if strings.Contains(log.String(), "canary") {
		t.Errorf("the log has a secret:\n%s", log)
	}
}
