package audit

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// chained writes some files of one chain with a signature every few lines, and
// gives their lines.
func chained(t *testing.T, cfg Config) (lines []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := opened(t, cfg, Options{})
		for i := range 30 {
			if err := l.Commit(t.Context(), Event{Kind: Access, Subject: fmt.Sprint("u", i), Path: "/dav/x"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		l.Close()
	})
	text, err := os.ReadFile(cfg.Output)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(strings.Lines(string(text)))
}

// TestTampering: whatever is done to the lines is found.
func TestTampering(t *testing.T) {
	cfg := fileConfig(t)
	lines := chained(t, cfg)
	signed := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, `"event":"checkpoint"`) })
	other := fileConfig(t)
	other.Key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	foreign := chained(t, other)
	remade := func(l []string) []string { // all hashes anew, as who has no key would
		at := newLink()
		for i, line := range l {
			p, err := parseLine([]byte(strings.TrimSuffix(line, "\n")))
			if err != nil {
				t.Fatal(err)
			}
			event, _, _ := strings.Cut(strings.Replace(string(p.before), "u7", "u8", 1), `,"chain":`)
			l[i] = string(at.add(nil, []byte(event), nil))
		}
		return l
	}
	for _, tt := range []struct {
		name, want string
		do         func(l []string) []string
	}{
		{"nothing", "", func(l []string) []string { return l }},
		{"one removed", "the line before this one is missing", func(l []string) []string { return slices.Delete(l, 5, 6) }},
		{"several removed", "4 before this one are missing", func(l []string) []string { return slices.Delete(l, 5, 9) }},
		{"the first removed", "begins in the middle", func(l []string) []string { return l[1:] }},
		{"the end cut off", "its end was cut off", func(l []string) []string { return l[:len(l)-1] }},
		{"cut off after a signature", "its end was cut off", func(l []string) []string { return l[:signed+1] }},
		{"all removed", "there is no line", func([]string) []string { return nil }},
		{"a person exchanged", "was changed", func(l []string) []string { l[5] = strings.Replace(l[5], "u4", "u9", 1); return l }},
		{"a status changed", "was changed", func(l []string) []string {
			l[5] = strings.Replace(l[5], `"path"`, `"status":200,"path"`, 1)
			return l
		}},
		{"a member after the hash", "something follows its hash", func(l []string) []string {
			l[5] = strings.Replace(l[5], "\"}\n", "\",\"sub\":\"nobody\"}\n", 1)
			return l
		}},
		{"two exchanged", "was moved, or is there twice", func(l []string) []string { l[5], l[6] = l[6], l[5]; return l }},
		{"one moved to the end", "missing", func(l []string) []string { return append(slices.Delete(slices.Clone(l), 5, 6), l[5]) }},
		{"one repeated", "was moved, or is there twice", func(l []string) []string { return slices.Insert(l, 9, l[5]) }},
		{"all repeated", "was moved, or is there twice", func(l []string) []string { return append(l, l...) }},
		{"one made up", "was moved, or is there twice", func(l []string) []string {
			return slices.Insert(l, 9, strings.Replace(l[8], "u7", "u8", 1))
		}},
		{"a line of no chain", "it has no hash", func(l []string) []string { return slices.Insert(l, 9, "{\"event\":\"access\"}\n") }},
		{"no JSON", "it is no JSON", func(l []string) []string { return slices.Insert(l, 9, "\n") }},
		{"hashes made anew", "the signature does not hold", remade},
		{"another's lines", "the signature does not hold", func([]string) []string { return foreign }},
		{"a signature taken out", "the signature does not hold", func(l []string) []string {
			before, _, _ := strings.Cut(l[signed], `,"sig"`)
			l[signed] = before + "}\n"
			return l
		}},
		{"a signature of another line", "the signature does not hold", func(l []string) []string {
			_, last, _ := strings.Cut(l[len(l)-1], `,"sig":"`)
			before, _, _ := strings.Cut(l[signed], `,"sig":"`)
			l[signed] = before + `,"sig":"` + last
			return l
		}},
	} {
		name := filepath.Join(t.TempDir(), "audit.log")
		if err := os.WriteFile(name, []byte(strings.Join(tt.do(slices.Clone(lines)), "")), 0o600); err != nil {
			t.Fatal(err)
		}
		if kept, err := os.ReadFile(headName(cfg.Output)); err != nil || os.WriteFile(headName(name), kept, 0o600) != nil {
			t.Fatal(err)
		}
		r, err := Verify([]string{name}, proof(t))
		if err != nil {
			t.Fatal(err)
		}
		all := fmt.Sprint(r.Findings)
		if (tt.want == "") != (r.FindCount == 0) || !strings.Contains(all, tt.want) {
			t.Errorf("%s: found %v, want %q", tt.name, r.Findings, tt.want)
		}
	}
	r, err := Verify([]string{cfg.Output}, Proof{Sequence: int64(len(lines)) + 1})
	if err != nil || r.FindCount != 1 {
		t.Errorf("Verify(a line less than the metric says) = %+v, %v, want it found", r, err)
	}
	if r, err := Verify([]string{cfg.Output}, proof(t)); err != nil || r.Signed < 3 {
		t.Errorf("Verify = %+v, %v, want a signature every ten seconds", r, err)
	}
}

// TestGzipped: rotated files may be compressed.
func TestGzipped(t *testing.T) {
	cfg := fileConfig(t)
	lines := chained(t, cfg)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(strings.Join(lines, "")))
	z.Close()
	name := filepath.Join(t.TempDir(), "audit.log.1.gz")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify([]string{name}, proof(t)); err != nil || r.FindCount != 0 || r.Lines != len(lines) {
		t.Errorf("Verify(gzipped) = %+v, %v, want %d lines in order", r, err, len(lines))
	}
	os.WriteFile(name, b.Bytes()[:b.Len()/2], 0o600)
	if _, err := Verify([]string{name}, proof(t)); err == nil {
		t.Error("Verify(half a gzip) = nil, want an error")
	}
}

// TestKilled: a stream that did not end is no finding, but it is said.
func TestKilled(t *testing.T) {
	cfg := fileConfig(t)
	lines := chained(t, cfg)
	if err := os.WriteFile(cfg.Output, []byte(strings.Join(lines[:len(lines)-1], "")), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Remove(headName(cfg.Output))
	l := opened(t, cfg, Options{})
	l.Commit(t.Context(), Event{Kind: SignOut})
	l.Close()
	if r, err := Verify([]string{cfg.Output}, proof(t)); err != nil || r.FindCount != 0 || r.Unended != 1 {
		t.Errorf("Verify = %+v, %v, want no finding and one stream unended", r, err)
	}
}

// FuzzLine: whatever stands in a file, reading it ends, and what is taken for a
// line is one.
func FuzzLine(f *testing.F) {
	at := newLink()
	f.Add(at.add(nil, []byte(`{"event":"access"`), nil))
	f.Add([]byte(`{"event":"x","chain":"a","seq":1,"hash":"`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parseLine(text)
		if err != nil {
			return
		}
		if p.link.seq < 1 || p.link.chain == "" || !bytes.HasPrefix(text, p.before) {
			t.Errorf("parseLine(%q) = %+v", text, p)
		}
	})
}
