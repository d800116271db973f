package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"anteroom/demo"
	"anteroom/proxy/upstream"
)

// TestKeyRollbackIsNoticed: whoever puts an old file of signing keys or of
// sealing keys back gets neither used; it is told, and nobody notices anything
// else.
func TestKeyRollbackIsNoticed(t *testing.T) {
	dir := t.TempDir()
	jwt, seal := filepath.Join(dir, "jwt.json"), filepath.Join(dir, "seal")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	first, err := upstream.NewKeySet("ES256")
	if err != nil {
		t.Fatal(err)
	}
	const oldSeal, newSeal = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	write(jwt, string(first))
	write(seal, newSeal+"\n")
	w := found(t, demo.Options{}, "ANTEROOM_IDENTITY_JWT_KEYS_FILE="+jwt, "ANTEROOM_SESSION_KEYS_FILE="+seal)
	p, _ := w.testdoc("/hello")
	kid := func() string {
		t.Helper()
		_, body := w.ask(p, "POST", "/auth/token", "", "Sec-Fetch-Site: same-origin")
		header, _, _ := strings.Cut(strings.TrimPrefix(body, `{"access_token":"`), ".")
		return header // which names the key
	}
	before := kid()
	next, err := upstream.RotateKeySet(first)
	if err != nil {
		t.Fatal(err)
	}
	write(jwt, string(next))
	w.await("rotated", func() bool { return kid() != before })
	now := kid()

	write(jwt, string(first))
	write(seal, oldSeal+"\n")
	w.await("told", func() bool { return len(w.audited("alert")) == 2 })
	if kid() != now {
		t.Error("a retired key signs again")
	}
	if resp, _ := w.ask(p, "GET", "/auth/me", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("who is signed in gets %d", resp.StatusCode)
	}
	var about []any
	for _, line := range w.audited("alert") {
		about = append(about, line["operation"])
	}
	if len(about) != 2 || about[0] == about[1] {
		t.Errorf("alerts are about %v, want session.keys and identity.jwt.keys_file", about)
	}
	if log := w.log.String(); strings.Contains(log, oldSeal) || strings.Contains(log, newSeal) {
		t.Error("the log has a key")
	}
}
