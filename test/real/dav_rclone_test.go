//go:build real

package realtest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRclone copies and syncs a tree of 2,000 files both ways through Anteroom. What is there
// already is not sent again, and what changed is. Sabre has no times of
// Nextcloud's, so that rclone is told to go by sizes there.
func TestRclone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, vendor string
		start        func(*testing.T) *davServer
		files        int
		flags        []string
	}{
		{"sabre", "other", startSabre, 2000, nil},
		{"sabre as Nextcloud", "nextcloud", startSabre, 100, []string{"--size-only"}},
		{"apache", "other", startApache, 2000, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // rclone waits 10 ms between requests
			s := c.start(t).through(t)
			r := newRclone(t, s.way, c.vendor, c.flags...)
			here, back := filepath.Join(r.dir, "here"), filepath.Join(r.dir, "back")
			plant(t, here, c.files)
			r.copyInParts(t, c.files, here, "dav:tree")
			r.run(t, "check", here, "dav:tree")
			r.moves(t, c.files, 0, "sync", "dav:tree", back)
			sameTree(t, here, back)
			r.moves(t, 0, 0, "sync", here, "dav:tree")
			r.moves(t, 0, 0, "sync", "dav:tree", back)

			writeFile(t, filepath.Join(here, "ward 3/new & ünknown.txt"), "new")
			writeFile(t, filepath.Join(here, "ward 3/note 43 #50%.txt"), strings.Repeat("changed ", 5000))
			if err := os.RemoveAll(filepath.Join(here, "ward 4")); err != nil {
				t.Fatal(err)
			}
			r.moves(t, 2, c.files/20, "sync", here, "dav:tree")
			r.moves(t, 2, c.files/20, "sync", "dav:tree", back)
			sameTree(t, here, back)
		})
	}
}

func sameTree(t *testing.T, here, back string) {
	t.Helper()
	if diff := cmp.Diff(hashes(t, here), hashes(t, back)); diff != "" {
		t.Errorf("what went there (-) and came back (+):\n%.2000s", diff)
	}
}

// rclone is a client with one remote, called dav.
type rclone struct {
	dir   string
	env   []string
	flags []string
}

func newRclone(t *testing.T, at wayToDAV, vendor string, flags ...string) *rclone {
	t.Helper()
	r := &rclone{dir: t.TempDir(), flags: flags}
	pass := must(t, 10*time.Second, command{dir: r.dir, argv: []string{"rclone", "obscure", "-"}}, at.secret)
	r.env = []string{"RCLONE_CONFIG=" + filepath.Join(r.dir, "none.conf"), "RCLONE_CONFIG_DAV_TYPE=webdav", "RCLONE_CONFIG_DAV_URL=" + at.origin + at.homes.files,
		"RCLONE_CONFIG_DAV_VENDOR=" + vendor, "RCLONE_CONFIG_DAV_USER=" + at.user, "RCLONE_CONFIG_DAV_PASS=" + strings.TrimSpace(pass)}
	return r
}

// run runs a command of rclone's that has to succeed.
func (r *rclone) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := r.try(t, args...)
	if err != nil {
		t.Fatalf("rclone %s: %v\n%s", args[0], err, lastOf(out, 20))
	}
	return out
}

// try runs a command of rclone's, without a second try at anything.
func (r *rclone) try(t *testing.T, args ...string) (string, error) {
	argv := []string{"rclone", "--retries", "1", "--low-level-retries", "1", "--transfers", "8", "--checkers", "8", "--stats", "0", "-v"}
	return client(t, 4*time.Minute, command{dir: r.dir, env: r.env, argv: slices.Concat(argv, r.flags, args)}, "")
}

// copyInParts copies a tree with four processes at once: each waits 10 ms
// between its requests.
func (r *rclone) copyInParts(t *testing.T, copied int, from, to string) {
	t.Helper()
	r.run(t, "mkdir", to)
	since := time.Now()
	outs := make(chan string, 4)
	for _, wards := range []string{"[0-4]", "[5-9]", "1[0-4]", "1[5-9]"} {
		go func() {
			out, err := r.try(t, "copy", "--include", "/ward "+wards+"/**", from, to)
			if err != nil {
				t.Errorf("rclone copy: %v\n%s", err, lastOf(out, 20))
			}
			outs <- out
		}()
	}
	got := 0
	for range 4 {
		got += strings.Count(<-outs, "Copied (")
	}
	if got != copied {
		t.Errorf("rclone copy copied %d, want %d", got, copied)
	}
	t.Logf("rclone copy: %d copied in %v", got, time.Since(since).Round(10*time.Millisecond))
}

// moves runs a command that has to copy and delete so many files.
func (r *rclone) moves(t *testing.T, copied, deleted int, args ...string) {
	t.Helper()
	since := time.Now()
	out := r.run(t, args...)
	if c, d := strings.Count(out, "Copied ("), strings.Count(out, ": Deleted"); c != copied || d != deleted {
		t.Errorf("rclone %s copied %d and deleted %d, want %d and %d:\n%s", args[0], c, d, copied, deleted, lastOf(out, 10))
	}
	t.Logf("rclone %s: %d copied, %d deleted in %v", args[0], copied, deleted, time.Since(since).Round(10*time.Millisecond))
}

// TestRcloneLarge sends a file of 1 GiB there and back through Anteroom, whose
// memory has to stay flat.
func TestRcloneLarge(t *testing.T) {
	const size = 1 << 30
	d := startApache(t)
	d.fast = true
	s := d.through(t)
	r := newRclone(t, s.way, "other")
	want := grow(t, filepath.Join(r.dir, "here/scan.img"), size)
	before := s.peak(t)
	r.moves(t, 1, 0, "copy", filepath.Join(r.dir, "here"), "dav:large")
	r.moves(t, 1, 0, "copy", "dav:large", filepath.Join(r.dir, "back"))
	if got := hashFile(t, filepath.Join(r.dir, "back/scan.img")); got != want {
		t.Errorf("the file that came back has another hash than the one that went there")
	}
	r.moves(t, 0, 0, "sync", filepath.Join(r.dir, "here"), "dav:large")
	after := s.peak(t)
	t.Logf("Anteroom's memory peaked at %d MiB before and %d MiB after 2 GiB", before>>20, after>>20)
	if after-before > 32<<20 {
		t.Errorf("passing 2 GiB took %d MiB of memory, want 32 MiB at most", (after-before)>>20)
	}
	if out := r.run(t, "cat", "--offset", strconv.Itoa(size-10), "--count", "10", "dav:large/scan.img"); len(out) < 10 {
		t.Errorf("the last 10 bytes, asked for as a range: got %d", len(out))
	}
}

// TestRclonePiped sends what has no length in advance, which a Nextcloud behind
// php-fpm would store as nothing.
func TestRclonePiped(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(*testing.T) *davServer
		size  int
	}{{"sabre", startSabre, 5 << 20}, {"demo, in parts", startDemoDAV, 25 << 20}} {
		t.Run(c.name, func(t *testing.T) {
			s := c.start(t).through(t)
			r := newRclone(t, s.way, "nextcloud")
			content := strings.Repeat("0123456789abcde\n", c.size/16)
			out, err := client(t, time.Minute, command{dir: r.dir, env: r.env, argv: []string{"rclone", "--retries", "1", "rcat", "dav:piped.txt"}}, content)
			if err != nil {
				t.Fatalf("rclone rcat: %v\n%s", err, lastOf(out, 20))
			}
			r.run(t, "copyto", "dav:piped.txt", filepath.Join(r.dir, "back.txt"))
			if got := hashFile(t, filepath.Join(r.dir, "back.txt")); got != fmt.Sprintf("%x", sha256.Sum256([]byte(content))) {
				t.Error("what came back is not what was piped in")
			}
		})
	}
}
