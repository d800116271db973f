package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/session"
)

func TestLines(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l, err := Open(Config{Output: "stdout"}, &out, nil, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	who := &session.Identity{Subject: "testdoc", SessionID: "s1", Email: "canary@example.com", Name: "Canary", Method: session.ByOIDC}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { l.Write(Event{Kind: SignIn, Client: "192.0.2.1", Path: "/a\nb"}.By(who)) })
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 20 {
		t.Fatalf("20 events are %d lines", len(lines))
	}
	for _, line := range lines {
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Subject != "testdoc" || e.Session != "s1" || !e.Time.Equal(now) {
			t.Errorf("line %q = %+v, %v", line, e, err)
		}
	}
	if strings.Contains(strings.ToLower(out.String()), "canary") {
		t.Error("the audit log has a mail address or name")
	}
}

func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	for range 2 { // appended to, not replaced
		l, err := Open(Config{Output: name}, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Write(Event{Kind: SignOut}); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if n := bytes.Count(b, []byte("\n")); err != nil || n != 2 {
		t.Errorf("file has %d lines, %v, want 2", n, err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file mode = %v, %v, want 0600", info.Mode(), err)
	}
	if _, err := Open(Config{Output: filepath.Join(name, "x")}, nil, nil, nil); err == nil {
		t.Error("Open(impossible file) = nil, want an error")
	}
}
