package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/test/person"
)

// granting is a Nextcloud at which somebody grants what connect asks for.
type granting struct {
	*testing.T
	cloud *demo.Nextcloud
	url   string
	now   atomic.Int64                                      // added to Nextcloud's time, in nanoseconds
	lose  atomic.Bool                                       // the next password that is told gets lost
	polls atomic.Int32                                      // how often it was asked
	says  func(w http.ResponseWriter, r *http.Request) bool // answers in its place, if it returns true
	dir   string
	env   []string
}

func newGranting(t *testing.T) *granting {
	t.Helper()
	g := &granting{T: t, dir: t.TempDir()}
	g.cloud = demo.NewNextcloud(demo.Options{Now: func() time.Time { return time.Now().Add(time.Duration(g.now.Load())) }})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/login/v2/poll") {
			g.polls.Add(1)
			if g.lose.Load() {
				rec := httptest.NewRecorder()
				g.cloud.ServeHTTP(rec, r)
				if rec.Code == http.StatusOK {
					g.lose.Store(false)
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(rec.Code)
				w.Write(rec.Body.Bytes())
				return
			}
		}
		if g.says == nil || !g.says(w, r) {
			g.cloud.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	g.url = s.URL
	g.env = []string{"NEXTCLOUD_BASE_URL=" + g.url}
	return g
}

// connect runs the command; once it has said where access is granted, somebody
// does so there, if there is somebody.
func (g *granting) connect(ctx context.Context, login, password string, args ...string) (out string, err error) {
	g.Helper()
	var o, e output
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, append([]string{"connect"}, args...), system{Environ: g.env, Out: &o, Err: &e})
	}()
	if login != "" {
		address := regexp.MustCompile(`\S+/login/v2/flow/\S+`)
		for end := time.Now().Add(10 * time.Second); !address.MatchString(o.String()); time.Sleep(5 * time.Millisecond) {
			if len(done) > 0 || time.Now().After(end) {
				break
			}
		}
		if at := address.FindString(o.String()); at != "" {
			p := person.New(map[string]string{"user": login, "password": password})
			page, err := p.Open(at)
			for range 6 {
				if err != nil || strings.Contains(page.Body, "Account connected") {
					break
				}
				page, err = p.Next(page)
			}
			if err != nil {
				g.Error(err)
			}
		}
	}
	err = <-done
	return o.String() + e.String(), err
}

func (g *granting) at(name string) string { return filepath.Join(g.dir, name) }

// opens reports whether a file has an app password that Nextcloud takes.
func (g *granting) opens(name, user string) bool {
	g.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		return false
	}
	r, _ := http.NewRequest("GET", g.url+"/ocs/v2.php/cloud/user?format=json", nil)
	r.SetBasicAuth(user, strings.TrimSpace(string(b)))
	r.Header.Set("OCS-APIRequest", "true")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		g.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func TestConnect(t *testing.T) {
	g := newGranting(t)
	file := g.at("password")
	out, err := g.connect(t.Context(), demo.DefaultUser, demo.DefaultPassword, "--to", file)
	if err != nil || !g.opens(file, demo.DefaultUser) {
		t.Fatalf("connect = %v, the file opens Nextcloud = %v, want it to\n%s", err, g.opens(file, demo.DefaultUser), out)
	}
	if info, _ := os.Stat(file); info.Mode() != 0o600 {
		t.Errorf("the file's mode = %v, want 0600", info.Mode())
	}
	for _, want := range []string{"NEXTCLOUD_WEBDAV_USERNAME=testdoc", "NEXTCLOUD_WEBDAV_PASSWORD_FILE=" + file, "password_file:", "Ctrl-C stops"} {
		if !strings.Contains(out, want) {
			t.Errorf("it says %q, want %q in it", out, want)
		}
	}
	b, _ := os.ReadFile(file)
	if strings.Contains(out, strings.TrimSpace(string(b))) {
		t.Error("the app password is shown")
	}
	if all, _ := os.ReadDir(g.dir); len(all) != 1 {
		t.Errorf("%d files are left, want one", len(all))
	}
	const before = "the file had before stays good"
	if strings.Contains(out, before) {
		t.Errorf("it says %q, want nothing of one before", out)
	}
	if out, err = g.connect(t.Context(), demo.DefaultUser, demo.DefaultPassword, "--to", file); err != nil || !strings.Contains(out, before) {
		t.Errorf("connect anew = %v, want that the one before stays good\n%s", err, out)
	}
}

// TestConnectNeedsNextcloudAlone: what is to be obtained may be what the
// configuration lacks.
func TestConnectNeedsNextcloudAlone(t *testing.T) {
	g := newGranting(t)
	file := g.at("password")
	g.env = append(g.env, "NEXTCLOUD_WEBDAV_USERNAME="+demo.DefaultUser, "NEXTCLOUD_WEBDAV_PASSWORD_FILE="+file)
	if out, err := g.connect(t.Context(), demo.DefaultUser, demo.DefaultPassword, "--to", file); err != nil {
		t.Errorf("connect = %v, want nil\n%s", err, out)
	}
	g.env = []string{"NEXTCLOUD_CLIENT_ID=c"}
	if out, err := g.connect(t.Context(), "", ""); !errors.Is(err, errSaid) || !strings.Contains(out, "nextcloud.url: is required") {
		t.Errorf("connect without an address = %v, want it to say so\n%s", err, out)
	}
}

// TestConnectIntoTheFileThatIsUsed: where the configuration has the account's
// password in a file, that is the one which is made or renewed; never another
// account's, nor one for another server.
func TestConnectIntoTheFileThatIsUsed(t *testing.T) {
	g := newGranting(t)
	file, other := g.at("used"), g.at("other")
	base := append(g.env, "NEXTCLOUD_WEBDAV_USERNAME="+demo.DefaultUser, "NEXTCLOUD_WEBDAV_PASSWORD_FILE="+file)
	g.env = base
	for _, when := range []string{"it is not there yet", "its password is dead"} {
		if out, err := g.connect(t.Context(), demo.DefaultUser, demo.DefaultPassword); err != nil || !g.opens(file, demo.DefaultUser) {
			t.Errorf("connect where %s = %v, the file opens Nextcloud = %v\n%s", when, err, g.opens(file, demo.DefaultUser), out)
		}
		if err := os.WriteFile(file, []byte("dead"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(other, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(g.dir)
	for name, more := range map[string][]string{
		"several files":  {"NEXTCLOUD_CALDAV_USERNAME=" + demo.DefaultUser, "NEXTCLOUD_CALDAV_PASSWORD_FILE=" + other},
		"another user":   {"NEXTCLOUD_CALDAV_USERNAME=nurse", "NEXTCLOUD_CALDAV_PASSWORD_FILE=" + other},
		"another server": {"NEXTCLOUD_WEBDAV_URL=https://dav.example.com/"},
	} {
		g.env = append(slices.Clone(base), more...)
		out, err := g.connect(t.Context(), demo.DefaultUser, demo.DefaultPassword)
		if used, _ := os.ReadFile(file); err != nil || string(used) != "dead" || !g.opens(passwordFile, demo.DefaultUser) {
			t.Errorf("connect with %s = %v, %s has %q; want it left alone\n%s", name, err, file, used, out)
		}
		os.Remove(passwordFile)
	}
	if b, _ := os.ReadFile(other); string(b) != "other" {
		t.Errorf("another account's file has %q now", b)
	}
}

// TestConnectByAnotherName: Nextcloud takes an app password with the name that was
// signed in by, a mail address perhaps, and not with the account's id. What would
// not open anything with the configured name takes no file's place.
func TestConnectByAnotherName(t *testing.T) {
	const mail = demo.DefaultUser + "@example.com"
	g := newGranting(t)
	file := g.at("password")
	if err := os.WriteFile(file, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.env = append(g.env, "NEXTCLOUD_WEBDAV_USERNAME="+demo.DefaultUser, "NEXTCLOUD_WEBDAV_PASSWORD_FILE="+file)
	g.says = func(w http.ResponseWriter, r *http.Request) bool {
		switch user, password, _ := r.BasicAuth(); {
		case strings.HasSuffix(r.URL.Path, "/login/v2/poll"):
			rec := httptest.NewRecorder()
			g.cloud.ServeHTTP(rec, r)
			w.WriteHeader(rec.Code)
			io.WriteString(w, strings.Replace(rec.Body.String(), `"loginName":"`+demo.DefaultUser+`"`, `"loginName":"`+mail+`"`, 1))
			return true
		case user == mail:
			r.SetBasicAuth(demo.DefaultUser, password)
		case user == demo.DefaultUser:
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	}
	out, err := g.connect(t.Context(), demo.DefaultUser, demo.DefaultPassword)
	if b, _ := os.ReadFile(file); err == nil || !strings.Contains(err.Error(), "was signed in to Nextcloud as "+mail) || string(b) != "before" {
		t.Errorf("connect = %v, the file has %q; want it left alone, and why\n%s", err, b, out)
	}
	if n := g.cloud.Calls(demo.AppPassword); n != 1 {
		t.Errorf("%d calls on app passwords, want one that deletes it", n)
	}
	if out, err := g.connect(t.Context(), demo.DefaultUser, demo.DefaultPassword, "--user", mail, "--to", file); err != nil || !strings.Contains(out, "NEXTCLOUD_WEBDAV_USERNAME="+mail) {
		t.Errorf("connect --user %s = %v, want nil\n%s", mail, err, out)
	}
}

// TestConnectWhereNothingCanBeWritten says how to have the file elsewhere: the one
// that is configured may be mounted.
func TestConnectWhereNothingCanBeWritten(t *testing.T) {
	g := newGranting(t)
	g.env = append(g.env, "NEXTCLOUD_WEBDAV_USERNAME="+demo.DefaultUser, "NEXTCLOUD_WEBDAV_PASSWORD_FILE="+g.at("not/there"))
	if out, err := g.connect(t.Context(), "", ""); err == nil || !strings.Contains(err.Error(), "--to") {
		t.Errorf("connect = %v, want it to name --to\n%s", err, out)
	}
}

func TestConnectAsSomebodyElse(t *testing.T) {
	g := newGranting(t)
	file := g.at("password")
	if err := os.WriteFile(file, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.env = append(g.env, "NEXTCLOUD_WEBDAV_USERNAME=voiceassist_service", "NEXTCLOUD_CALDAV_USERNAME=voiceassist_service")
	out, err := g.connect(t.Context(), demo.DefaultUser, demo.DefaultPassword, "--to", file)
	if err == nil || !strings.Contains(err.Error(), "granted by testdoc, and has to be by voiceassist_service") {
		t.Errorf("connect = %v, want that it is somebody else's\n%s", err, out)
	}
	if b, _ := os.ReadFile(file); string(b) != "before\n" {
		t.Errorf("the file = %q, want it as it was", b)
	}
	if all, _ := os.ReadDir(g.dir); len(all) != 1 {
		t.Errorf("%d files are left, want one", len(all))
	}
	if n := g.cloud.Calls(demo.AppPassword); n != 1 {
		t.Errorf("%d calls on app passwords, want one that deletes it", n)
	}
}

func TestConnectStops(t *testing.T) {
	g := newGranting(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for g.polls.Load() == 0 && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	out, err := g.connect(ctx, "", "", "--to", g.at("password"))
	if err == nil || !strings.Contains(err.Error(), "stopped; nothing was written") {
		t.Errorf("connect = %v, want that it was stopped\n%s", err, out)
	}
	if all, _ := os.ReadDir(g.dir); len(all) != 0 {
		t.Errorf("%d files are left, want none", len(all))
	}
}

// TestConnectStopsTooLate: what was granted just before is deleted again.
func TestConnectStopsTooLate(t *testing.T) {
	g := newGranting(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var granted atomic.Bool
	g.says = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasSuffix(r.URL.Path, "/login/v2/poll") && !granted.Load():
			w.WriteHeader(http.StatusNotFound)
			return true
		case strings.HasSuffix(r.URL.Path, "/login/v2/grant") && r.Method == http.MethodPost:
			g.cloud.ServeHTTP(w, r)
			granted.Store(true)
			cancel()
			return true
		}
		return false
	}
	out, err := g.connect(ctx, demo.DefaultUser, demo.DefaultPassword, "--to", g.at("password"))
	if err == nil || !strings.Contains(err.Error(), "stopped; nothing was written") {
		t.Errorf("connect = %v, want that it was stopped\n%s", err, out)
	}
	if n := g.cloud.Calls(demo.AppPassword); !granted.Load() || n != 1 {
		t.Errorf("granted = %v, %d calls on app passwords, want one that deletes it", granted.Load(), n)
	}
}

// TestConnectRefusesFiles: nobody is asked for anything that could not be kept.
func TestConnectRefusesFiles(t *testing.T) {
	g := newGranting(t)
	if err := os.WriteFile(g.at("readable"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(g.at("elsewhere"), g.at("link")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--to", g.at("readable")}, "others may use it (mode 0644)"},
		{[]string{"--to", g.at("link")}, "symbolic link"},
		{[]string{"--to", g.at("link"), "--force"}, "symbolic link"},
		{[]string{"--to", g.dir}, "is no file"},
		{[]string{"--to", g.at("absent/file")}, "no such file or directory"},
		{[]string{"more"}, "do not know what to do"},
	} {
		if out, err := g.connect(t.Context(), "", "", tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("connect %v = %v, want %q\n%s", tt.args, err, tt.want, out)
		}
	}
	if n := g.cloud.Calls(demo.Flow); n != 0 {
		t.Errorf("Nextcloud was asked %d times, want never", n)
	}
	if out, err := g.connect(t.Context(), demo.DefaultUser, demo.DefaultPassword, "--to", g.at("readable"), "--force"); err != nil {
		t.Errorf("connect --force = %v, want nil\n%s", err, out)
	}
	if info, _ := os.Stat(g.at("readable")); info.Mode() != 0o600 {
		t.Errorf("the replaced file's mode = %v, want 0600", info.Mode())
	}
}

func TestConnectWhileNextcloudIsAway(t *testing.T) {
	g := newGranting(t)
	g.cloud.SetDown(true)
	if out, err := g.connect(t.Context(), "", "", "--to", g.at("password")); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("connect = %v, want that Nextcloud does not answer\n%s", err, out)
	}
}

func TestWaitingShowsASpinner(t *testing.T) {
	var b bytes.Buffer
	w := &waiting{out: &b, terminal: true}
	w.begin("Waiting")
	w.rest(t.Context(), spinEvery+spinEvery/2)
	w.note("Nextcloud does not answer")
	w.show()
	w.end()
	for _, want := range []string{"⠋ Waiting", "⠙ Waiting", "Nextcloud does not answer", "\r\x1b[K"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it shows %q, want %q in it", b.String(), want)
		}
	}
	b.Reset()
	plain := &waiting{out: &b}
	plain.begin("Waiting")
	plain.note("away")
	plain.note("away")
	plain.end()
	if b.String() != "Waiting ...\naway ...\n" {
		t.Errorf("without a terminal it shows %q, want a line for each thing", b.String())
	}
}
