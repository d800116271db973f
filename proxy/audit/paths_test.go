package audit

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestHiddenPaths: names are hashed in lines, and found again by who has the key.
func TestHiddenPaths(t *testing.T) {
	cfg := fileConfig(t)
	cfg.HashPaths = true
	l := opened(t, cfg, Options{})
	for i, e := range []Event{
		{Path: "/dav/Reports/M%C3%BCller.pdf", Plain: 4},
		{Path: "/dav/Reports/Mu%CC%88ller.pdf", Plain: 4}, // composed in another way
		{Path: "/dav/Reports", Plain: 4, To: "/dav/Old/M%c3%bcller.pdf", PlainTo: 4},
		{Path: "/integrations/files", Plain: 19, Object: "/Reports/Müller.pdf"},
		{Path: "/Reports/M%C3%BCller.pdf/pages"},
		{Path: "/auth/me", Plain: 8},
	} {
		e.Kind, e.Count = Access, i+1
		if err := l.Commit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	text, err := os.ReadFile(cfg.Output)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ller", "Reports", "Old", "pdf", "pages"} {
		if strings.Contains(string(text), name) {
			t.Errorf("the lines have %q:\n%s", name, text)
		}
	}
	for _, kept := range []string{`"/dav/~`, `"/integrations/files"`, `"/auth/me"`} {
		if !strings.Contains(string(text), kept) {
			t.Errorf("the lines lack %q:\n%s", kept, text)
		}
	}
	key, err := ParseKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path  string
		below bool
		key   []byte
		want  []int
	}{
		{"/Reports/Müller.pdf", false, key, []int{1, 2, 4}},
		{"/dav/Reports/M%C3%BCller.pdf", false, key, []int{1, 2}},
		{"/Reports", false, key, []int{3}},
		{"/Reports/", true, key, []int{1, 2, 3, 4, 5}},
		{"/dav/Reports", true, key, []int{1, 2, 3}},
		{"/Old/Müller.pdf", false, key, []int{3}},
		{"/Müller.pdf", false, key, nil},
		{"/Reports/Müller.pdf", false, nil, nil},
		{"/Reports/Müller.pdf", false, slices.Repeat([]byte{1}, KeyBytes), nil},
		{"/auth/me", false, nil, []int{6}},
		{"/", true, key, nil},
	} {
		s := NewSeeker(tt.key, tt.path, tt.below)
		var got []int
		for line := range strings.Lines(string(text)) {
			var e Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if s.Matches(e) {
				got = append(got, e.Count)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("find %s (below: %v, key: %v) = %v, want %v", tt.path, tt.below, tt.key != nil, got, tt.want)
		}
	}
}

// TestPlainPaths: where nothing is hashed, lines are found by the same words.
func TestPlainPaths(t *testing.T) {
	s := NewSeeker(nil, "/Reports/x y.pdf", false)
	if !s.Matches(Event{Path: "/dav/Reports/x%20y.pdf"}) || !s.Matches(Event{Object: "/Reports/x y.pdf"}) || s.Matches(Event{Path: "/dav/Reports/x%20y.pdf/z"}) {
		t.Error("a plain path is not found, or too much is")
	}
}

// TestLongPaths: of a path no more is hashed than a line holds.
func TestLongPaths(t *testing.T) {
	p := newPaths(slices.Repeat([]byte{7}, KeyBytes))
	path := strings.Repeat("/a", 8000)
	hidden := p.hide(path, 0)
	if len(hidden) <= pathMost || len(hidden) > pathMost+20 {
		t.Errorf("%d bytes are hashed of a path, want little more than %d", len(hidden), pathMost)
	}
	if short := p.hide("/a/b//", 0); !strings.HasSuffix(short, "//") || strings.Count(short, "/") != 4 || hidden[:14] != short[:14] {
		t.Errorf("hide = %q, want its slashes as they were", short)
	}
}

func FuzzSeeker(f *testing.F) {
	f.Add("/dav/Reports/x", "/dav/Reports/x")
	f.Add("/%zz//~aaaaaaaaaaaa", "~aaaaaaaaaaaa")
	key := slices.Repeat([]byte{7}, KeyBytes)
	f.Fuzz(func(t *testing.T, path, want string) {
		p := newPaths(key)
		hidden := p.hide(path, 0)
		if len(segments(path)) > 0 && !NewSeeker(key, path, false).Matches(Event{Path: hidden}) && !strings.Contains(path, "~") && !strings.Contains(path, "%") {
			t.Errorf("%q is not found as %q", path, hidden)
		}
		NewSeeker(key, want, true).Matches(Event{Path: path})
	})
}
