package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"anteroom/demo"
	"anteroom/test/person"
	"anteroom/test/redistest"
)

// collector takes traces as an OpenTelemetry collector does.
type collector struct {
	t *testing.T
	*httptest.Server

	mu     sync.Mutex
	spans  []*otlp.Span  // guarded by mu
	header []http.Header // guarded by mu; of each request
	raw    []byte        // guarded by mu; of all requests
}

func newCollector(t *testing.T, start func(http.Handler) *httptest.Server) *collector {
	c := &collector{t: t}
	c.Server = start(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var data otlp.TracesData
	if err == nil {
		err = proto.Unmarshal(body, &data)
	}
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("%s %s with %s is no export request: %v", r.Method, r.URL, r.Header, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header, c.raw = append(c.header, r.Header), append(c.raw, body...)
	for _, of := range data.ResourceSpans {
		if got := attributes(of.Resource.Attributes)["service.name"]; got != "anteroom" && got != "front-desk" {
			c.t.Errorf("service.name = %q", got)
		}
		for _, s := range of.ScopeSpans {
			c.spans = append(c.spans, s.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// all waits until spans are there that satisfy done, and gives all there are.
func (c *collector) all(w *town, what string, done func([]*otlp.Span) bool) []*otlp.Span {
	c.t.Helper()
	var spans []*otlp.Span
	w.await(what, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		spans = slices.Clone(c.spans)
		return done(spans)
	})
	return spans
}

// named waits for a span of this name.
func (c *collector) named(w *town, name string) *otlp.Span {
	c.t.Helper()
	var found *otlp.Span
	c.all(w, "traced: "+name, func(spans []*otlp.Span) bool {
		found = spanNamed(spans, name)
		return found != nil
	})
	return found
}

func spanNamed(spans []*otlp.Span, name string) *otlp.Span {
	if i := slices.IndexFunc(spans, func(s *otlp.Span) bool { return s.Name == name }); i >= 0 {
		return spans[i]
	}
	return nil
}

func attributes(list []*common.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range list {
		m[a.Key] = a.Value.GetStringValue()
	}
	return m
}

func statusOf(s *otlp.Span) int64 {
	for _, a := range s.Attributes {
		if a.Key == "http.response.status_code" {
			return a.Value.GetIntValue()
		}
	}
	return 0
}

// TestOneTraceOfASignIn: what a sign-in took is one trace, over both of the
// browser's requests.
func TestOneTraceOfASignIn(t *testing.T) {
	redis := redistest.Start(t, redistest.Options{})
	tell := newReceiver(t, func(int) (int, string, string) { return 200, "application/json", `{"id": "7"}` })
	legs := map[string][]string{
		"oidc, newer":     {"POST provider token", "GET provider keys", "GET provider userinfo"},
		"built-in oauth2": {"POST provider token", "GET provider ocs_user"},
	}
	for name, want := range legs {
		t.Run(name, func(t *testing.T) {
			c := newCollector(t, httptest.NewServer)
			w := found(t, providers[name].o, "ANTEROOM_TELEMETRY_OTLP_ENDPOINT="+c.URL, "ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_REDIS_URL="+redis.URL(),
				"ANTEROOM_SESSION_KEYS="+base64.StdEncoding.EncodeToString(make([]byte, 32)), "ANTEROOM_IDENTITY_PROVISION_URL="+tell.url)
			tell.site = func() string { return w.site }
			w.testdoc("/notes")
			callback := c.named(w, "GET /auth/callback")
			login := c.named(w, "GET /auth/login")
			if hex.EncodeToString(callback.TraceId) != hex.EncodeToString(login.TraceId) || hex.EncodeToString(callback.ParentSpanId) != hex.EncodeToString(login.SpanId) {
				t.Errorf("the callback is not within the trace of the login: %v, %v", login, callback)
			}
			if len(login.ParentSpanId) != 0 || statusOf(login) != 303 || statusOf(callback) != 303 {
				t.Errorf("login %v, callback %v", login, callback)
			}
			for _, leg := range append(want, "POST provision", "redis evalsha") {
				var s *otlp.Span // others of the name may be within the login: its rate is counted in Redis, too
				c.all(w, "traced within the callback: "+leg, func(spans []*otlp.Span) bool {
					i := slices.IndexFunc(spans, func(s *otlp.Span) bool {
						return s.Name == leg && string(s.TraceId) == string(callback.TraceId) && string(s.ParentSpanId) == string(callback.SpanId)
					})
					if i >= 0 {
						s = spans[i]
					}
					return i >= 0
				})
				if s.Kind != otlp.Span_SPAN_KIND_CLIENT || s.StartTimeUnixNano < callback.StartTimeUnixNano || s.EndTimeUnixNano > callback.EndTimeUnixNano || s.EndTimeUnixNano < s.StartTimeUnixNano {
					t.Errorf("%s is no client's span within the callback's time: %v", leg, s)
				}
			}
			if strings.Contains(name, "oidc") {
				c.named(w, "GET provider discovery") // of its own trace
			}
		})
	}
}

// TestTraceOfDoors: every door's span has a name of few, and its legs.
func TestTraceOfDoors(t *testing.T) {
	c := newCollector(t, httptest.NewServer)
	w := found(t, demo.Options{}, "ANTEROOM_TELEMETRY_OTLP_ENDPOINT="+c.URL, "ANTEROOM_TELEMETRY_SERVICE_NAME=front-desk", "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1,::1",
		"NEXTCLOUD_WEBDAV_URL={cloud}/remote.php/dav/files/admin", "NEXTCLOUD_WEBDAV_USERNAME=admin", "NEXTCLOUD_WEBDAV_PASSWORD=admin_dev_password",
		"ANTEROOM_INTEGRATIONS_WEBDAV_ALLOW=signed-in", `ANTEROOM_ROUTES=[{path: /public, allow: public}, {path: /admin, allow: {groups: [admin]}}, {path: /}]`)
	doc, _ := w.testdoc("/")
	w.ask(doc, "GET", "/admin/people/jane.doe", "", asProgram)
	w.ask(nil, "GET", "/public/a/b/c?d=e", "")
	w.ask(doc, "PROPFIND", "/dav/", "", "Depth: 0")
	w.ask(doc, "GET", "/integrations/files?path=/", "")
	w.ask(nil, "GET", "/auth/verify/nginx", "", "X-Original-Method: GET", "X-Original-URL: "+w.site+"/admin/x")
	w.ask(nil, "BREW", "/public/tea", "")
	tests := []struct {
		span, leg, door, reason string
		status                  int64
	}{
		{"GET /public", "GET application", "application", "", 200},
		{"GET /admin", "", "application", "not_allowed", 403},
		{"PROPFIND /dav/", "PROPFIND dav", "dav", "", 207},
		{"GET /integrations/", "PROPFIND nextcloud", "integrations", "", 200},
		{"_OTHER /public", "_OTHER application", "application", "", 0},
	}
	for _, tt := range tests {
		s := c.named(w, tt.span)
		a := attributes(s.Attributes)
		if a["anteroom.door"] != tt.door || a["anteroom.reason"] != tt.reason || tt.status != 0 && statusOf(s) != tt.status || s.Kind != otlp.Span_SPAN_KIND_SERVER {
			t.Errorf("%s: %v", tt.span, s)
		}
		if tt.leg == "" {
			continue
		}
		c.all(w, tt.leg+" within "+tt.span, func(spans []*otlp.Span) bool {
			return slices.ContainsFunc(spans, func(l *otlp.Span) bool {
				return l.Name == tt.leg && string(l.ParentSpanId) == string(s.SpanId) && string(l.TraceId) == string(s.TraceId)
			})
		})
	}
	c.all(w, "traced: the front proxy's question", func(spans []*otlp.Span) bool {
		return slices.ContainsFunc(spans, func(s *otlp.Span) bool { return attributes(s.Attributes)["anteroom.dialect"] == "nginx" })
	})
	keys := map[string]bool{}
	for _, s := range c.all(w, "there", func([]*otlp.Span) bool { return true }) {
		for _, a := range s.Attributes {
			keys[a.Key] = true
		}
	}
	known := []string{"anteroom.dialect", "anteroom.door", "anteroom.leg", "anteroom.reason", "anteroom.verdict", "error.type", "http.request.method", "http.response.status_code",
		"http.route", "network.protocol.version", "server.address", "url.scheme"}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(known, k) {
			t.Errorf("there is an attribute %s, which docs/tracing.md does not list", k)
		}
	}
}

// TestTraceOfExtAuthz: Envoy's questions are traced, as part of its trace where
// that is believed.
func TestTraceOfExtAuthz(t *testing.T) {
	for _, trust := range []bool{true, false} {
		c := newCollector(t, httptest.NewServer)
		w, e := envoyTown(t, "ANTEROOM_TELEMETRY_OTLP_ENDPOINT="+c.URL, fmt.Sprintf("ANTEROOM_TELEMETRY_TRUST_TRACES=%v", trust))
		o := e.send(nil, "GET", w.site+"/public/x", "traceparent: 00-"+theirs+"-b7ad6b7169203331-01", "x-request-id: client-test")
		s := c.named(w, "GET /public")
		if a := attributes(s.Attributes); a["anteroom.door"] != "forward_auth" || statusOf(s) != 200 || (hex.EncodeToString(s.TraceId) == theirs) != trust {
			t.Errorf("trusted %v: the question's span: %v", trust, s)
		}
		if id := o.app["x-request-id"]; len(id) != 1 || (id[0] == "client-test") != trust {
			t.Errorf("trusted %v: the application gets X-Request-Id %q", trust, id)
		}
	}
}

const theirs = "0af7651916cd43dd8448eb211c80319c"

// TestTraceContext: whose context is believed, whether spans are recorded, and
// what the application is told.
func TestTraceContext(t *testing.T) {
	tests := []struct {
		name, ratio, parent, state string
		trusted, traces            bool // the proxy, and what it says of traces
		goesOn, recorded           bool
		passed                     string // tracestate at the application
	}{
		{"of a trusted proxy", "0", "00-" + theirs + "-b7ad6b7169203331-01", "rojo=1,congo=t61rcWkgMzE", true, true, true, true, "rojo=1,congo=t61rcWkgMzE"},
		{"of a trusted proxy, not sampled", "1", "00-" + theirs + "-b7ad6b7169203331-00", "rojo=1", true, true, true, false, "rojo=1"},
		{"a state that is none", "1", "00-" + theirs + "-b7ad6b7169203331-01", "Rojo", true, true, true, true, ""},
		{"a parent that is none", "1", "00-" + theirs + "-0000000000000000-01", "rojo=1", true, true, false, true, ""},
		{"handed on by a proxy that does not trace", "1", "00-" + theirs + "-b7ad6b7169203331-00", "rojo=1", true, false, false, true, ""},
		{"handed on, and wants to be sampled", "0", "00-" + theirs + "-b7ad6b7169203331-01", "rojo=1", true, false, false, false, ""},
		{"of a client", "1", "00-" + theirs + "-b7ad6b7169203331-00", "rojo=1", false, false, false, true, ""},
		{"of a client that wants to be sampled", "0", "00-" + theirs + "-b7ad6b7169203331-01", "rojo=1", false, false, false, false, ""},
		{"nobody's", "1", "", "", false, false, false, true, ""},
		{"nobody's, none recorded", "0", "", "", false, false, false, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCollector(t, httptest.NewServer)
			env := []string{"ANTEROOM_TELEMETRY_OTLP_ENDPOINT=" + c.URL, "ANTEROOM_TELEMETRY_TRACE_RATIO=" + tt.ratio, `ANTEROOM_ROUTES=[{path: /public, allow: public}, {path: /}]`}
			if tt.trusted {
				env = append(env, "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1,::1", fmt.Sprintf("ANTEROOM_TELEMETRY_TRUST_TRACES=%v", tt.traces))
			}
			w := found(t, demo.Options{}, env...)
			w.ask(nil, "GET", "/public/", "", "Traceparent: "+tt.parent, "Tracestate: "+tt.state, "X-Request-Id: their-request")
			w.stop() // what is left is sent
			seen := w.app.requests()
			if len(seen) != 1 {
				t.Fatalf("the application saw %d requests", len(seen))
			}
			tp, state := seen[0].Header.Get("Traceparent"), seen[0].Header.Get("Tracestate")
			if goesOn := strings.Contains(tp, theirs); goesOn != tt.goesOn || state != tt.passed || strings.Contains(tp, "b7ad6b7169203331") {
				t.Errorf("the application gets %q and %q, want their trace to go on: %v, and %q", tp, state, tt.goesOn, tt.passed)
			}
			if id := seen[0].Header.Get("X-Request-Id"); len(id) < 8 || (id == "their-request") != tt.traces || strings.Contains(w.log.String(), "their-request") != tt.traces {
				t.Errorf("the application gets X-Request-Id %q, want theirs: %v, and the same in the log", id, tt.traces)
			}
			server, client := spanNamed(c.spans, "GET /public"), spanNamed(c.spans, "GET application")
			if (server != nil) != tt.recorded || (client != nil) != tt.recorded || strings.HasSuffix(tp, "-01") != tt.recorded {
				t.Fatalf("recorded %v, %v, and told %s, want that to be %v", server, client, tp, tt.recorded)
			}
			if !tt.recorded {
				return
			}
			if want := "00-" + hex.EncodeToString(client.TraceId) + "-" + hex.EncodeToString(client.SpanId) + "-01"; tp != want || string(client.ParentSpanId) != string(server.SpanId) {
				t.Errorf("the application gets %s, want the client's span %s, within the server's", tp, want)
			}
			if parent := hex.EncodeToString(server.ParentSpanId); tt.goesOn != (parent == "b7ad6b7169203331") {
				t.Errorf("the server's span is within %q", parent)
			}
		})
	}
}

// TestTraceOff: nothing is sent, yet a trusted proxy's context goes on where it
// is believed.
func TestTraceOff(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1,::1", "ANTEROOM_TELEMETRY_TRUST_TRACES=true", `ANTEROOM_ROUTES=[{path: /public, allow: public}, {path: /}]`)
	w.ask(nil, "GET", "/public/", "", "Traceparent: 00-"+theirs+"-b7ad6b7169203331-01", "Tracestate: rojo=1")
	seen := w.app.requests()[0]
	if tp := seen.Header.Get("Traceparent"); !strings.HasPrefix(tp, "00-"+theirs) || strings.Contains(tp, "b7ad") || seen.Header.Get("Tracestate") != "rojo=1" {
		t.Errorf("the application gets %v", seen.Header)
	}
	if _, metrics := get(t, w.admin+"/metrics"); strings.Contains(metrics, "anteroom_trace") {
		t.Error("there are metrics of traces, though nothing is traced")
	}
}

// TestTracesTellNothing plants canaries wherever a request has room for them.
func TestTracesTellNothing(t *testing.T) {
	c := newCollector(t, httptest.NewServer)
	redis := redistest.Start(t, redistest.Options{})
	w := found(t, demo.Options{}, "ANTEROOM_TELEMETRY_OTLP_ENDPOINT="+c.URL, "ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_REDIS_URL="+redis.URL(), "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1,::1",
		"ANTEROOM_SESSION_KEYS="+base64.StdEncoding.EncodeToString(make([]byte, 32)), "ANTEROOM_INTEGRATIONS_WEBDAV_ALLOW=signed-in",
		"NEXTCLOUD_WEBDAV_URL={cloud}/remote.php/dav/files/admin", "NEXTCLOUD_WEBDAV_USERNAME=admin", "NEXTCLOUD_WEBDAV_PASSWORD=admin_dev_password")
	doc, _ := w.testdoc("/canary-page?secret=canary-query")
	planted := []string{"Cookie: canary-name=canary-cookie", "User-Agent: canary-agent", "Referer: http://canary-referer.example/", "X-Forwarded-For: 203.0.113.77"}
	w.ask(doc, "GET", "/canary-path/canary@example.com?token=canary-token", "", planted...)
	w.ask(doc, "CANARY", "/canary-method", "", planted...)
	w.ask(nil, "GET", "/x", "", append(planted, "Authorization: Bearer canary-bearer")...)
	w.ask(nil, "GET", "/x", "", append(planted, "Host: canary-host.example")...)
	w.ask(doc, "PROPFIND", "/dav/canary-folder/", "", planted...)
	w.ask(doc, "GET", "/dav/canary-file.txt", "", planted...)
	w.ask(doc, "GET", "/auth/callback?code=canary-code&state=canary-state", "", asBrowser)
	cookies := cookiesOf(t, w, doc)
	w.signOut(doc)
	w.stop()
	all := strings.ToLower(string(c.raw) + w.log.String())
	for _, canary := range append(cookies, "canary-", "canary", demo.DefaultClientSecret, demo.DefaultPassword, "admin_dev_password", "testdoc@example.com", "test doctor") {
		if strings.Contains(strings.ToLower(string(c.raw)), strings.ToLower(canary)) {
			t.Errorf("%q is in the spans", canary)
		}
	}
	for _, personal := range []string{"testdoc", "203.0.113.77", "anteroom:"} { // who, from where, and Redis' keys
		if strings.Contains(strings.ToLower(string(c.raw)), personal) {
			t.Errorf("%q is in the spans", personal)
		}
	}
	if len(c.spans) < 10 || all == "" {
		t.Errorf("%d spans, want more", len(c.spans))
	}
}

func cookiesOf(t *testing.T, w *town, p *person.Person) (values []string) {
	t.Helper()
	r, err := http.NewRequest("GET", w.site, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Client.Jar.Cookies(r.URL) {
		values = append(values, c.Value)
	}
	return values
}

// TestTraceCollectorAway: whatever the collector does, people notice nothing,
// and a stop does not wait long.
func TestTraceCollectorAway(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
	defer failing.Close()
	for name, url := range map[string]string{"dead": "http://" + freeAddr(t), "slow": slow.URL, "failing": failing.URL} {
		t.Run(name, func(t *testing.T) {
			w := found(t, demo.Options{}, "ANTEROOM_TELEMETRY_OTLP_ENDPOINT="+url+"/canary-tenant", "ANTEROOM_TELEMETRY_OTLP_HEADERS=Authorization=canary-credential")
			doc, _ := w.testdoc("/")
			slowest := time.Duration(0)
			for range 50 {
				start := time.Now()
				if resp, _ := w.ask(doc, "GET", "/headers", ""); resp.StatusCode != http.StatusOK {
					t.Fatalf("GET /headers = %d", resp.StatusCode)
				}
				slowest = max(slowest, time.Since(start))
			}
			if slowest > 2*time.Second {
				t.Errorf("the slowest of 50 requests took %s", slowest)
			}
			start := time.Now()
			w.stop()
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("stopping took %s", took)
			}
			if log := w.log.String(); strings.Contains(log, "canary") || !strings.Contains(log, "telemetry.otlp_endpoint") || strings.Count(log, "the collector does not take spans") != 1 {
				t.Errorf("the log says of it:\n%s", log)
			}
		})
	}
}

// TestTraceOverTLS: with an authority of one's own, and a credential that is
// exchanged in its file.
func TestTraceOverTLS(t *testing.T) {
	c := newCollector(t, httptest.NewTLSServer)
	dir := t.TempDir()
	ca, headers := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "headers")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(headers, []byte("Authorization=Bearer%20first, X-Scope-OrgID=clinic\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := found(t, demo.Options{}, "ANTEROOM_TELEMETRY_OTLP_ENDPOINT="+c.URL, "ANTEROOM_TELEMETRY_OTLP_CA_FILE="+ca, "ANTEROOM_TELEMETRY_OTLP_HEADERS_FILE="+headers)
	w.ask(nil, "GET", "/x", "")
	carried := func(token string) func([]*otlp.Span) bool {
		return func([]*otlp.Span) bool {
			return slices.ContainsFunc(c.header, func(h http.Header) bool {
				return h.Get("Authorization") == token && h.Get("X-Scope-OrgID") == "clinic"
			})
		}
	}
	c.all(w, "traced with the first token", carried("Bearer first"))
	if err := os.WriteFile(headers, []byte("Authorization=Bearer%20second,X-Scope-OrgID=clinic"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.await("exchanged", func() bool { return strings.Contains(w.log.String(), "a changed secret is used") })
	w.ask(nil, "GET", "/x", "")
	c.all(w, "traced with the second token", carried("Bearer second"))
}

func TestTelemetryRules(t *testing.T) {
	tests := []struct{ env, fault string }{
		{"ANTEROOM_TELEMETRY_OTLP_ENDPOINT=http://collector.example:4318", "write telemetry into server.allow_plaintext"},
		{"ANTEROOM_TELEMETRY_OTLP_ENDPOINT=https://collector.example:4318/v1/traces", "telemetry.otlp_endpoint: has /v1/traces"},
		{"ANTEROOM_TELEMETRY_OTLP_ENDPOINT=https://collector.example:4317", "4318"},
		{"ANTEROOM_TELEMETRY_OTLP_ENDPOINT=collector.example:4318", "telemetry.otlp_endpoint"},
		{"ANTEROOM_TELEMETRY_OTLP_HEADERS=Authorization=canary", "telemetry.otlp_endpoint is not"},
		{"ANTEROOM_TELEMETRY_OTLP_HEADERS=canary", "telemetry.otlp_headers: is not name=value"},
		{"ANTEROOM_TELEMETRY_OTLP_CA_FILE=/no/such/file", "telemetry.otlp_ca_file"},
		{"ANTEROOM_TELEMETRY_TRUST_TRACES=true", "telemetry.trust_traces: is for proxies in server.trusted_proxies"},
		{"ANTEROOM_TELEMETRY_TRACE_RATIO=2", "write a share from 0 to 1"},
		{"ANTEROOM_TELEMETRY_TRACE_RATIO=NaN", "write a share from 0 to 1"},
	}
	for _, tt := range tests {
		sys := system{Environ: []string{"NEXTCLOUD_BASE_URL=https://cloud.example", "NEXTCLOUD_CLIENT_ID=c", "NEXTCLOUD_REDIRECT_URI=https://app.example/auth/callback", "ANTEROOM_UPSTREAM=http://localhost:1", tt.env}}
		_, faults := loadConfig("", false, sys.lookup, sys.Environ)
		said := ""
		for _, f := range faults {
			said += f.String() + "\n"
		}
		if !strings.Contains(said, tt.fault) || strings.Contains(said, "canary") {
			t.Errorf("%s: %q, want %q", tt.env, said, tt.fault)
		}
	}
}
