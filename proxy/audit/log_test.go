package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/session"
)

const testKey = session.Secret("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")

// fileConfig is a configuration with a file, which is not there yet.
func fileConfig(t testing.TB) Config {
	return Config{Output: filepath.Join(t.TempDir(), "audit.log"), Requests: true, Window: time.Millisecond, Key: testKey}
}

func opened(t testing.TB, cfg Config, o Options) *Log {
	t.Helper()
	l, err := Open(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// proof is what files of testKey are held against.
func proof(t testing.TB) Proof {
	t.Helper()
	key, err := ParseKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return Proof{Keys: []ed25519.PublicKey{PublicKey(key)}}
}

// events are the lines of a text that are about somebody.
func events(t testing.TB, text string) (all []Event) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		switch e.Kind {
		case Opened, Checkpoint, Closed, Lost:
		default:
			all = append(all, e)
		}
	}
	return all
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := opened(t, Config{Output: "stdout", Window: time.Millisecond}, Options{Stdout: &out, Now: func() time.Time { return now }})
	who := &session.Identity{Subject: "testdoc", SessionID: "s1", Email: "canary@example.com", Name: "Canary", Method: session.ByOIDC}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { l.Write(Event{Kind: SignIn, Client: "192.0.2.1", Path: "/a\nb"}.By(who)) })
	}
	wg.Wait()
	l.Close()
	all := events(t, out.String())
	if len(all) != 20 {
		t.Fatalf("20 events are %d lines", len(all))
	}
	for _, e := range all {
		if e.Subject != "testdoc" || e.Session != "s1" || !e.Time.Equal(now) {
			t.Errorf("line = %+v", e)
		}
	}
	if strings.Contains(strings.ToLower(out.String()), "canary") {
		t.Error("the audit log has a mail address or name")
	}
	if err := l.Write(Event{Kind: SignOut}); !errors.Is(err, ErrNotKept) {
		t.Errorf("Write(closed) = %v, want ErrNotKept", err)
	}
}

// TestFile: a file is appended to, by one process at a time, and its chain goes
// on.
func TestFile(t *testing.T) {
	cfg := fileConfig(t)
	for i := range 3 {
		l := opened(t, cfg, Options{})
		if _, err := Open(cfg, Options{}); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("Open(file in use) = %v, want it refused", err)
		}
		if err := l.Commit(t.Context(), Event{Kind: SignOut, Subject: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(cfg.Output)
		if err != nil || !strings.Contains(string(text), fmt.Sprintf(`"sub":"%d"`, i)) {
			t.Errorf("after Commit the file is %q, %v, want the line in it", text, err)
		}
		l.Close()
	}
	info, err := os.Stat(cfg.Output)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file mode = %v, %v, want 0600", info.Mode(), err)
	}
	r, err := Verify([]string{cfg.Output}, proof(t))
	if err != nil || r.FindCount != 0 || r.Lines != 9 || r.Sequence != 9 || r.Signed != 3 || r.Unended != 0 || r.Unsigned != 0 {
		t.Errorf("Verify = %+v, %v, want 9 lines in order, 3 signed", r, err)
	}
	cfg.Output = filepath.Join(cfg.Output, "x")
	if _, err := Open(cfg, Options{}); err == nil {
		t.Error("Open(impossible file) = nil, want an error")
	}
}

// TestReopen: lines before are in the old file, lines after in the new, and the
// chain goes through both.
func TestReopen(t *testing.T) {
	cfg := fileConfig(t)
	l := opened(t, cfg, Options{})
	old := cfg.Output + ".1"
	for i := range 4 {
		if err := l.Write(Event{Kind: SignOut, Subject: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			if err := l.Reopen(); err != nil { // nothing was moved: nothing changes
				t.Fatal(err)
			}
			if err := os.Rename(cfg.Output, old); err != nil {
				t.Fatal(err)
			}
			if err := l.Reopen(); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.Close()
	for name, want := range map[string]string{old: "01", cfg.Output: "23"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, e := range events(t, string(text)) {
			got += e.Subject
		}
		if got != want {
			t.Errorf("%s has %q, want %q", filepath.Base(name), got, want)
		}
	}
	for _, files := range [][]string{{old, cfg.Output}, {cfg.Output, old}, {cfg.Output}} {
		if r, err := Verify(files, proof(t)); err != nil || r.FindCount != 0 {
			t.Errorf("Verify(%v) = %+v, %v, want no findings", files, r, err)
		}
	}
	// A file that was moved away while nobody ran goes on from what stands beside it.
	os.Rename(cfg.Output, cfg.Output+".2")
	l = opened(t, cfg, Options{})
	l.Commit(t.Context(), Event{Kind: SignOut})
	l.Close()
	if r, err := Verify([]string{old, cfg.Output + ".2", cfg.Output}, proof(t)); err != nil || r.FindCount != 0 || r.Unended != 0 {
		t.Errorf("Verify(all three) = %+v, %v, want no findings", r, err)
	}
}

// TestTorn: what a crash left of a line is taken away, and said.
func TestTorn(t *testing.T) {
	cfg := fileConfig(t)
	l := opened(t, cfg, Options{})
	l.Commit(t.Context(), Event{Kind: SignOut})
	l.Close()
	f, err := os.OpenFile(cfg.Output, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"time":"2026-`)
	f.Close()
	if r, err := Verify([]string{cfg.Output}, proof(t)); err != nil || r.FindCount != 1 {
		t.Errorf("Verify(torn) = %+v, %v, want one finding", r, err)
	}
	l = opened(t, cfg, Options{})
	l.Commit(t.Context(), Event{Kind: SignOut})
	l.Close()
	text, err := os.ReadFile(cfg.Output)
	if err != nil || !strings.Contains(string(text), `"torn":14`) {
		t.Errorf("file = %s, %v, want it to say what was taken away", text, err)
	}
	if r, err := Verify([]string{cfg.Output}, proof(t)); err != nil || r.FindCount != 0 {
		t.Errorf("Verify(mended) = %+v, %v, want no findings", r, err)
	}
}

// flaky is a sink that takes no lines while it is told so.
type flaky struct {
	mu   sync.Mutex
	fail bool
	text bytes.Buffer
}

func (f *flaky) write(b *batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail {
		return errors.New("no space left")
	}
	f.text.Write(b.text)
	return nil
}

func (f *flaky) close() error { return nil }

func (f *flaky) set(fail bool) { f.mu.Lock(); f.fail = fail; f.mu.Unlock() }

// TestOutage: while output takes no lines, whoever needs one is told at once,
// and what came meanwhile is written later, in order.
func TestOutage(t *testing.T) {
	var seen []string
	l := opened(t, Config{Output: "stdout", Window: time.Millisecond, Required: true, Key: testKey}, Options{Stdout: &bytes.Buffer{}, See: func(e Event) { seen = append(seen, e.Subject) }})
	out := &flaky{fail: true}
	done := make(chan error)
	l.Commit(t.Context(), Event{Kind: SignOut, Subject: "first"})
	l.out = out // the writer waits for events: nobody looks at it
	for i := range 3 {
		if err := l.Commit(t.Context(), Event{Kind: Refused, Subject: fmt.Sprint(i)}); !errors.Is(err, ErrNotKept) {
			t.Errorf("Commit(%d) = %v, want ErrNotKept", i, err)
		}
		if err := l.Require(t.Context(), Event{Kind: Begun}); !errors.Is(err, ErrNotKept) || l.Failing() == nil {
			t.Errorf("Require = %v, Failing = %v, want ErrNotKept", err, l.Failing())
		}
	}
	out.set(false)
	go func() {
		for l.Failing() != nil {
			l.Commit(context.Background(), Event{Kind: SignOut, Subject: "again"})
			time.Sleep(time.Millisecond)
		}
		done <- l.Commit(context.Background(), Event{Kind: SignOut, Subject: "last"})
	}()
	if err := <-done; err != nil {
		t.Errorf("Commit(after the outage) = %v", err)
	}
	l.Close()
	got := ""
	for _, e := range events(t, out.text.String()) {
		if e.Kind == Refused {
			got += e.Subject
		}
	}
	if got != "012" {
		t.Errorf("written after the outage: %q, want 012", got)
	}
	if s := strings.Join(seen, ","); !strings.HasPrefix(s, "first,0,,1,,2,") || strings.Count(s, "2") != 1 {
		t.Errorf("seen: %s, want each event once, in order", s)
	}
}

// TestOverflow: what there is no room for is counted, and said.
func TestOverflow(t *testing.T) {
	l := opened(t, Config{Output: "stdout", Window: time.Millisecond}, Options{Stdout: &bytes.Buffer{}})
	l.Commit(t.Context(), Event{Kind: SignOut})
	out := &flaky{fail: true}
	l.out = out
	lost := 0
	for range mostQueued + 10 {
		if err := l.Write(Event{Kind: Access}); err != nil {
			lost++
		}
	}
	if lost != 10 {
		t.Errorf("lost = %d, want 10", lost)
	}
	out.set(false)
	l.Close()
	if n := len(events(t, out.text.String())); n != mostQueued || !strings.Contains(out.text.String(), `"event":"lost","count":10`) {
		t.Errorf("written = %d, want %d, and the loss", n, mostQueued)
	}
}

// TestOverflowOfBytes: long events fill the room earlier.
func TestOverflowOfBytes(t *testing.T) {
	l := opened(t, Config{Output: "stdout", Window: time.Millisecond}, Options{Stdout: &bytes.Buffer{}})
	l.Commit(t.Context(), Event{Kind: SignOut})
	out := &flaky{fail: true}
	l.out = out
	long := strings.Repeat("x", pathMost)
	kept := 0
	for l.Write(Event{Kind: Access, Path: long, Object: long, To: long}) == nil {
		kept++
	}
	if want := mostQueuedBytes / (3 * pathMost); kept > want || kept < want*9/10 {
		t.Errorf("kept = %d events of 12 KiB, want about %d", kept, want)
	}
	out.set(false)
	l.Close()
	if n := len(events(t, out.text.String())); n != kept || l.bytes != 0 || !strings.Contains(out.text.String(), `"event":"lost","count":1`) {
		t.Errorf("written = %d, %d bytes left, want %d, none, and the loss", n, l.bytes, kept)
	}
}

// TestSeen: whoever watches is shown every event, although output takes none and
// has no room for more.
func TestSeen(t *testing.T) {
	var seen atomic.Int64
	l := opened(t, Config{Output: "stdout", Window: time.Millisecond}, Options{Stdout: &bytes.Buffer{}, See: func(Event) { seen.Add(1) }})
	l.Commit(t.Context(), Event{Kind: SignOut})
	out := &flaky{fail: true}
	l.out = out
	for range mostQueued + 10 {
		l.Write(Event{Kind: Refused})
	}
	if n := seen.Load(); n != mostQueued+11 {
		t.Errorf("%d events were shown, want %d", n, mostQueued+11)
	}
	out.set(false)
}

// hanging is a sink that takes lines once it is let go on.
type hanging struct{ goOn chan struct{} }

func (h hanging) write(*batch) error { <-h.goOn; return nil }
func (h hanging) close() error       { return nil }

// TestHanging: of an output that hangs it is known, after a first wait, that it
// takes no lines: nobody waits for it any more.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := opened(t, Config{Output: "stdout", Window: time.Millisecond}, Options{Stdout: &bytes.Buffer{}})
		l.Commit(t.Context(), Event{Kind: SignOut})
		h := hanging{make(chan struct{})}
		l.out = h
		for _, want := range []time.Duration{patience, 0, 0} {
			start := time.Now()
			if err := l.Commit(t.Context(), Event{Kind: Refused}); !errors.Is(err, ErrNotKept) || time.Since(start) != want {
				t.Errorf("Commit = %v after %s, want ErrNotKept after %s", err, time.Since(start), want)
			}
			if err := l.Failing(); !errors.Is(err, ErrNotKept) {
				t.Errorf("Failing = %v, want ErrNotKept", err)
			}
		}
		close(h.goOn)
		synctest.Wait()
		if err := l.Failing(); err != nil {
			t.Errorf("Failing(goes on) = %v, want nil", err)
		}
		if err := l.Commit(t.Context(), Event{Kind: Refused}); err != nil {
			t.Errorf("Commit(goes on) = %v", err)
		}
		l.Close()
	})
}

// particular is a sink that refuses what has a word in it, for good.
type particular struct {
	flaky
	word string
}

func (p *particular) write(b *batch) error {
	b.refused = nil
	return b.each(func(text []byte, of line) error {
		if strings.Contains(string(text), p.word) {
			b.refused = append(b.refused, of)
			return nil
		}
		p.text.Write(append(text, '\n'))
		return nil
	})
}

// TestRefused: a line that output refuses for good holds up no other, whoever
// waits for it is told, and a later line says that it is lost.
func TestRefused(t *testing.T) {
	l := opened(t, Config{Output: "stdout", Window: time.Millisecond}, Options{Stdout: &bytes.Buffer{}})
	l.Commit(t.Context(), Event{Kind: SignOut})
	out := &particular{word: "poison"}
	l.out = out
	for _, subject := range []string{"0", "poison", "1", "poison"} {
		if err := l.Commit(t.Context(), Event{Kind: SignIn, Subject: subject}); errors.Is(err, ErrNotKept) != (subject == "poison") {
			t.Errorf("Commit(%s) = %v", subject, err)
		}
	}
	l.Close()
	if s := subjects(events(t, out.text.String())); s != "01" || strings.Count(out.text.String(), `"event":"lost","count":1`) != 2 {
		t.Errorf("written: %s, want 0 and 1, and two losses", out.text.String())
	}
}

// TestRefusedLoss: where the line that says of a loss is refused, the loss is
// said again.
func TestRefusedLoss(t *testing.T) {
	l := opened(t, Config{Output: "stdout", Window: time.Millisecond}, Options{Stdout: &bytes.Buffer{}})
	l.Commit(t.Context(), Event{Kind: SignOut})
	l.out = &particular{word: `"lost"`}
	l.mu.Lock()
	l.lost = 7
	l.mu.Unlock()
	l.Commit(t.Context(), Event{Kind: SignIn})
	out := &particular{word: "poison"}
	l.out = out
	l.Close()
	if !strings.Contains(out.text.String(), `"event":"lost","count":7`) {
		t.Errorf("written: %s, want 7 lost", out.text.String())
	}
}
