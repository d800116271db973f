package audit

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// forge appends lines that go on from a file's last, as who has no key can. Each
// is step later than the one before.
func forge(t *testing.T, name string, n int, step time.Duration) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	whole := bytes.TrimSuffix(text, []byte("\n"))
	last, err := parseLine(whole[bytes.LastIndexByte(whole, '\n')+1:])
	if err != nil {
		t.Fatal(err)
	}
	at := last.link
	for i := range n {
		e := Event{Kind: Access, Subject: "forged", Time: last.Time.Add(time.Duration(i) * step)}
		text = at.add(text, e.appendTo(nil), nil)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestForgedTail: no more lines can be made up after the last signature than the
// program can leave there, and it goes on from no others.
func TestForgedTail(t *testing.T) {
	for _, tt := range []struct {
		lines int
		step  time.Duration
		want  string // "": it cannot be told
	}{
		{3, time.Second, ""},
		{mostLeft, 0, ""},
		{mostUnsigned + 1, 0, "lines in a row have no signature"},
		{21, time.Second, ""},
		{22, time.Second, "lines of 21s in a row have no signature"},
	} {
		name := fmt.Sprintf("%d lines every %s", tt.lines, tt.step)
		cfg := fileConfig(t)
		lines := chained(t, cfg)
		forge(t, cfg.Output, tt.lines, tt.step)
		r, err := Verify([]string{cfg.Output}, proof(t))
		if err != nil || (tt.want != "") != (r.FindCount == 1) || !strings.Contains(fmt.Sprint(r.Findings), tt.want) {
			t.Errorf("%s: Verify = %+v, %v, want %q", name, r, err, tt.want)
		}
		if span := time.Duration(tt.lines-1) * tt.step; r.Unsigned != tt.lines || r.UnsignedFor != span {
			t.Errorf("%s: %d lines of %s unsigned, want %d of %s", name, r.Unsigned, r.UnsignedFor, tt.lines, span)
		}
		var said bytes.Buffer
		l := opened(t, cfg, Options{Log: slog.New(slog.NewTextHandler(&said, nil))})
		l.Commit(t.Context(), Event{Kind: SignOut})
		l.Close()
		after, err := Verify([]string{cfg.Output}, proof(t))
		if err != nil || after.FindCount != r.FindCount {
			t.Errorf("%s: Verify(gone on) = %+v, %v, want %d findings", name, after, err, r.FindCount)
		}
		text, err := os.ReadFile(cfg.Output)
		if err != nil {
			t.Fatal(err)
		}
		if other := strings.Contains(string(text), `"instead":"`); other != (tt.want != "") || other != strings.Contains(said.String(), "a new chain begins") {
			t.Errorf("%s: a new chain: %v, said: %s", name, other, said.String())
		}
		if n := fmt.Sprintf(`"unsigned":%d,`, min(tt.lines, mostLeft+1)); !strings.Contains(string(text), n) {
			t.Errorf("%s: the opening does not say %s", name, n)
		}
		// What was signed of the forged lines is what the opening says, and all at once.
		if want := len(lines) + tt.lines + 4; tt.want == "" && (after.Lines != want || after.Unsigned != 0 || after.Resumed != tt.lines) {
			t.Errorf("%s: %d lines, %d unsigned, %d signed at the start, want %d, none, and %d", name, after.Lines, after.Unsigned, after.Resumed, want, tt.lines)
		}
	}
}

// TestForgedChain: a chain that no key signed is found beside one that is signed.
func TestForgedChain(t *testing.T) {
	cfg, other := fileConfig(t), fileConfig(t)
	other.Key = ""
	text := strings.Join(append(chained(t, cfg), chained(t, other)...), "")
	if err := os.WriteFile(cfg.Output, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Verify([]string{cfg.Output}, proof(t))
	if err != nil || !strings.Contains(fmt.Sprint(r.Findings), "no signature holds: chain") {
		t.Errorf("Verify = %+v, %v, want the chain without a signature found", r, err)
	}
}

// TestUnsoundTail: no chain goes on from an end that is not ours.
func TestUnsoundTail(t *testing.T) {
	for name, do := range map[string]func(cfg *Config, lines []string) []string{
		"another key": func(cfg *Config, l []string) []string {
			cfg.Key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
			return l
		},
		"a line changed after the last signature": func(_ *Config, l []string) []string {
			l = l[:len(l)-2] // the signatures at its end
			l[len(l)-2] = strings.Replace(l[len(l)-2], `"u28"`, `"u99"`, 1)
			return l
		},
		"a line taken out after the last signature": func(_ *Config, l []string) []string {
			return append(l[:len(l)-4], l[len(l)-3])
		},
	} {
		cfg := fileConfig(t)
		text := strings.Join(do(&cfg, chained(t, cfg)), "")
		if err := os.WriteFile(cfg.Output, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l := opened(t, cfg, Options{})
		l.Commit(t.Context(), Event{Kind: SignOut})
		l.Close()
		got, err := os.ReadFile(cfg.Output)
		if err != nil || !strings.HasPrefix(string(got), text) || !strings.Contains(string(got), `"instead":"`) {
			t.Errorf("%s: the chain goes on: %.300s", name, strings.TrimPrefix(string(got), text))
		}
	}
}

// TestWriterLeavesFew: whatever the times of events, the writer leaves nothing
// that Verify takes for forged.
func TestWriterLeavesFew(t *testing.T) {
	cfg := fileConfig(t)
	synctest.Test(t, func(t *testing.T) {
		l := opened(t, cfg, Options{})
		l.Commit(t.Context(), Event{Kind: SignOut})
		start := time.Now()
		for i := range 6000 { // as after an outage of hours, and with clocks that were set
			l.Write(Event{Kind: Access, Time: start.Add(time.Duration(i-i%7*1000) * 2 * time.Second)})
		}
		for range 5 {
			l.Write(Event{Kind: Access})
			time.Sleep(time.Hour)
		}
		l.Close()
	})
	for range 2 { // killed, again and again: nothing is signed at the end
		text, err := os.ReadFile(cfg.Output)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
		if err := os.WriteFile(cfg.Output, []byte(strings.Join(lines[:len(lines)-1], "")), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Remove(headName(cfg.Output))
		forge(t, cfg.Output, mostLeft-2, 0)
		l := opened(t, cfg, Options{})
		l.Commit(t.Context(), Event{Kind: SignOut})
		l.Close()
	}
	if r, err := Verify([]string{cfg.Output}, proof(t)); err != nil || r.FindCount != 0 || r.Unsigned != 0 {
		t.Errorf("Verify = %+v, %v, want no finding", r, err)
	}
}

// TestFailedCheckpoint: lines whose signature could not be written count as
// unsigned further on.
func TestFailedCheckpoint(t *testing.T) {
	l := opened(t, Config{Output: "stdout", Window: time.Millisecond, Key: testKey}, Options{Stdout: &bytes.Buffer{}})
	l.Close()
	out := &flaky{fail: true}
	l.out, l.unsigned, l.first = out, 4000, time.Now()
	for _, sign := range []func(){l.checkpoint, l.leave} {
		if sign(); l.unsigned != 4000 || l.first.IsZero() {
			t.Errorf("after a signature that failed %d lines are unsigned, want 4000", l.unsigned)
		}
	}
	out.set(false)
	if l.checkpoint(); l.unsigned != 0 || !l.first.IsZero() {
		t.Errorf("after a signature %d lines are unsigned", l.unsigned)
	}
}

// TestBackwards: lines are read from the end whatever their length.
func TestBackwards(t *testing.T) {
	var text []byte
	var want []string
	for i := range 40 {
		line := strings.Repeat(fmt.Sprint(i%10), 1+i*i*20)
		want = append([]string{line}, want...)
		text = append(append(text, line...), '\n')
	}
	var got []string
	err := backwards(bytes.NewReader(text), int64(len(text)), func(line []byte) bool {
		got = append(got, string(line))
		return true
	})
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("backwards gives %d lines, %v, want %d as they are", len(got), err, len(want))
	}
	if err := backwards(bytes.NewReader(make([]byte, 2*lineMost)), 2*lineMost, func([]byte) bool { return true }); err == nil {
		t.Error("backwards(no lines) = nil, want an error")
	}
}
