package audit

import (
	"os"
	"testing"
	"time"
)

// TestFailedWrite: what a failed write left is taken away before the next line,
// and from the end that the file has then.
func TestFailedWrite(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		meanwhile  func(f *os.File) error
	}{
		{"nothing", "one\ntwo\n", func(*os.File) error { return nil }},
		{"made empty", "two\n", func(f *os.File) error { return f.Truncate(0) }},
		{"made shorter than the part", "ontwo\n", func(f *os.File) error { return f.Truncate(2) }},
	} {
		name := fileConfig(t).Output
		s, _, err := openFile(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		for _, err := range []error{s.write(&batch{text: []byte("one\n")}), writePart(s, "half"), tt.meanwhile(s.f), s.write(&batch{text: []byte("two\n")})} {
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != tt.want {
			t.Errorf("%s: file = %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

// writePart leaves what a write that failed would.
func writePart(s *fileSink, text string) error {
	n, err := s.f.WriteString(text)
	s.part = int64(n)
	return err
}

// TestFailedTruncate: while part of a line cannot be taken away, no line is
// written after it.
func TestFailedTruncate(t *testing.T) {
	name := fileConfig(t).Output
	if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name) // which cannot be cut
	if err != nil {
		t.Fatal(err)
	}
	s := &fileSink{name: name, f: f, part: 4}
	b := &batch{text: []byte("two\n"), lines: []line{{end: 4, kind: SignIn, time: time.Now()}}}
	if err := s.write(b); err == nil || s.part != 4 {
		t.Errorf("write = %v with %d bytes to take away, want it refused, and 4", err, s.part)
	}
	f.Close()
	if s.f, err = os.OpenFile(name, os.O_RDWR|os.O_APPEND, 0); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.write(b); err != nil {
		t.Errorf("write(file that can be cut) = %v", err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "two\n" {
		t.Errorf("file = %q, %v, want the line alone", got, err)
	}
}
