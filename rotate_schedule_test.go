package main

import (
	"net/http"
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

// TestRotateNothing: who has passwords exchanged, and none is where it could be,
// is told.
func TestRotateNothing(t *testing.T) {
	w := found(t, demo.Options{}, "NEXTCLOUD_WEBDAV_USERNAME="+demo.DefaultUser, "NEXTCLOUD_WEBDAV_PASSWORD="+demo.DefaultPassword, "ANTEROOM_INTEGRATIONS_ROTATE_EVERY=24h")
	w.await("word of it", func() bool { return strings.Contains(w.log.String(), "rotate_every has nothing to exchange") })
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

// TestRotateWhatOthersHave: an app password that is kept in a second place is
// not exchanged, which would leave a dead one there.
func TestRotateWhatOthersHave(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	one := file("canary-password\n")
	for name, tc := range map[string]struct {
		env  []string
		dies string // key of what would be left with a dead one; "" for none
	}{
		"the same file":      {[]string{"NEXTCLOUD_CALDAV_USERNAME=u", "NEXTCLOUD_CALDAV_PASSWORD_FILE=" + one}, ""},
		"a copy of the file": {[]string{"NEXTCLOUD_CALDAV_USERNAME=u", "NEXTCLOUD_CALDAV_PASSWORD_FILE=" + file("canary-password")}, "integrations.caldav.password"},
		"the environment":    {[]string{"NEXTCLOUD_ADMIN_USER=u", "NEXTCLOUD_ADMIN_PASSWORD=canary-password"}, "integrations.directory.password"},
		"the Mail app":       {[]string{"ANTEROOM_INTEGRATIONS_MAIL_NEXTCLOUD_ACCOUNT=1", "NEXTCLOUD_EMAIL_USERNAME=u", "NEXTCLOUD_EMAIL_PASSWORD=canary-password"}, "integrations.mail.password"},
		"another password":   {[]string{"NEXTCLOUD_CALDAV_USERNAME=u", "NEXTCLOUD_CALDAV_PASSWORD=other"}, ""},
		"another server":     {[]string{"NEXTCLOUD_CALDAV_URL=https://dav.example.org", "NEXTCLOUD_CARDDAV_URL=https://dav.example.org", "NEXTCLOUD_CALDAV_USERNAME=u", "NEXTCLOUD_CALDAV_PASSWORD_FILE=" + file("canary-password")}, ""},
		"another account":    {[]string{"NEXTCLOUD_CALDAV_USERNAME=v", "NEXTCLOUD_CALDAV_PASSWORD=canary-password"}, ""},
	} {
		var out output
		env := append(tc.env, "NEXTCLOUD_WEBDAV_USERNAME=u", "NEXTCLOUD_WEBDAV_PASSWORD_FILE="+one)
		for key, value := range smallest() {
			env = append(env, key+"="+value)
		}
		cfg, err := configured("", system{Environ: env, Out: &out, Err: &out})
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out.String())
		}
		all, _, err := rotations(cfg, "", http.DefaultClient, nil, nil)
		switch {
		case tc.dies == "" && (err != nil || len(all) != 1):
			t.Errorf("%s: rotations = %d, %v, want one", name, len(all), err)
		case tc.dies != "" && (err == nil || !strings.Contains(err.Error(), tc.dies) || strings.Contains(err.Error(), "canary")):
			t.Errorf("%s: rotations = %v, want it to name %s", name, err, tc.dies)
		}
	}
}
