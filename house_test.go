package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/test/person"
)

// town is the whole program on loopback, between a pretend Nextcloud and an
// application, as the tests of this package see it.
type town struct {
	*testing.T
	site, admin string // URLs
	cloud       *demo.Nextcloud
	cloudURL    string
	app         *application
	log, audit  *output
	env         []string
	stop        func()
}

// application records what it receives.
type application struct {
	mu   sync.Mutex
	seen []*http.Request // guarded by mu; bodies are read already
	*demo.App
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.seen = append(a.seen, r.Clone(context.Background()))
	a.mu.Unlock()
	a.App.ServeHTTP(w, r)
}

func (a *application) requests() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]*http.Request(nil), a.seen...)
}

// output is what the program writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// found builds a town. env is further environment, NAME=value; {app} and
// {cloud} stand for the two servers' URLs.
func found(t *testing.T, o demo.Options, env ...string) *town {
	t.Helper()
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	w := &town{T: t, site: "http://localhost:" + port, log: &output{}, audit: &output{}}
	w.cloud = demo.NewNextcloud(o)
	cloud := httptest.NewServer(w.cloud)
	t.Cleanup(cloud.Close)
	w.cloudURL = cloud.URL
	w.app = &application{App: demo.NewApp(demo.AppOptions{JWKSURL: w.site + "/.well-known/jwks.json", Issuer: w.site, Tick: 50 * time.Millisecond})}
	app := httptest.NewServer(w.app)
	t.Cleanup(app.Close)
	w.cloud.AddRedirectURI(demo.DefaultClientID, w.site+"/auth/callback")
	all := append([]string{
		"NEXTCLOUD_BASE_URL=" + w.cloudURL, "NEXTCLOUD_CLIENT_ID=" + demo.DefaultClientID, "NEXTCLOUD_CLIENT_SECRET=" + demo.DefaultClientSecret,
		"NEXTCLOUD_REDIRECT_URI=" + w.site + "/auth/callback", "ANTEROOM_UPSTREAM=" + app.URL,
		"ANTEROOM_SERVER_LISTEN=" + addr, "ANTEROOM_SERVER_ADMIN_LISTEN=127.0.0.1:0",
	}, env...)
	for i := range all {
		all[i] = strings.NewReplacer("{app}", app.URL, "{cloud}", w.cloudURL).Replace(all[i])
	}
	w.start(all)
	return w
}

func (w *town) start(env []string) {
	w.Helper()
	w.env = env
	sys := system{Environ: env, Out: w.audit, Err: w.log}
	cfg, faults := loadConfig("", false, sys.lookup, sys.Environ)
	if len(faults) > 0 {
		w.Fatalf("configuration: %v", faults)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, up := make(chan error, 1), make(chan struct{})
	go func() {
		done <- serveConfig(ctx, cfg, sys, progress{started: func(_, admin net.Addr) { w.admin = "http://" + admin.String(); close(up) }})
	}()
	select {
	case <-up:
	case err := <-done:
		w.Fatalf("serve = %v\n%s", err, w.log)
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("serve = %v, want nil after a stop", err)
		}
	})
	w.Cleanup(w.stop)
	w.await("ready", func() bool {
		resp, err := http.Get(w.admin + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// await polls for what happens elsewhere, ten seconds at most.
func (w *town) await(what string, holds func() bool) {
	w.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("not %s in 10 s\n%s", what, w.log)
		}
	}
}

// nextPort goes round the ports that freeAddr gives out, from a random one: tests
// that run beside each other never get the same.
var nextPort = func() *atomic.Uint32 {
	n := new(atomic.Uint32)
	n.Store(rand.Uint32N(12000))
	return n
}()

// freeAddr finds a port that nobody listens on, below the range that outgoing
// connections are given theirs from.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := "127.0.0.1:" + strconv.Itoa(20000+int(nextPort.Add(1)%12000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port between 20000 and 32000")
	return ""
}

// testdoc signs in and arrives at path.
func (w *town) testdoc(path string) (*person.Person, *person.Page) {
	w.Helper()
	p := person.New(map[string]string{"user": demo.DefaultUser, "password": demo.DefaultPassword})
	page, err := p.Open(w.site + path)
	for err == nil && !strings.HasPrefix(page.URL.String(), w.site) {
		page, err = p.Next(page)
	}
	if err != nil {
		w.Fatalf("signing in: %v\n%s", err, w.log)
	}
	return p, page
}

// ask makes one request as a program would, following nothing.
func (w *town) ask(p *person.Person, method, path, body string, header ...string) (*http.Response, string) {
	w.Helper()
	r, err := http.NewRequest(method, w.site+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if p != nil {
		client.Jar = p.Client.Jar
	}
	resp, err := client.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 32<<20))
	if err != nil {
		w.Fatal(err)
	}
	return resp, string(b)
}

// lines counts the audit lines of a kind.
func (w *town) lines(kind string) int {
	w.Helper()
	return len(w.audited(kind))
}

// audited are the lines of the audit log about one kind of event.
func (w *town) audited(kind string) (lines []map[string]any) {
	w.Helper()
	for text := range strings.Lines(w.audit.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			w.Errorf("audit line %q: %v", text, err)
		}
		if line["event"] == kind {
			lines = append(lines, line)
		}
	}
	return lines
}

const (
	asBrowser = "Sec-Fetch-Mode: navigate"
	asProgram = "Sec-Fetch-Mode: cors"
)

// providers are the two ways a Nextcloud signs people in, and the cookie store.
var providers = map[string]struct {
	o   demo.Options
	env []string
}{
	"oidc, older":     {demo.Options{OIDC: demo.OIDC06}, nil},
	"oidc, newer":     {demo.Options{OIDC: demo.OIDC20}, nil},
	"built-in oauth2": {demo.Options{OIDC: demo.NoOIDC}, nil},
	"cookie sessions": {demo.Options{OIDC: demo.OIDC20}, []string{"ANTEROOM_SESSION_STORE=cookie", "ANTEROOM_SESSION_KEYS=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}},
}

func TestSignIn(t *testing.T) {
	for name, p := range providers {
		t.Run(name, func(t *testing.T) {
			w := found(t, p.o, p.env...)
			doc, page := w.testdoc("/?q=a+b&x=%2F")
			if page.Status != http.StatusOK || page.URL.RequestURI() != "/?q=a+b&x=%2F" {
				t.Fatalf("arrived at %s with %d, want the page that was asked for", page.URL, page.Status)
			}
			for _, want := range []string{"Test Doctor", "testdoc@example.com", "users"} {
				if !strings.Contains(page.Body, want) {
					t.Errorf("the application's page lacks %q", want)
				}
			}
			var me struct {
				Sub    string
				Groups []string
			}
			_, body := w.ask(doc, "GET", "/auth/me", "")
			if err := json.Unmarshal([]byte(body), &me); err != nil || me.Sub != "testdoc" || len(me.Groups) != 1 {
				t.Errorf("/auth/me = %s", body)
			}
			if n := w.lines("sign_in"); n != 1 {
				t.Errorf("%d audit lines for one sign-in\n%s", n, w.audit)
			}
			w.signOut(doc)
		})
	}
}

// signOut signs out and checks that the session is over.
func (w *town) signOut(p *person.Person) {
	w.Helper()
	resp, body := w.ask(p, "POST", "/auth/logout", "", "Origin: "+w.site, asBrowser)
	if resp.StatusCode != http.StatusSeeOther && resp.StatusCode != http.StatusOK {
		w.Errorf("POST /auth/logout = %d\n%s", resp.StatusCode, body)
	}
	if resp, _ := w.ask(p, "GET", "/auth/me", ""); resp.StatusCode != http.StatusUnauthorized {
		w.Errorf("GET /auth/me after sign-out = %d, want 401", resp.StatusCode)
	}
	if n := w.lines("sign_out"); n != 1 {
		w.Errorf("%d audit lines for one sign-out", n)
	}
}

func TestNobody(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_ALLOWED_ORIGINS=https://spa.example", `ANTEROOM_ROUTES=[{path: /public, allow: public},{path: /admin, allow: {groups: [admin]}}]`)
	tests := []struct {
		method, path, body string
		header             []string
		status             int
		has                string // in the body or the headers
	}{
		{"GET", "/x?y=1", "", []string{asBrowser}, 302, "/auth/login?return_to=%2Fx%3Fy%3D1"},
		{"GET", "/x", "", []string{"Accept: text/html"}, 302, "/auth/login"},
		{"GET", "/x", "", []string{asProgram, "Accept: text/html"}, 401, "application/problem+json"},
		{"GET", "/x", "", []string{"Accept: text/html", "X-Requested-With: XMLHttpRequest"}, 401, "application/problem+json"},
		{"GET", "/x", "", nil, 401, `"sign_in"`},
		{"GET", "/x", "", []string{asBrowser, "Sec-Fetch-Dest: iframe"}, 401, "_top"},
		{"GET", "/x", "", []string{asProgram, "Origin: https://spa.example"}, 401, "Access-Control-Allow-Origin: https://spa.example"},
		{"OPTIONS", "/x", "", []string{asProgram, "Origin: https://spa.example", "Access-Control-Request-Method: PUT"}, 204, "Access-Control-Allow-Methods: PUT"},
		{"OPTIONS", "/x", "", []string{asProgram, "Origin: https://evil.example", "Access-Control-Request-Method: PUT"}, 401, ""},
		{"POST", "/form", "a=1", []string{asBrowser, "Content-Type: application/x-www-form-urlencoded"}, 401, "text/html"},
		{"GET", "/public/", "", []string{asBrowser}, 200, ""},
		{"GET", "/public/%2e%2e/admin", "", []string{asBrowser}, 400, ""},
		{"GET", "/auth/", "", []string{asBrowser}, 302, "/auth/login?return_to=%2Fauth%2F"},
		{"GET", "/auth/me", "", []string{asBrowser}, 401, "application/problem+json"},
		{"POST", "/auth/token", "", nil, 401, ""},
		{"GET", "/auth/token", "", nil, 405, "Allow: POST"},
		{"POST", "/auth/logout", "", []string{"Origin: https://evil.example"}, 403, ""},
		{"GET", "/.well-known/jwks.json", "", []string{"Host: anywhere.example"}, 200, `"kty"`},
		{"GET", "/x", "", []string{"Host: evil.example"}, 421, ""},
		{"GET", "/public/", "", []string{"Host: evil.example"}, 421, ""},
		{"GET", "/x", "", []string{"Host: evil.example", asBrowser}, 421, `href="http://localhost:`},
		{"TRACE", "/public/", "", nil, 405, ""},
		{"get", "/public/", "", nil, 400, ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			resp, body := w.ask(nil, tt.method, tt.path, tt.body, tt.header...)
			all := &strings.Builder{}
			resp.Header.Write(all)
			if resp.StatusCode != tt.status || !strings.Contains(all.String()+body, tt.has) {
				t.Errorf("%s %s %v = %d, want %d with %q\n%s%.300s", tt.method, tt.path, tt.header, resp.StatusCode, tt.status, tt.has, all, body)
			}
		})
	}
	for _, r := range w.app.requests() {
		if !strings.HasPrefix(r.URL.Path, "/public") {
			t.Errorf("the application saw %s %s from nobody", r.Method, r.URL)
		}
	}
}

func TestLostForm(t *testing.T) {
	w := found(t, demo.Options{})
	same := []string{asBrowser, "Sec-Fetch-Site: same-origin", "Content-Type: application/x-www-form-urlencoded"}
	_, body := w.ask(nil, "POST", "/form?step=2", "note=%3Cb%3Ekept+text&b=2", same...)
	for _, want := range []string{"&lt;b&gt;kept text", `name="note"`, "/form?step=2"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	foreign := []string{asBrowser, "Sec-Fetch-Site: cross-site", "Content-Type: application/x-www-form-urlencoded"}
	if _, body = w.ask(nil, "POST", "/form", "note=planted", foreign...); strings.Contains(body, "planted") {
		t.Error("a form from another site was kept: sent again it would pass as ours")
	}
	if _, body = w.ask(nil, "POST", "/form", "note="+strings.Repeat("x", 70_000), same...); strings.Contains(body, "xxxx") {
		t.Error("a form over 64 KiB was kept in part")
	}
	if _, body = w.ask(nil, "POST", "//evil.example/form", "note=1", same...); strings.Contains(body, `action="//evil`) {
		t.Error("the kept form would go to another site")
	}
	multipart := "--b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\ntext\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nfile\r\n--b--\r\n"
	if _, body = w.ask(nil, "POST", "/form", multipart, asBrowser, "Sec-Fetch-Site: same-origin", "Content-Type: multipart/form-data; boundary=b"); !strings.Contains(body, "a.txt") || !strings.Contains(body, "ZmlsZQ==") {
		t.Errorf("a form with a file was not kept: %.200s", body)
	}
	if len(w.app.requests()) != 0 {
		t.Error("a form of nobody's reached the application")
	}
}

func TestNotAllowed(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SIGNIN_ALLOWED_GROUPS=doctors")
	doc, page := w.testdoc("/")
	if page.Status != http.StatusForbidden || !strings.Contains(page.Body, "Test Doctor") && !strings.Contains(page.Body, "testdoc") {
		t.Errorf("arrived with %d, want 403 that says who", page.Status)
	}
	if resp, _ := w.ask(doc, "GET", "/auth/me", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("GET /auth/me = %d, want 401", resp.StatusCode)
	}
	if len(w.app.requests()) != 0 {
		t.Error("somebody who may not enter reached the application")
	}
}

func TestForbiddenRoute(t *testing.T) {
	w := found(t, demo.Options{}, `ANTEROOM_ROUTES=[{path: /admin, allow: {groups: [admin]}}]`)
	doc, _ := w.testdoc("/")
	if resp, _ := w.ask(doc, "GET", "/admin/", "", asBrowser); resp.StatusCode != http.StatusForbidden {
		t.Errorf("GET /admin/ = %d, want 403", resp.StatusCode)
	}
	if resp, body := w.ask(doc, "GET", "/admin/", "", asProgram); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "not_allowed") {
		t.Errorf("GET /admin/ by a program = %d %s, want a 403 problem", resp.StatusCode, body)
	}
}

// TestNothingLeaks plants canaries in every credential and personal detail and
// looks for them in all that is written down.
func TestNothingLeaks(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_TELEMETRY_LOG_LEVEL=debug")
	doc, _ := w.testdoc("/?secret=canary-query")
	w.ask(doc, "GET", "/auth/callback?code=canary-code&state=canary-state", "", asBrowser)
	w.ask(doc, "GET", "/x", "", "Authorization: Bearer canary-bearer", "Cookie: anteroom=canary-cookie")
	_, metrics := get(t, w.admin+"/metrics")
	var cookies []string
	r, _ := http.NewRequest("GET", w.site, nil)
	for _, c := range doc.Client.Jar.Cookies(r.URL) {
		cookies = append(cookies, c.Value)
	}
	w.signOut(doc)
	w.stop()
	all := w.log.String() + w.audit.String() + metrics
	for _, canary := range append(cookies, demo.DefaultClientSecret, demo.DefaultPassword, "testdoc@example.com", "Test Doctor", "canary") {
		if strings.Contains(all, canary) {
			t.Errorf("%q is written down", canary)
		}
	}
	for _, r := range w.app.requests() {
		if jwt := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); jwt != "" && strings.Contains(all, jwt) {
			t.Error("an identity JWT is written down")
		}
		if strings.Contains(r.Header.Get("Cookie"), "anteroom") {
			t.Errorf("the application saw our cookie: %s", r.Header.Get("Cookie"))
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestNextcloudDown: Anteroom starts, says what is not ready, refuses politely
// and recovers alone.
func TestNextcloudDown(t *testing.T) {
	w := found(t, demo.Options{})
	doc, _ := w.testdoc("/")
	w.cloud.SetDown(true)
	if resp, _ := w.ask(doc, "GET", "/headers", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("a known session while Nextcloud is down = %d, want 200", resp.StatusCode)
	}
	w.cloud.SetDown(false)
	w.cloud.SetMaintenance(true)
	if resp, _ := w.ask(doc, "GET", "/headers", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("a known session during maintenance = %d, want 200", resp.StatusCode)
	}
}

func TestConcurrentSignIns(t *testing.T) {
	w := found(t, demo.Options{})
	people := [][2]string{{"testdoc", "testdoc123"}, {"nurse", "nurse123"}, {"admin", "admin_dev_password"}}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			who := people[i%len(people)]
			p := person.New(map[string]string{"user": who[0], "password": who[1]})
			page, err := p.Open(w.site + "/")
			for err == nil && !strings.HasPrefix(page.URL.String(), w.site) {
				page, err = p.Next(page)
			}
			if err != nil {
				t.Errorf("%s: %v", who[0], err)
				return
			}
			if _, body := w.ask(p, "GET", "/auth/me", ""); !strings.Contains(body, fmt.Sprintf(`"sub":%q`, who[0])) {
				t.Errorf("%s signed in as %s", who[0], body)
			}
		})
	}
	wg.Wait()
}

// TestTabsAtOnce: tabs that start at the same moment each set the one cookie,
// and only the last has it. The others start anew by themselves.
func TestTabsAtOnce(t *testing.T) {
	w := found(t, demo.Options{})
	first, _ := w.ask(nil, "GET", "/auth/login?return_to=/headers?tab=1", "", asBrowser)
	doc := person.New(map[string]string{"user": demo.DefaultUser, "password": demo.DefaultPassword})
	doc.Header = http.Header{"Sec-Fetch-Mode": {"navigate"}}
	if _, err := doc.Open(w.site + "/?tab=2"); err != nil { // now at Nextcloud's form, with the second tab's cookie
		t.Fatal(err)
	}
	page, err := doc.Open(first.Header.Get("Location"))
	for err == nil && !strings.HasPrefix(page.URL.String(), w.site) {
		page, err = doc.Next(page)
	}
	if err != nil || page.Status != http.StatusOK || page.URL.RequestURI() != "/headers?tab=1" {
		t.Fatalf("the first tab ended at %v with %d, %v, want where it wanted to go", page.URL, page.Status, err)
	}
}
