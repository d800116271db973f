//go:build real

package realtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"anteroom/demo"
)

// The program that may use the DAV services, and what it comes in with.
const (
	davClient       = "indexer"
	davClientSecret = "a-secret-of-the-indexer-alone"
)

// davSite is Anteroom in front of a DAV server.
type davSite struct {
	*site
	nc  nextcloud // for signing in
	app *application
	way wayToDAV
}

// through starts Anteroom in front of a DAV server, as each of the services it
// has. more is YAML: "read_only: true" for every service, or "webdav.scope: /a"
// for one.
func (d *davServer) through(t *testing.T, more ...string) *davSite {
	t.Helper()
	s := &davSite{site: newSite(t), app: newApplication(t)}
	s.fast = d.fast
	s.nc = startNextcloud(t, s.site, demo.Options{})
	mounts := services{"/dav", "/calendar", "/contacts"}
	var b strings.Builder
	b.WriteString("clients:\n  - {name: " + davClient + ", secret_hash: '" + hashOf(davClientSecret) + "'}\nintegrations:\n")
	for _, i := range []struct {
		name, root, home string
		mount            *string
	}{
		{"webdav", d.roots.files, d.homes.files, &mounts.files},
		{"caldav", d.roots.calendars, d.homes.calendars, &mounts.calendars},
		{"carddav", d.roots.contacts, d.homes.contacts, &mounts.contacts},
	} {
		if i.home == "" {
			continue
		}
		fmt.Fprintf(&b, "  %s:\n    url: %s\n    username: %s\n    password: %s\n    allow: {clients: [%s], users: [%s]}\n",
			i.name, d.origin+i.root, d.user, d.secret, davClient, demo.DefaultUser)
		for _, line := range more {
			if service, rest, ok := strings.Cut(line, "."); ok && service == i.name {
				line = rest
			} else if ok && strings.HasSuffix(service, "dav") {
				continue
			}
			if path, ok := strings.CutPrefix(line, "mount: "); ok {
				*i.mount = path
			}
			b.WriteString("    " + line + "\n")
		}
	}
	s.start(t, settings{env: with(s.nc.env(), append([]string{"ANTEROOM_UPSTREAM", s.app.URL}, d.env...)...), yaml: b.String()})
	s.way = wayToDAV{"through", s.URL, mounts, mounts.join(d.homes), davClient, davClientSecret}
	return s
}

// hashOf is how a configured client's secret is written down.
func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// client runs a client to its end and returns what it printed. It is killed, with
// what it started, when the limit is over.
func client(t *testing.T, limit time.Duration, c command, stdin string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"}, c.env...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done within %v", limit)
	}
	return string(out), err
}

// must is client for what has to succeed.
func must(t *testing.T, limit time.Duration, c command, stdin string) string {
	t.Helper()
	out, err := client(t, limit, c, stdin)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(c.argv[:min(len(c.argv), 3)], " "), err, lastOf(out, 40))
	}
	return out
}

// lastOf is the last lines of a text.
func lastOf(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// bothWays runs a test straight and through Anteroom, each against a server of
// its own.
func bothWays(t *testing.T, start func(*testing.T) *davServer, run func(t *testing.T, d *davServer, at wayToDAV)) {
	t.Run("direct", func(t *testing.T) { d := start(t); run(t, d, d.direct()) })
	t.Run("through", func(t *testing.T) { d := start(t); run(t, d, d.through(t).way) })
}
