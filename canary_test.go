package main

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"golang.org/x/net/http2"

	"anteroom/demo"
	"anteroom/integrations/mail/mailtest"
	"anteroom/test/loopback"
	"anteroom/test/redistest"
)

// TestNothingOfTheDay: after a day on which everything was used and much went
// wrong, no secret, no mail and no file's name or content is in anything that was
// written down or sent elsewhere: log, audit log with hashed names, metrics,
// traces, Redis, errors.
func TestNothingOfTheDay(t *testing.T) {
	redis, dir := redistest.Start(t, redistest.Options{}), t.TempDir()
	traces := newCollector(t, httptest.NewServer)
	_, env := mailbox(t)
	key := base64.StdEncoding.EncodeToString([]byte("canary-sealing-key-of-32-bytes!!"))
	auditFile := filepath.Join(dir, "audit.log")
	w, secret := programs(t, append(env, "ANTEROOM_TELEMETRY_LOG_LEVEL=debug", "ANTEROOM_TELEMETRY_OTLP_ENDPOINT="+traces.URL,
		"ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_REDIS_URL="+redis.URL(), "ANTEROOM_SESSION_KEYS="+key,
		"ANTEROOM_AUDIT_OUTPUT="+auditFile, auditKeyEnv, "ANTEROOM_AUDIT_HASH_PATHS=true")...)

	p, _ := w.testdoc("/headers?q=canary-query")
	var refusals strings.Builder
	note := func(resp *http.Response, body string) {
		if resp.StatusCode >= 400 {
			refusals.WriteString(body + "\n")
		}
	}
	_, token := w.ask(p, "POST", "/auth/token", "", "Sec-Fetch-Site: same-origin")
	for _, header := range []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("canary-user:canary-password")), "Authorization: Bearer canary-token", "Cookie: anteroom=canary-cookie", "X-Forwarded-User: canary-spoof"} {
		for _, path := range []string{"/dav/canary-file.pdf?canary-query", "/integrations/files?path=/canary-folder", "/calendar/canary-calendar/"} {
			note(w.ask(nil, "GET", path, "", header))
		}
	}
	note(w.ask(nil, "GET", "/auth/callback?code=canary-code&state=canary-state", "", asBrowser))
	note(w.ask(p, "POST", "/auth/backchannel-logout", "logout_token=canary-logout", "Content-Type: application/x-www-form-urlencoded"))
	const files, mail, calendars, contacts = "/integrations/files", "/integrations/mail", "/integrations/calendars", "/integrations/contacts"
	for _, step := range []struct {
		want               int
		method, path, body string
	}{
		{201, "POST", files + "/folders", `{"path":"/canary-folder"}`},
		{201, "PUT", files + "/content?path=/canary-folder/canary-file.txt", "canary-content"},
		{200, "GET", files + "/content?path=/canary-folder/canary-file.txt", ""},
		{404, "GET", files + "?path=/canary-nowhere", ""},
		{200, "GET", files + "/search?name=canary-search", ""},
		{200, "POST", files + "/move", `{"from":"/canary-folder/canary-file.txt","to":"/canary-moved"}`},
		{400, "POST", files + "/move", `{"from":"/canary-bad`},
		{200, "GET", "/dav/files/testdoc/canary-moved", ""},
		{200, "GET", calendars, ""},
		{201, "POST", calendars + "/personal/events", `{"title":"canary-title","start":"2026-10-20T09:00:00","end":"2026-10-20T10:00:00","time_zone":"Europe/Berlin","description":"canary-note"}`},
		{201, "POST", contacts + "/contacts/cards", `{"name":"canary-name","emails":[{"value":"canary@example.org"}]}`},
		{200, "GET", mail + "/messages?subject=canary-words", ""},
		{200, "GET", mail + "/messages/1.1", ""},
		{200, "GET", mail + "/messages/1.1/raw", ""},
		{200, "POST", mail + "/messages", `{"to":["Canary <canary@example.org>"],"subject":"canary-subject","text":"canary-text","attachments":[{"name":"canary-attachment","content":"Y2FuYXJ5"}],"idempotency_key":"canary-key"}`},
		{400, "POST", mail + "/messages", `{"to":["canary@@example.org"],"text":"canary-text"}`},
	} {
		resp, body := asClient(t, w, secret, step.method, step.path, step.body)
		if resp.StatusCode != step.want {
			t.Errorf("%s %s = %d %s, want %d", step.method, step.path, resp.StatusCode, body, step.want)
		}
		note(resp, body)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/vars", "/debug/pprof/heap"} {
		if status, _ := get(t, w.admin+path); status != http.StatusNotFound {
			t.Errorf("%s = %d, want 404: nobody reads our memory", path, status)
		}
	}
	traces.all(w, "traced", func(spans []*otlp.Span) bool { return len(spans) > 40 })
	_, metrics := get(t, w.admin+"/metrics")
	dump := filepath.Join(dir, "dump.rdb")
	redis.CLI("--rdb", dump)
	var jar []string
	r, _ := http.NewRequest("GET", w.site, nil)
	for _, c := range p.Client.Jar.Cookies(r.URL) {
		jar = append(jar, c.Value)
	}
	w.stop()
	traces.mu.Lock()
	defer traces.mu.Unlock()

	secrets := append(jar, demo.DefaultClientSecret, demo.DefaultPassword, mailtest.Password, secret, key, strings.Trim(token, "{}\n"))
	for place, text := range map[string]string{"the log": w.log.String(), "the audit log": fileText(t, auditFile), "the metrics": metrics, "the traces": string(traces.raw), "Redis": fileText(t, dump)} {
		if len(text) < 500 {
			t.Errorf("%s holds but %d bytes: the test looks at the wrong place", place, len(text))
		}
		for _, canary := range append(slices.Clone(secrets), "canary", "Test Doctor", "testdoc@example.com", "ann@example.org") {
			if at := strings.Index(strings.ToLower(text), strings.ToLower(canary)); at >= 0 {
				t.Errorf("%q is in %s: …%q…", canary, place, text[max(0, at-120):min(len(text), at+120)])
			}
		}
	}
	for _, canary := range append(secrets, "canary-password", "canary-token", "canary-cookie", "canary-code", "canary-text", "canary-content", "canary-logout") {
		if strings.Contains(refusals.String(), canary) {
			t.Errorf("%q is in what refused callers read", canary)
		}
	}
}

func fileText(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAnswersNobodyCanRead are in no log, though Go's HTTP client quotes them: an
// application that mixes up its answers may send anything there.
func TestAnswersNobodyCanRead(t *testing.T) {
	for name, answer := range map[string]string{
		"no answer":         "canary\r\n\r\n",
		"no status":         "HTTP/1.1 canary of somebody's\r\n\r\n",
		"no header":         "HTTP/1.1 200 OK\r\ncanary of somebody's\r\n\r\n",
		"no length":         "HTTP/1.1 200 OK\r\nContent-Length: canary\r\n\r\n",
		"no trailer":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nhi\r\n0\r\ncanary of somebody's\r\n\r\n",
		"no such protocol":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: canary\r\n\r\n",
		"no more of HTTP/2": "canary",
		"more than asked":   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhicanary of somebody's",
	} {
		t.Run(name, func(t *testing.T) {
			addr := loopback.Serve(t, nil, func(c net.Conn) {
				if name == "no more of HTTP/2" {
					goAway(c, answer)
				} else if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					io.WriteString(c, answer)
					io.Copy(io.Discard, c)
				}
			})
			scheme := "http"
			if name == "no more of HTTP/2" {
				scheme = "h2c"
			}
			w := found(t, demo.Options{}, "ANTEROOM_TELEMETRY_LOG_LEVEL=debug", "ANTEROOM_UPSTREAM=", `ANTEROOM_ROUTES=[{path: /, allow: public, upstream: "`+scheme+`://`+addr+`"}]`)
			if resp, err := http.Get(w.site + "/x"); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			says := map[string]string{"more than asked": "Unsolicited response received on idle HTTP channel starting with", "no trailer": "the application broke its answer off", "no more of HTTP/2": "server sent GOAWAY"}[name]
			w.await("a line of it", func() bool { return strings.Contains(w.log.String(), cmp.Or(says, `"status":502`)) })
			w.stop()
			if all := w.log.String() + w.audit.String(); strings.Contains(all, "canary") {
				t.Errorf("the answer is in the log:\n%s", all)
			}
		})
	}
}

// goAway begins an answer by HTTP/2 and leaves, with something to say about that.
func goAway(c net.Conn, says string) {
	f := http2.NewFramer(c, c)
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil || f.WriteSettings() != nil {
		return
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if h, ok := frame.(*http2.HeadersFrame); ok {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true}) // :status 200 (RFC 7541 A)
			f.WriteGoAway(h.StreamID, http2.ErrCodeNo, []byte(says))
			return
		}
	}
}
