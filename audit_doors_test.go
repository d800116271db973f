package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"anteroom/demo"
	"anteroom/proxy/audit"
	"anteroom/test/person"
)

const auditKeyEnv = "ANTEROOM_AUDIT_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// TestEveryAccessIsWrittenDown: requests to the application have a line each,
// and the file proves whole.
func TestEveryAccessIsWrittenDown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	w := found(t, demo.Options{}, "ANTEROOM_AUDIT_OUTPUT="+file, auditKeyEnv)
	p, _ := w.testdoc("/headers")
	w.ask(p, "GET", "/headers?q=canary", "")
	w.ask(p, "POST", "/echo", "x")
	w.ask(p, "GET", "/auth/me", "")
	w.ask(nil, "GET", "/headers", "", asProgram)
	w.stop()
	sys := system{Environ: w.env, Out: new(bytes.Buffer), Err: new(bytes.Buffer)}
	if err := run(t.Context(), []string{"audit", "verify"}, sys); err != nil || !strings.Contains(sys.Out.(*bytes.Buffer).String(), "All lines are as they were written") {
		t.Errorf("audit verify = %v:\n%s%s", err, sys.Out, sys.Err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.audit.Write(text)
	var got []string
	for _, l := range w.audited("request") {
		if l["sub"] != "testdoc" || l["sid"] == nil || l["status"] == nil || l["request_id"] == nil {
			t.Errorf("a request is written down as %v", l)
		}
		got = append(got, l["method"].(string)+" "+l["path"].(string))
	}
	if all := strings.Join(got, ", "); !strings.HasSuffix(all, "GET /headers, POST /echo, GET /auth/me") || strings.Contains(string(text), "canary") {
		t.Errorf("requests written down: %s", all)
	}
	if w.lines("refused") == 0 || w.lines("sign_in") != 1 || w.lines("open") != 1 || w.lines("close") != 1 {
		t.Errorf("written down:\n%s", text)
	}
	sys.Out.(*bytes.Buffer).Reset()
	if err := run(t.Context(), []string{"audit", "find", "/echo"}, sys); err != nil || strings.Count(sys.Out.(*bytes.Buffer).String(), "\n") != 1 {
		t.Errorf("audit find = %v:\n%s", err, sys.Out)
	}
	// Without the configuration an auditor needs the public key.
	sys.Out.(*bytes.Buffer).Reset()
	if err := run(t.Context(), []string{"audit", "key"}, sys); err != nil {
		t.Fatal(err)
	}
	public := strings.TrimSpace(sys.Out.(*bytes.Buffer).String())
	sys.Environ = nil
	for _, tt := range []struct {
		args []string
		good bool
	}{
		{[]string{"audit", "verify", "--key", public, file}, true},
		{[]string{"audit", "verify", "--unsigned", file}, true},
		{[]string{"audit", "verify", "--unsigned", "--sequence", "1000", file}, false},
		{[]string{"audit", "verify", "--key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", file}, false},
		{[]string{"audit", "verify", "--key", "x", file}, false},
		{[]string{"audit", "verify", file}, false},
		{[]string{"audit", "verify"}, false},
		{[]string{"audit", "verify", "--unsigned", file + ".gone"}, false},
		{[]string{"audit", "find", "/nothing", "--file", file}, false},
		{[]string{"audit", "find", "--file", file, "/echo"}, true},
		{[]string{"audit"}, false},
	} {
		if err := run(t.Context(), tt.args, sys); (err == nil) != tt.good {
			t.Errorf("anteroom %v = %v, want good: %v", tt.args, err, tt.good)
		}
	}
}

// collector takes audit lines while it is told so.
type auditCollector struct {
	away atomic.Bool
	mu   sync.Mutex
	text bytes.Buffer
}

func (c *auditCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if c.away.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(body)
}

func (c *auditCollector) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// TestNoLineNoAnswer: with audit.required nothing is answered while output takes
// no lines, nobody is signed out by it, and all goes on when it does again.
func TestNoLineNoAnswer(t *testing.T) {
	c := new(auditCollector)
	server := httptest.NewServer(c)
	defer server.Close()
	w := found(t, demo.Options{OIDC: demo.NoOIDC}, "ANTEROOM_AUDIT_OUTPUT="+server.URL, "ANTEROOM_AUDIT_REQUIRED=true",
		"ANTEROOM_SIGNIN_PROVIDER=nextcloud", "ANTEROOM_INTEGRATIONS_WEBDAV_CREDENTIAL=user")
	p, _ := w.testdoc("/headers")
	before := len(w.app.requests())
	if resp, _ := w.ask(p, "GET", "/headers", ""); resp.StatusCode != http.StatusOK {
		t.Fatalf("GET = %d, want 200", resp.StatusCode)
	}
	id := w.app.requests()[before].Header.Get("X-Request-Id")
	if text := c.String(); !strings.Contains(text, `"request_id":"`+id+`"`) || !strings.Contains(text, `"event":"begun"`) {
		t.Errorf("a request was answered before its line was there:\n%s", text)
	}
	c.away.Store(true)
	before = len(w.app.requests())
	for range 2 {
		for _, path := range []string{"/headers", "/auth/me", "/dav/files/testdoc/", "/auth/sessions"} {
			resp, body := w.ask(p, "GET", path, "", asProgram)
			if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "audit_unavailable") || resp.Header.Get("Retry-After") == "" {
				t.Errorf("GET %s without an audit log = %d %s, want 503 audit_unavailable", path, resp.StatusCode, body)
			}
		}
	}
	if resp, body := w.ask(nil, "GET", "/headers", "", asProgram); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("GET by nobody without an audit log = %d %s, want 503", resp.StatusCode, body)
	}
	if n := len(w.app.requests()); n != before {
		t.Errorf("the application heard %d requests without lines", n-before)
	}
	if status, body := get(t, w.admin+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "audit") {
		t.Errorf("/readyz = %d %s, want 503 that names audit", status, body)
	}
	c.away.Store(false)
	w.await("answered again", func() bool {
		resp, _ := w.ask(p, "GET", "/headers", "", asProgram)
		return resp.StatusCode == http.StatusOK
	})
	w.stop()
	w.audit.Write([]byte(c.String()))
	if n := w.lines("begun"); n < 8 {
		t.Errorf("%d requests begun are written down, want those from the outage, too", n)
	}
}

// TestSignInNeedsItsLine: with audit.required nobody gets a session of which no
// line says so.
func TestSignInNeedsItsLine(t *testing.T) {
	c := new(auditCollector)
	server := httptest.NewServer(c)
	defer server.Close()
	w := found(t, demo.Options{}, "ANTEROOM_AUDIT_OUTPUT="+server.URL, "ANTEROOM_AUDIT_REQUIRED=true")
	c.away.Store(true)
	p := person.New(map[string]string{"user": demo.DefaultUser, "password": demo.DefaultPassword})
	page, err := p.Open(w.site + "/auth/login?return_to=/headers")
	for err == nil && !strings.HasPrefix(page.URL.String(), w.site) {
		page, err = p.Next(page)
	}
	if err != nil {
		t.Fatal(err)
	}
	if page.Status != http.StatusServiceUnavailable {
		t.Errorf("a sign-in without an audit log ends in %d, want 503", page.Status)
	}
	c.away.Store(false)
	w.await("known or not", func() bool {
		resp, _ := w.ask(p, "GET", "/auth/me", "", asProgram)
		return resp.StatusCode != http.StatusServiceUnavailable
	})
	if resp, _ := w.ask(p, "GET", "/auth/me", "", asProgram); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("after it: /auth/me = %d, want 401", resp.StatusCode)
	}
}

// TestFullDisk: without audit.required a full disk loses lines and says so, and
// everything goes on.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full here")
	}
	w := found(t, demo.Options{}, "ANTEROOM_AUDIT_OUTPUT=/dev/full")
	p, _ := w.testdoc("/headers")
	if resp, _ := w.ask(p, "GET", "/headers", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("GET with a full disk = %d, want 200", resp.StatusCode)
	}
	if _, body := get(t, w.admin+"/metrics"); !strings.Contains(body, "anteroom_audit_failing 1") {
		t.Error("the metrics do not say that audit lines are lost")
	}
	w.await("told", func() bool { return strings.Contains(w.log.String(), "audit.output takes no lines") })
}

// TestHiddenNames: with audit.hash_paths neither the audit log nor the program's
// has a name, and whoever has the key finds the lines.
func TestHiddenNames(t *testing.T) {
	w := ownFiles(t, auditKeyEnv, "ANTEROOM_AUDIT_HASH_PATHS=true")
	p, _ := w.testdoc("/headers")
	w.ask(p, "GET", "/patients/canary-patient", "")
	w.ask(p, "PUT", "/dav/files/testdoc/canary-letter.pdf", "x")
	w.ask(p, "MOVE", "/dav/files/testdoc/canary-letter.pdf", "", "Destination: "+w.site+"/dav/files/testdoc/canary-moved.pdf")
	w.ask(p, "GET", "/integrations/files?path=/canary-folder", "")
	w.stop()
	if all := w.audit.String() + w.log.String(); strings.Contains(all, "canary") {
		t.Errorf("names are written down:\n%s", all)
	}
	for path, want := range map[string]int{"/files/testdoc/canary-letter.pdf": 2, "/dav/files/testdoc/canary-moved.pdf": 1, "/patients/canary-patient": 1, "/canary-folder": 1, "/other": 0} {
		key, err := audit.ParseKey("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
		if err != nil {
			t.Fatal(err)
		}
		s, n := audit.NewSeeker(key, path, false), 0
		for line := range strings.Lines(w.audit.String()) {
			var e audit.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if s.Matches(e) {
				n++
			}
		}
		if n != want {
			t.Errorf("%d lines are about %s, want %d:\n%s", n, path, want, w.audit)
		}
	}
}
