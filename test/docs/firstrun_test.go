package docs

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const occState = "FIRST_RUN_TEST_OCC"

// TestMain is occ where the script runs this program as occ.
func TestMain(m *testing.M) {
	if state := os.Getenv(occState); state != "" {
		os.Exit(occMain(state, os.Args[1:]))
	}
	dir, err := os.MkdirTemp("", "anteroom-docs-")
	if err != nil {
		panic(err)
	}
	programDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// firstRun is a Nextcloud to be set up, and the folder for what comes of it.
type firstRun struct {
	t               *testing.T
	state, handover string
	answer          atomic.Int32      // what Nextcloud answers to every request; 0: as it does
	env             map[string]string // beside what is set for every run
	url             string
}

func newFirstRun(t *testing.T, o *occ) *firstRun {
	dir := t.TempDir()
	f := &firstRun{t: t, state: filepath.Join(dir, "occ.json"), handover: filepath.Join(dir, "handover"), env: map[string]string{}}
	if err := os.Mkdir(f.handover, 0o755); err != nil {
		t.Fatal(err)
	}
	o.save(t, f.state)
	s := httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

// serve answers as Nextcloud does to an app password that is shown as Bearer.
func (f *firstRun) serve(w http.ResponseWriter, r *http.Request) {
	given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case f.answer.Load() != 0:
		w.WriteHeader(int(f.answer.Load()))
	case r.URL.Path != "/ocs/v2.php/cloud/user" || !bearer:
		w.WriteHeader(http.StatusNotFound)
	case given != "" && given == loadOcc(f.t, f.state).Users["voiceassist_service"].AppPassword:
	default:
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// run runs the script, and says what it printed and whether it was content. No
// secret may be in that.
func (f *firstRun) run() (string, error) {
	f.t.Helper()
	c := exec.Command("sh", "../../deploy/first-run/first-run.sh")
	// occ is this program: with the race detector it would sleep for a second at each end.
	c.Env = append(os.Environ(), occState+"="+f.state, "GORACE=atexit_sleep_ms=0", "OCC="+os.Args[0], "HANDOVER="+f.handover, "NEXTCLOUD_AT="+f.url, fmt.Sprintf("OWNER=%d:%d", os.Getuid(), os.Getgid()))
	for k, v := range f.env {
		c.Env = append(c.Env, k+"="+v)
	}
	out, err := c.CombinedOutput()
	o := loadOcc(f.t, f.state)
	for _, s := range o.secrets() {
		if strings.Contains(string(out), s) {
			f.t.Errorf("first-run printed a secret (%s):\n%s", s, out)
		}
		for _, call := range o.Calls {
			if strings.Contains(strings.Join(call.Args, " "), s) {
				f.t.Errorf("a secret is on the command line of %q", call.Args)
			}
		}
	}
	for _, s := range []string{"FIRST_RUN_CLIENT_SECRET"} {
		if v := f.env[s]; v != "" && strings.Contains(string(out), v) {
			f.t.Errorf("first-run printed %s:\n%s", s, out)
		}
	}
	return string(out), err
}

func (f *firstRun) mustRun() string {
	f.t.Helper()
	out, err := f.run()
	if err != nil {
		f.t.Fatalf("first-run: %v:\n%s", err, out)
	}
	return out
}

// whole checks that everything is there, once.
func (f *firstRun) whole() {
	f.t.Helper()
	o := loadOcc(f.t, f.state)
	got := files(f.t, f.handover)
	if n := len(o.Clients); n != 1 {
		f.t.Fatalf("clients = %d, want 1", n)
	}
	c := o.Clients[0]
	want := map[string]string{
		"app_password":  o.Users["voiceassist_service"].AppPassword,
		"client_secret": c.Secret,
		"anteroom.yaml": fmt.Sprintf("signin:\n  client_id: %q\n  client_secret_file: %s/client_secret\n", c.ID, f.handover),
		"session_keys":  got["session_keys"],
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("files (-want +got):\n%s", diff)
	}
	if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(got["session_keys"])); err != nil || len(key) != 32 {
		f.t.Errorf("session_keys = %d bytes, %v, want 32", len(key), err)
	}
	wantClient := occClient{c.Name, []string{"http://localhost:8000/auth/callback"}, "RS256", "confidential", c.ID, c.Secret, "code", 1}
	if diff := cmp.Diff(wantClient, c); diff != "" {
		f.t.Errorf("client (-want +got):\n%s", diff)
	}
	doc := *o.Users["testdoc"]
	if diff := cmp.Diff(occUser{Display: "Test Doctor", Email: "testdoc@example.com", Password: "testdoc123"}, doc); diff != "" {
		f.t.Errorf("testdoc (-want +got):\n%s", diff)
	}
	groups := map[string][]string{"admin": {"admin"}, "users": {"testdoc"}, "voiceassist_services": {"voiceassist_service"}}
	if diff := cmp.Diff(groups, o.Groups); diff != "" {
		f.t.Errorf("groups (-want +got):\n%s", diff)
	}
	for name := range want {
		info, err := os.Stat(filepath.Join(f.handover, name))
		if err != nil || info.Mode().Perm() != 0o400 {
			f.t.Errorf("%s has mode %v, %v, want 0400", name, info.Mode(), err)
		}
	}
}

func TestFirstRun(t *testing.T) {
	f := newFirstRun(t, freshOcc())
	if out := f.mustRun(); !strings.Contains(out, "first-run: everything is there\n") {
		t.Errorf("first-run printed %q", out)
	}
	f.whole()
	o := loadOcc(t, f.state)
	if diff := cmp.Diff([]string{"http://localhost:8000/auth/logout"}, o.LogoutURIs); diff != "" {
		t.Errorf("logout URIs (-want +got):\n%s", diff)
	}

	calls, before := len(o.Calls), files(t, f.handover)
	if out := f.mustRun(); out != "first-run: everything is there\n" {
		t.Errorf("second run printed %q, want that everything is there", out)
	}
	o = loadOcc(t, f.state)
	if changed := o.mutations(calls); len(changed) > 0 {
		t.Errorf("the second run changed things: %q", changed)
	}
	if diff := cmp.Diff(before, files(t, f.handover)); diff != "" {
		t.Errorf("files after a second run (-want +got):\n%s", diff)
	}
	f.whole()
}

// TestFirstRunKeepsWhatPeopleChanged: a second run leaves people's own changes.
func TestFirstRunKeepsWhatPeopleChanged(t *testing.T) {
	f := newFirstRun(t, freshOcc())
	f.mustRun()
	o := loadOcc(t, f.state)
	o.Users["testdoc"].Email, o.Users["testdoc"].Password, o.Config["enforceHaveIBeenPwned"] = "doc@example.com", "another", "1"
	o.save(t, f.state)
	f.mustRun()
	o = loadOcc(t, f.state)
	if d := o.Users["testdoc"]; d.Email != "doc@example.com" || d.Password != "another" || o.Config["enforceHaveIBeenPwned"] != "1" {
		t.Errorf("testdoc = %+v, %v, want what people changed", d, o.Config)
	}
}

// TestFirstRunCutShort: whichever call the run ends at, with its work done or
// not, the next finishes everything, once.
func TestFirstRunCutShort(t *testing.T) {
	whole := newFirstRun(t, freshOcc())
	whole.mustRun()
	calls := len(loadOcc(t, whole.state).Calls)
	for at := 1; at <= calls; at++ {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			o := freshOcc()
			o.FailAt = at
			f := newFirstRun(t, o)
			f.run()
			f.mustRun()
			f.whole()
		})
	}
}

// TestFirstRunAfterALoss: either side may have been thrown away.
func TestFirstRunAfterALoss(t *testing.T) {
	t.Run("of Nextcloud", func(t *testing.T) {
		f := newFirstRun(t, freshOcc())
		f.mustRun()
		keys := files(t, f.handover)["session_keys"]
		o := freshOcc()
		o.Calls = make([]occCall, 40) // so that secrets differ
		for i := range o.Calls {
			o.Calls[i].Args = []string{"", "", "status"}
		}
		o.Users["voiceassist_service"] = &occUser{}
		o.save(t, f.state)
		f.mustRun()
		o = loadOcc(t, f.state)
		if o.Users["voiceassist_service"].AppPassword == "" || files(t, f.handover)["session_keys"] != keys {
			t.Errorf("no new app password, or other session keys")
		}
		f.whole()
	})
	t.Run("of the files", func(t *testing.T) {
		f := newFirstRun(t, freshOcc())
		f.mustRun()
		if err := os.RemoveAll(f.handover); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(f.handover, 0o755); err != nil {
			t.Fatal(err)
		}
		f.mustRun()
		f.whole()
	})
}

func TestFirstRunRefusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*occ)
		env    map[string]string
		want   []string
	}{
		{"not installed", func(o *occ) { o.Installed = false }, nil, []string{"Nextcloud is not installed yet"}},
		{"no app store", func(o *occ) { o.Oidc = "" }, nil, []string{"The app oidc cannot be installed", "Security, OAuth 2.0", "http://localhost:8000/auth/callback", "FIRST_RUN_CLIENT_ID", "that can be done is done"}},
		{"an app without commands", func(o *occ) { o.Oidc = "0.6.2" }, nil, []string{"makes no clients by occ", "OpenID Connect clients"}},
		{"half a client by hand", nil, map[string]string{"FIRST_RUN_CLIENT_ID": "abc"}, []string{"FIRST_RUN_CLIENT_SECRET is not"}},
		{"not a site", nil, map[string]string{"SITE": "localhost:8000"}, []string{"SITE is localhost:8000"}},
		{"no folder", nil, map[string]string{"HANDOVER": "/nonexistent"}, []string{"/nonexistent is not there"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := freshOcc()
			if tt.change != nil {
				tt.change(o)
			}
			f := newFirstRun(t, o)
			for k, v := range tt.env {
				f.env[k] = v
			}
			out, err := f.run()
			if err == nil {
				t.Errorf("first-run was content")
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("first-run printed\n%s\nwant %q in it", out, want)
				}
			}
		})
	}
}

// TestFirstRunWithAClientByHand: the way out where no client can be made.
func TestFirstRunWithAClientByHand(t *testing.T) {
	o := freshOcc()
	o.Oidc = ""
	f := newFirstRun(t, o)
	f.env["FIRST_RUN_CLIENT_ID"], f.env["FIRST_RUN_CLIENT_SECRET"] = "by-hand", "canary-secret-by-hand"
	f.mustRun()
	got := files(t, f.handover)
	if got["client_secret"] != "canary-secret-by-hand" || !strings.Contains(got["anteroom.yaml"], `client_id: "by-hand"`) || len(got["app_password"]) != 72 {
		t.Errorf("files = %v", got)
	}
}

// TestFirstRunOnOlderVersions: the names that commands had before.
func TestFirstRunOnOlderVersions(t *testing.T) {
	o := freshOcc()
	o.Oidc, o.Tokens = "1.14.0", "user:add-app-password"
	f := newFirstRun(t, o)
	if out := f.mustRun(); !strings.Contains(out, "add http://localhost:8000/auth/logout as a logout URI") {
		t.Errorf("first-run printed\n%s\nwant what to do about signing out", out)
	}
	f.whole()
}

// TestFirstRunWhileNextcloudIsAway: an app password is not made anew because
// Nextcloud cannot be asked for the old one.
func TestFirstRunWhileNextcloudIsAway(t *testing.T) {
	f := newFirstRun(t, freshOcc())
	f.mustRun()
	before := files(t, f.handover)
	f.answer.Store(http.StatusServiceUnavailable)
	if out, err := f.run(); err == nil || !strings.Contains(out, "answers 503") {
		t.Errorf("first-run = %v:\n%s", err, out)
	}
	f.answer.Store(0)
	f.url = "http://127.0.0.1:1"
	if out, err := f.run(); err == nil || !strings.Contains(out, "does not answer") {
		t.Errorf("first-run = %v:\n%s", err, out)
	}
	if diff := cmp.Diff(before, files(t, f.handover)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
