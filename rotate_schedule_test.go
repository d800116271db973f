package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
)

// TestRotateByItself: a server whose file is old enough exchanges it.
func TestRotateByItself(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("not made yet"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := found(t, demo.Options{}, "NEXTCLOUD_WEBDAV_USERNAME="+demo.DefaultUser, "NEXTCLOUD_WEBDAV_PASSWORD_FILE="+file)
	password := w.appPassword(demo.DefaultUser, demo.DefaultPassword)
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.start(append(w.env, "ANTEROOM_INTEGRATIONS_ROTATE_EVERY=24h"))
	w.await("another password", func() bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.TrimSpace(string(b)) != password
	})
	w.await("word of it", func() bool { return strings.Contains(w.log.String(), "app password was rotated") })
	w.await("counted", func() bool { return w.metric(`anteroom_rotations_total{result="done"}`) == 1 })
	if n := w.metric(`anteroom_rotations_total{result="failed"}`); n != 0 {
		t.Errorf("%v exchanges are counted as failed, want 0", n)
	}
}

// TestRotateInVain: an exchange that Nextcloud refuses is counted as failed.
func TestRotateInVain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("nobody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	w := found(t, demo.Options{}, "NEXTCLOUD_WEBDAV_USERNAME="+demo.DefaultUser, "NEXTCLOUD_WEBDAV_PASSWORD_FILE="+file, "ANTEROOM_INTEGRATIONS_ROTATE_EVERY=24h")
	w.await("counted", func() bool { return w.metric(`anteroom_rotations_total{result="failed"}`) == 1 })
}

func TestRotateBadly(t *testing.T) {
	var out, said output
	env := []string{"NEXTCLOUD_WEBDAV_USERNAME=u", "NEXTCLOUD_WEBDAV_PASSWORD=p"}
	for name, value := range smallest() {
		env = append(env, name+"="+value)
	}
	if err := run(t.Context(), []string{"connect", "rotate"}, system{Environ: env, Out: &out, Err: &said}); err == nil || !strings.Contains(err.Error(), "no service account's password is in such a file") {
		t.Errorf("connect rotate without a file = %v, want that there is none", err)
	}
	if err := run(t.Context(), []string{"check"}, system{Environ: append(env, "ANTEROOM_INTEGRATIONS_ROTATE_EVERY=10m"), Out: &out, Err: &said}); err == nil || !strings.Contains(said.String(), "write 1h at least") {
		t.Errorf("rotate_every of 10m = %v, %q, want a fault", err, said.String())
	}
}
