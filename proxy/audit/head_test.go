package audit

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// made are n lines that go on from a link, as who has no key can write them, and
// where they end.
func made(at link, n int) (text []byte, end link) {
	for range n {
		e := Event{Kind: Access, Subject: "forged", Time: time.Now()}
		text = at.add(text, e.appendTo(nil), nil)
	}
	return text, at
}

// lastLink is where the chain of a file's last line has got to.
func lastLink(t *testing.T, name string) link {
	t.Helper()
	s, p, err := openFile(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	return p.at
}

// goOn has the program write to a file once more.
func goOn(t *testing.T, cfg Config) {
	t.Helper()
	l := opened(t, cfg, Options{})
	if err := l.Commit(t.Context(), Event{Kind: SignOut, Subject: "later"}); err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestForgedHead: what stands beside a file has the program go on from no line
// that it did not write, nor sign one.
func TestForgedHead(t *testing.T) {
	for _, tt := range []struct {
		name  string
		empty bool // the file, when the program starts
	}{{"ahead of the file", false}, {"beside an empty file", true}} {
		cfg := fileConfig(t)
		before := strings.Join(chained(t, cfg), "")
		forged, at := made(lastLink(t, cfg.Output), 5)
		s := &fileSink{name: cfg.Output}
		if err := s.keepHead(at, true, time.Now(), nil); err != nil {
			t.Fatal(err)
		}
		if tt.empty {
			os.Truncate(cfg.Output, 0)
		}
		goOn(t, cfg)
		after, err := os.ReadFile(cfg.Output)
		if err != nil || !strings.Contains(string(after), `"instead":"`+at.chain) {
			t.Errorf("%s: the chain goes on: %.300s, %v", tt.name, after, err)
		}
		later := strings.TrimPrefix(string(after), before)
		if err := os.WriteFile(cfg.Output, []byte(before+string(forged)+later), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := Verify([]string{cfg.Output}, proof(t)); err != nil || r.Unsigned != 5 {
			t.Errorf("%s: Verify = %+v, %v, want what was made up unsigned", tt.name, r, err)
		}
	}
}

// TestForgedRotation: a running program goes on with its own chain, whatever the
// file holds that it opens anew.
func TestForgedRotation(t *testing.T) {
	cfg := fileConfig(t)
	l := opened(t, cfg, Options{})
	l.Commit(t.Context(), Event{Kind: SignOut})
	text, err := os.ReadFile(cfg.Output)
	if err != nil {
		t.Fatal(err)
	}
	forged, _ := made(lastLink(t, copied(t, text)), 20)
	os.Rename(cfg.Output, cfg.Output+".1")
	if err := os.WriteFile(cfg.Output, append(text, forged...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Commit(t.Context(), Event{Kind: SignOut})
	l.Close()
	r, err := Verify([]string{cfg.Output}, proof(t))
	if err != nil || !strings.Contains(fmt.Sprint(r.Findings), "was moved, or is there twice") {
		t.Errorf("Verify = %+v, %v, want what was made up found", r, err)
	}
}

func copied(t *testing.T, text []byte) (name string) {
	t.Helper()
	name = fileConfig(t).Output
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestExchangedFile: a file of another chain in the place of what was written is
// found, and so is a signature of somebody else beside it.
func TestExchangedFile(t *testing.T) {
	cfg, older := fileConfig(t), fileConfig(t)
	chained(t, cfg)
	if err := os.WriteFile(cfg.Output, []byte(strings.Join(chained(t, older), "")), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Verify([]string{cfg.Output}, proof(t))
	if err != nil || !strings.Contains(fmt.Sprint(r.Findings), "no line of it is here") {
		t.Errorf("Verify(a file exchanged) = %+v, %v, want it found", r, err)
	}
	s := &fileSink{name: older.Output}
	if err := s.keepHead(lastLink(t, older.Output), true, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	r, err = Verify([]string{older.Output}, proof(t))
	if err != nil || !strings.Contains(fmt.Sprint(r.Findings), "has no signature that holds") {
		t.Errorf("Verify(without a signature beside it) = %+v, %v, want it found", r, err)
	}
}

// TestMovedAfterKill: a file that was moved away after the program was killed may
// hold lines after the last that is known: nothing takes their numbers.
func TestMovedAfterKill(t *testing.T) {
	cfg := fileConfig(t)
	l := opened(t, cfg, Options{})
	l.Commit(t.Context(), Event{Kind: SignOut})
	kept, err := os.ReadFile(headName(cfg.Output))
	if err != nil {
		t.Fatal(err)
	}
	l.Commit(t.Context(), Event{Kind: SignOut})
	l.Close()
	text, err := os.ReadFile(cfg.Output)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	old := cfg.Output + ".1"
	os.Remove(cfg.Output)
	for name, is := range map[string]string{old: strings.Join(lines[:len(lines)-2], ""), headName(cfg.Output): string(kept)} {
		if err := os.WriteFile(name, []byte(is), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	goOn(t, cfg)
	r, err := Verify([]string{old, cfg.Output}, Proof{})
	if err != nil || r.FindCount != 0 {
		t.Errorf("Verify = %+v, %v, want no finding", r, err)
	}
}

// TestBefore: that a file goes on from lines which are not there is said.
func TestBefore(t *testing.T) {
	cfg := fileConfig(t)
	n := len(chained(t, cfg))
	os.Remove(cfg.Output)
	goOn(t, cfg)
	if r, err := Verify([]string{cfg.Output}, proof(t)); err != nil || r.FindCount != 0 || r.Before != int64(n) {
		t.Errorf("Verify = %+v, %v, want %d lines before", r, err, n)
	}
}
