//go:build real

// Package realtest runs the built program against servers nobody here wrote:
// OpenID providers, a FastAPI application, a browser, front proxies, Redis, DAV
// servers and clients, mail servers, Prometheus. Each suite starts
// what it needs on loopback and stops it again; what cannot be started fails
// the suite. The pretend Nextcloud runs inside the test process, so that its
// knobs can be turned, and is reached over loopback all the same.
package realtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// root is the checkout, binaries where TestMain builds.
const (
	root     = "../.."
	binaries = root + "/.cache/real"
)

// TestMain builds what the suites start. The program carries the race detector:
// a race it finds makes it exit with another code than 0, which fails the suite.
func TestMain(m *testing.M) {
	for _, b := range [][]string{
		{"-C", root, "build", "-race", "-o", ".cache/real/anteroom", "."},
		{"-C", root, "build", "-o", ".cache/real/anteroom-plain", "."}, // where its speed is judged
		{"-C", root + "/test/zitadel", "build", "-o", "../../.cache/real/zitadel", "."},
	} {
		if out, err := exec.Command("go", b...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go %s: %v\n%s", strings.Join(b, " "), err, out)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// absolute makes a path below the checkout absolute.
func absolute(t *testing.T, path string) string {
	t.Helper()
	p, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// process is a program under way and what it has printed.
type process struct {
	name string
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed once it has ended; err is set then
	err  error
}

// command says how to start a process. Its environment is env and the search
// path alone, so that nothing of the caller's decides a test.
type command struct {
	dir  string
	env  []string
	argv []string
}

// launch starts a program and stops it, by SIGINT, when the test ends.
func launch(t *testing.T, name string, c command) *process {
	t.Helper()
	p := &process{name: name, done: make(chan struct{})}
	p.cmd = exec.Command(c.argv[0], c.argv[1:]...)
	p.cmd.Dir = c.dir
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, c.env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.interrupt(t)
		if t.Failed() {
			t.Logf("%s printed:\n%s", name, p.out.tail(40))
		}
	})
	return p
}

// interrupt sends SIGINT and waits for the end, ten seconds at most.
func (p *process) interrupt(t *testing.T) {
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		t.Errorf("%s goes on 10 s after SIGINT, want it ended", p.name)
		p.cmd.Process.Kill()
		<-p.done
	}
}

// ended reports whether the process is no more.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// until polls a condition. It gives up when the time is over or, if p is not
// nil, when the process has ended.
func until(t *testing.T, p *process, what string, limit time.Duration, holds func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := holds()
		switch {
		case err == nil:
			return
		case p != nil && p.ended():
			t.Fatalf("%s: %s ended (%v):\n%s", what, p.name, p.err, p.out.tail(40))
		case time.Now().After(deadline):
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// printed is a condition: the process has printed a text.
func (p *process) printed(text string) func() error {
	return func() error {
		if !strings.Contains(p.out.String(), text) {
			return fmt.Errorf("%s has not printed %q", p.name, text)
		}
		return nil
	}
}

// output keeps what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// tail is the last lines, and before them those that speak of trouble.
func (o *output) tail(lines int) string {
	all := strings.Split(strings.TrimRight(o.String(), "\n"), "\n")
	from := max(0, len(all)-lines)
	race := false // the whole report of one is of interest
	early := slices.DeleteFunc(slices.Clone(all[:from]), func(line string) bool {
		race = race && !strings.HasPrefix(line, "=====") || strings.Contains(line, "DATA RACE")
		return !race && !trouble.MatchString(line)
	})
	return strings.Join(append(early[max(0, len(early)-4*lines):], all[from:]...), "\n")
}

var trouble = regexp.MustCompile(`"level":"(WARN|ERROR)"|session_ended|DATA RACE|panic`)
