//go:build real

// Package packagetest builds what is published (image, deb, rpm, tar.gz) from the
// files that publish it, and uses it as its users would. It has to run as root:
// it mounts, installs and changes users. What cannot be done fails the suite.
package packagetest

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/test/loopback"
	"anteroom/test/person"
)

const (
	root    = "../.."
	release = "1.2.3"
	commit  = "0123456789abcdef0123456789abcdef01234567"
)

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "test/package has to run as root: it mounts, installs packages and changes users")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// published is the environment that builds are made with.
func published() []string {
	return append(os.Environ(), "VERSION="+release, "COMMIT="+commit, "SOURCE_DATE_EPOCH=1700000000")
}

// must runs a command and returns what it printed.
func must(t *testing.T, env []string, dir string, argv ...string) string {
	t.Helper()
	out, err := try(env, dir, argv...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

func try(env []string, dir string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = env, dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// process is a program under way.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended
	mu   sync.Mutex
	out  bytes.Buffer // guarded by mu
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *process) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// launch starts a program; the test ends it.
func launch(t *testing.T, env []string, argv ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("%s printed:\n%s", strings.Join(argv, " "), p.printed())
		}
	})
	return p
}

// stop sends SIGTERM, as service managers and container runtimes do.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		t.Error("goes on 10 s after SIGTERM")
		p.cmd.Process.Kill()
		<-p.done
	}
}

// until polls a condition, for as long as the process lives.
func (p *process) until(t *testing.T, what string, holds func() error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := holds()
		select {
		case <-p.done:
			t.Fatalf("%s: it has ended\n%s", what, p.printed())
		default:
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v\n%s", what, err, p.printed())
		}
	}
}

// place is where an Anteroom is to be, and the Nextcloud and the application it
// is to work with.
type place struct {
	url, listen, admin string
	nextcloud, app     string
}

// newPlace starts a pretend Nextcloud and an application that says who calls.
func newPlace(t *testing.T) place {
	t.Helper()
	listen, admin := loopback.Address(t), loopback.Address(t)
	p := place{url: "http://localhost:" + port(listen), listen: listen, admin: admin}
	cloud := httptest.NewServer(demo.NewNextcloud(demo.Options{OIDC: demo.OIDC20, Clients: []demo.Client{{
		ID: demo.DefaultClientID, Secret: demo.DefaultClientSecret, Name: "Anteroom", RedirectURIs: []string{p.url + "/auth/callback"},
	}}}))
	t.Cleanup(cloud.Close)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "caller: %s", r.Header.Get("X-Forwarded-User"))
	}))
	t.Cleanup(app.Close)
	p.nextcloud, p.app = cloud.URL, app.URL
	return p
}

// signsIn has somebody sign in, and the application told who they are.
func (p place) signsIn(t *testing.T) {
	t.Helper()
	page, err := person.New(map[string]string{"user": demo.DefaultUser, "password": demo.DefaultPassword}).SignIn(p.url + "/")
	if err != nil || page.Status != http.StatusOK || page.Body != "caller: "+demo.DefaultUser {
		t.Fatalf("signing in = %+v, %v; want the application to be told of %s", page, err, demo.DefaultUser)
	}
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// write makes a file for anybody to read.
func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// signInAtDemo is the page of the demo's application for who has signed in.
func signInAtDemo(url string) (string, error) {
	page, err := person.New(map[string]string{"user": demo.DefaultUser, "password": demo.DefaultPassword}).SignIn(url + "/")
	if err != nil {
		return "", err
	}
	return page.Body, nil
}
