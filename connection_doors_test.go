package main

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/test/person"
	"anteroom/test/redistest"
)

// grants puts Login Flow v2 in front of the pretend Nextcloud. What is granted
// is an app password of its own making.
type grants struct {
	cloud *demo.Nextcloud

	mu      sync.Mutex
	flows   map[string][2]string // guarded by mu: login name and app password by poll token; empty for not yet
	login   string               // guarded by mu: the last flow's, where it is granted
	token   string               // guarded by mu: and its poll token
	secrets []string             // guarded by mu: all that must show nowhere
	agent   string               // guarded by mu: who asked
	host    string               // guarded by mu: what Nextcloud calls itself; "" for what it is called
	down    bool                 // guarded by mu
}

func (g *grants) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	const at = "/index.php/login/v2"
	host := cmp.Or(g.host, r.Host)
	if g.down {
		panic(http.ErrAbortHandler)
	}
	switch r.Method + " " + r.URL.Path {
	case "POST " + at:
		g.token, g.agent = rand.Text()+rand.Text(), r.UserAgent()
		g.login = "http://" + host + at + "/flow/" + rand.Text()
		g.flows[g.token] = [2]string{}
		g.secrets = append(g.secrets, g.token, g.login[strings.LastIndex(g.login, "/")+1:])
		json.NewEncoder(w).Encode(map[string]any{"poll": map[string]string{"token": g.token, "endpoint": "http://" + host + at + "/poll"}, "login": g.login})
	case "POST " + at + "/poll":
		is := g.flows[r.FormValue("token")]
		if is[0] == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		delete(g.flows, r.FormValue("token"))
		json.NewEncoder(w).Encode(map[string]string{"loginName": is[0], "appPassword": is[1]})
	default:
		g.mu.Unlock()
		defer g.mu.Lock()
		g.cloud.ServeHTTP(w, r)
	}
}

// connectingTown is a town in which people reach their own files.
func connectingTown(t *testing.T, o demo.Options, env ...string) (*town, *grants) {
	t.Helper()
	g := &grants{cloud: demo.NewNextcloud(o), flows: map[string][2]string{}}
	front := httptest.NewServer(g)
	t.Cleanup(front.Close)
	addr := freeAddr(t)
	site := "http://localhost" + addr[strings.LastIndex(addr, ":"):]
	w := &town{T: t, site: site, log: &output{}, audit: &output{}, cloud: g.cloud, cloudURL: front.URL}
	g.cloud.AddRedirectURI(demo.DefaultClientID, site+"/auth/callback")
	w.start(append([]string{
		"NEXTCLOUD_BASE_URL=" + front.URL, "NEXTCLOUD_CLIENT_ID=" + demo.DefaultClientID, "NEXTCLOUD_CLIENT_SECRET=" + demo.DefaultClientSecret,
		"NEXTCLOUD_REDIRECT_URI=" + site + "/auth/callback", "ANTEROOM_UPSTREAM=" + front.URL,
		"ANTEROOM_SERVER_LISTEN=" + addr, "ANTEROOM_SERVER_ADMIN_LISTEN=127.0.0.1:0",
		"ANTEROOM_TELEMETRY_LOG_LEVEL=debug", "ANTEROOM_INTEGRATIONS_WEBDAV_CREDENTIAL=user",
	}, env...))
	return w, g
}

// grant is what somebody does at Nextcloud in the other tab.
func (g *grants) grant(t *testing.T, uid, password string) {
	t.Helper()
	r := httptest.NewRequest("GET", "http://localhost/ocs/v2.php/core/getapppassword?format=json", nil)
	r.SetBasicAuth(uid, password)
	r.Header.Set("OCS-APIRequest", "true")
	rec := httptest.NewRecorder()
	g.cloud.ServeHTTP(rec, r)
	var said struct {
		OCS struct{ Data struct{ AppPassword string } }
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &said); err != nil || said.OCS.Data.AppPassword == "" {
		t.Fatalf("no app password for %s: %s", uid, rec.Body)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flows[g.token] = [2]string{uid, said.OCS.Data.AppPassword}
	g.secrets = append(g.secrets, said.OCS.Data.AppPassword)
}

// accepts reports whether an app password that was granted opens anything.
func (g *grants) accepts(uid string) bool {
	g.mu.Lock()
	secret := g.secrets[len(g.secrets)-1]
	g.mu.Unlock()
	r := httptest.NewRequest("GET", "http://localhost/ocs/v2.php/cloud/user?format=json", nil)
	r.SetBasicAuth(uid, secret)
	r.Header.Set("OCS-APIRequest", "true")
	rec := httptest.NewRecorder()
	g.cloud.ServeHTTP(rec, r)
	return rec.Code == http.StatusOK
}

// connection is what programs read of it.
type connection struct {
	State, Login   string
	LoginName      string `json:"login_name"`
	Expires, Since *time.Time
	Left           bool `json:"left_at_nextcloud"`
}

const (
	connectDoor    = "/auth/nextcloud/connect"
	disconnectDoor = "/auth/nextcloud/disconnect"
)

// connection asks a door as a program.
func (w *town) connection(p *person.Person, method, door string) (c connection) {
	w.Helper()
	resp, body := w.ask(p, method, door, "", asProgram, "Origin: "+w.site)
	if err := json.Unmarshal([]byte(body), &c); err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" {
		w.Fatalf("%s %s = %d %s", method, door, resp.StatusCode, body)
	}
	return c
}

// files asks for the list of testdoc's files.
func (w *town) files(p *person.Person) (int, string) {
	w.Helper()
	resp, body := w.ask(p, "PROPFIND", "/dav/files/testdoc/", "", "Depth: 0", "Origin: "+w.site)
	return resp.StatusCode, body
}

// silent stops the program and checks that no secret was written down.
func (w *town) silent(g *grants) {
	w.Helper()
	_, metrics := get(w.T, w.admin+"/metrics")
	w.stop()
	all := w.log.String() + w.audit.String() + metrics
	for _, secret := range g.secrets {
		if strings.Contains(all, secret) {
			w.Errorf("%.6s… is written down", secret)
		}
	}
}

func TestConnecting(t *testing.T) {
	w, g := connectingTown(t, demo.Options{OIDC: demo.OIDC20})
	doc := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	if status, body := w.files(doc); status != http.StatusForbidden || !strings.Contains(body, "nextcloud_not_connected") {
		t.Fatalf("files before = %d %s, want 403 nextcloud_not_connected", status, body)
	}
	_, page := w.ask(doc, "GET", "/auth/", "", asBrowser)
	if !strings.Contains(page, `action="`+connectDoor+`"`) || strings.Contains(page, disconnectDoor) {
		t.Error("the account page does not offer to connect")
	}
	resp, _ := w.ask(doc, "GET", connectDoor, "", asBrowser)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/auth/#connection" {
		t.Errorf("looking before anything began = %d to %q, want the account page", resp.StatusCode, resp.Header.Get("Location"))
	}
	resp, _ = w.ask(doc, "POST", connectDoor, "", asBrowser, "Origin: "+w.site)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != connectDoor {
		t.Fatalf("POST %s = %d to %q, want the page that waits", connectDoor, resp.StatusCode, resp.Header.Get("Location"))
	}
	resp, page = w.ask(doc, "GET", connectDoor, "", asBrowser)
	if resp.StatusCode != http.StatusOK || !strings.Contains(page, `href="`+g.login+`" target="_blank"`) || !strings.Contains(page, "data-follow") {
		t.Errorf("the page that waits = %d %s", resp.StatusCode, page)
	}
	if want := "Anteroom (" + strings.TrimPrefix(w.site, "http://") + ")"; g.agent != want {
		t.Errorf("Nextcloud calls the device %q, want %q", g.agent, want)
	}
	if c := w.connection(doc, "GET", connectDoor); c.State != "pending" || c.Login != g.login || c.Expires == nil {
		t.Errorf("while it waits: %+v", c)
	}
	if w.lines("connect") != 0 {
		t.Error("connected before it was granted")
	}
	g.grant(t, demo.DefaultUser, demo.DefaultPassword)
	for range 2 {
		if c := w.connection(doc, "GET", connectDoor); c.State != "connected" || c.LoginName != demo.DefaultUser || c.Since == nil || c.Login != "" {
			t.Errorf("granted: %+v", c)
		}
	}
	if _, page = w.ask(doc, "GET", "/auth/", "", asBrowser); !strings.Contains(page, "as testdoc.") || !strings.Contains(page, `action="`+disconnectDoor+`"`) {
		t.Error("the account page does not tell that testdoc is connected")
	}
	if status, body := w.files(doc); status != http.StatusMultiStatus {
		t.Errorf("files = %d %s, want 207", status, body)
	}
	resp, _ = w.ask(doc, "POST", disconnectDoor, "", asBrowser, "Origin: "+w.site)
	if resp.StatusCode != http.StatusSeeOther || g.accepts(demo.DefaultUser) {
		t.Errorf("disconnecting = %d; Nextcloud still accepts the password: %t", resp.StatusCode, g.accepts(demo.DefaultUser))
	}
	if status, _ := w.files(doc); status != http.StatusForbidden {
		t.Errorf("files afterwards = %d, want 403", status)
	}
	if c := w.connection(doc, "POST", disconnectDoor); c.State != "none" || c.Left {
		t.Errorf("disconnecting once more: %+v", c)
	}
	if w.lines("connect") != 1 || w.lines("disconnect") != 1 || w.lines("connect_refused") != 0 {
		t.Errorf("audit lines:\n%s", w.audit)
	}
	w.silent(g)
}

// TestConnectingAsAnother: a grant of somebody else's connects nobody.
func TestConnectingAsAnother(t *testing.T) {
	w, g := connectingTown(t, demo.Options{})
	doc := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	if c := w.connection(doc, "POST", connectDoor); c.State != "pending" {
		t.Fatalf("begun: %+v", c)
	}
	g.grant(t, "nurse", "nurse123")
	if c := w.connection(doc, "GET", connectDoor); c.State != "refused" || c.Left {
		t.Errorf("granted by the nurse: %+v", c)
	}
	for range 2 {
		resp, page := w.ask(doc, "GET", connectDoor, "", asBrowser)
		if resp.StatusCode != http.StatusOK || !strings.Contains(page, "That was another account") || strings.Contains(page, "data-follow") {
			t.Errorf("the page = %d %s", resp.StatusCode, page)
		}
	}
	if status, _ := w.files(doc); status != http.StatusForbidden || g.accepts("nurse") || w.lines("connect_refused") != 1 || w.lines("connect") != 0 {
		t.Errorf("files = %d; Nextcloud still accepts the nurse's password: %t\n%s", status, g.accepts("nurse"), w.audit)
	}
	w.silent(g)
}

// TestDisconnectedAtNextcloud: what the person deletes there is forgotten here
// with its first use.
func TestDisconnectedAtNextcloud(t *testing.T) {
	w, g := connectingTown(t, demo.Options{})
	doc := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	w.connection(doc, "POST", connectDoor)
	g.grant(t, demo.DefaultUser, demo.DefaultPassword)
	w.connection(doc, "GET", connectDoor)
	if status, _ := w.files(doc); status != http.StatusMultiStatus {
		t.Fatalf("files = %d, want 207", status)
	}
	w.cloud.RevokeAll(demo.DefaultUser)
	if status, body := w.files(doc); status != http.StatusForbidden || !strings.Contains(body, "nextcloud_not_connected") {
		t.Errorf("files with a dead password = %d %s, want 403 nextcloud_not_connected", status, body)
	}
	if _, page := w.ask(doc, "GET", "/auth/", "", asBrowser); !strings.Contains(page, `action="`+connectDoor+`"`) {
		t.Error("the account page does not offer to connect again")
	}
	if w.lines("disconnect") != 1 || !strings.Contains(w.audit.String(), `"event":"disconnect","sub":"testdoc","reason":"refused_by_nextcloud"`) {
		t.Errorf("audit lines:\n%s", w.audit)
	}
	w.silent(g)
}

// TestConnectingIsNotPossible: whose fault it is, and that nobody was signed out.
// TestPagesOfConnections: a page leads to where a connection is made, where one
// is needed, and says where the sign-in opens the same.
func TestPagesOfConnections(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_INTEGRATIONS_WEBDAV_CREDENTIAL=user")
	doc, _ := w.testdoc("/")
	resp, body := w.ask(doc, "GET", "/dav/files/testdoc/", "", asBrowser)
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, `href="`+w.site+`/auth/#connection"`) {
		t.Errorf("without a connection = %d %s, want 403 with a link to the account page", resp.StatusCode, body)
	}
	w = found(t, demo.Options{OIDC: demo.NoOIDC}, "ANTEROOM_INTEGRATIONS_WEBDAV_CREDENTIAL=user")
	doc, _ = w.testdoc("/")
	if status, body := w.files(doc); status != http.StatusMultiStatus {
		t.Errorf("by built-in OAuth2, without a connection = %d %s, want 207", status, body)
	}
	if _, body := w.ask(doc, "GET", "/auth/", "", asBrowser); !strings.Contains(body, "through this site already") || !strings.Contains(body, connectDoor) {
		t.Errorf("account page = %s, want it to say that the sign-in opens their files already", body)
	}
}

// TestSignedOutThere: who comes back from the provider's own sign-out is not
// told to sign out there, too.
func TestSignedOutThere(t *testing.T) {
	w := found(t, demo.Options{OIDC: demo.OIDC20})
	for path, want := range map[string]bool{"/auth/logout": true, "/auth/logout?state=x": false} {
		if _, body := w.ask(nil, "GET", path, "", asBrowser); strings.Contains(body, "still be signed in at Nextcloud") != want {
			t.Errorf("%s says that they may be signed in at Nextcloud: %v, want %v", path, !want, want)
		}
	}
}

func TestConnectingIsNotPossible(t *testing.T) {
	w, g := connectingTown(t, demo.Options{})
	doc := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	for name, tt := range map[string]struct {
		set    func()
		status int
		reason string
		words  string
	}{
		"away":           {func() { g.down = true }, 503, "provider_unavailable", "Your connection cannot be reached"},
		"another's name": {func() { g.down, g.host = false, "evil.example" }, 502, "nextcloud_answer_unusable", "Something went wrong here"},
	} {
		g.mu.Lock()
		g.down, g.host = false, ""
		tt.set()
		g.mu.Unlock()
		resp, body := w.ask(doc, "POST", connectDoor, "", asProgram, "Origin: "+w.site)
		if resp.StatusCode != tt.status || !strings.Contains(body, `"reason":"`+tt.reason+`"`) || (resp.Header.Get("Retry-After") != "") != (tt.status == 503) {
			t.Errorf("%s: a program is told %d %s, want %d %s", name, resp.StatusCode, body, tt.status, tt.reason)
		}
		resp, body = w.ask(doc, "POST", connectDoor, "", asBrowser, "Origin: "+w.site)
		if resp.StatusCode != tt.status || !strings.Contains(body, tt.words) {
			t.Errorf("%s: a person is told %d %s, want %d %q", name, resp.StatusCode, body, tt.status, tt.words)
		}
	}
	if !w.signedIn(doc) {
		t.Error("somebody was signed out")
	}
	if w.silent(g); !strings.Contains(w.log.String(), "overwriteprotocol") {
		t.Errorf("the log does not say what to look at:\n%s", w.log)
	}
}

func TestConnectingWhileNextcloudIsAway(t *testing.T) {
	w, g := connectingTown(t, demo.Options{})
	doc := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	w.connection(doc, "POST", connectDoor)
	g.grant(t, demo.DefaultUser, demo.DefaultPassword)
	w.connection(doc, "GET", connectDoor)
	w.cloud.SetDown(true)
	if c := w.connection(doc, "GET", connectDoor); c.State != "connected" {
		t.Errorf("looking meanwhile: %+v", c)
	}
	resp, page := w.ask(doc, "POST", disconnectDoor, "", asBrowser, "Origin: "+w.site)
	if resp.StatusCode != http.StatusOK || !strings.Contains(page, "One thing is left to do") || !strings.Contains(page, w.cloudURL+"/index.php/settings/user/security") {
		t.Errorf("disconnecting meanwhile = %d %s", resp.StatusCode, page)
	}
	w.cloud.SetDown(false)
	if status, _ := w.files(doc); status != http.StatusForbidden || w.lines("disconnect") != 1 || !strings.Contains(w.audit.String(), "left_at_nextcloud") {
		t.Errorf("files afterwards = %d, want 403\n%s", status, w.audit)
	}
	w.silent(g)
}

func TestConnectingIsGuarded(t *testing.T) {
	w, _ := connectingTown(t, demo.Options{})
	doc := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	for _, door := range []string{connectDoor, disconnectDoor} {
		for name, tt := range map[string]struct {
			who    *person.Person
			method string
			header []string
			status int
		}{
			"foreign":         {doc, "POST", []string{"Origin: https://evil.example"}, 403},
			"cross-site":      {doc, "POST", []string{"Sec-Fetch-Site: cross-site"}, 403},
			"nobody":          {nil, "POST", []string{asProgram}, 401},
			"nobody, browser": {nil, "POST", []string{asBrowser}, 401},
			"PUT":             {doc, "PUT", nil, 405},
		} {
			if resp, body := w.ask(tt.who, tt.method, door, "", tt.header...); resp.StatusCode != tt.status {
				t.Errorf("%s, %s = %d, want %d\n%s", door, name, resp.StatusCode, tt.status, body)
			}
		}
	}
	if resp, _ := w.ask(doc, "GET", disconnectDoor, "", asBrowser); resp.StatusCode != 405 {
		t.Errorf("GET %s = %d, want 405", disconnectDoor, resp.StatusCode)
	}
	if c := w.connection(doc, "GET", connectDoor); c.State != "none" {
		t.Errorf("a refused request began something: %+v", c)
	}
	plain := found(t, demo.Options{})
	doc = plain.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	resp, body := plain.ask(doc, "POST", connectDoor, "", asProgram, "Origin: "+plain.site)
	if _, page := plain.ask(doc, "GET", "/auth/", "", asBrowser); resp.StatusCode != 404 || !strings.Contains(body, "nothing_to_connect") || strings.Contains(page, connectDoor) {
		t.Errorf("where nothing uses it: %d %s", resp.StatusCode, body)
	}
}

// TestConnectingAtReplicas: what begins at one finishes at another, in a Redis
// that can read none of it, and outlives them both.
func TestConnectingAtReplicas(t *testing.T) {
	redis := redistest.Start(t, redistest.Options{})
	w, g := connectingTown(t, demo.Options{}, "ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_REDIS_URL="+redis.URL(),
		"ANTEROOM_SESSION_KEYS=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	other := &town{T: t, cloud: w.cloud, log: &output{}, audit: &output{}}
	addr := freeAddr(t)
	other.site = "http://localhost" + addr[strings.LastIndex(addr, ":"):]
	other.start(append(slices.DeleteFunc(slices.Clone(w.env), func(v string) bool { return strings.HasPrefix(v, "ANTEROOM_SERVER_LISTEN=") }), "ANTEROOM_SERVER_LISTEN="+addr))
	host := "Host: " + strings.TrimPrefix(w.site, "http://") // browsers know one site
	doc := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	if c := w.connection(doc, "POST", connectDoor); c.State != "pending" {
		t.Fatalf("begun: %+v", c)
	}
	var kept strings.Builder
	look := func() {
		for key := range strings.Lines(redis.CLI("keys", "*:r:*")) {
			key = strings.TrimSpace(key)
			kept.WriteString(key + redis.CLI("get", key))
		}
	}
	look()
	g.grant(t, demo.DefaultUser, demo.DefaultPassword)
	if _, body := other.ask(doc, "GET", connectDoor, "", asProgram, host); !strings.Contains(body, `"state":"connected"`) {
		t.Fatalf("finished at another replica: %s", body)
	}
	look()
	files := func(w *town) int {
		resp, _ := w.ask(doc, "PROPFIND", "/dav/files/testdoc/", "", "Depth: 0", host)
		return resp.StatusCode
	}
	if a, b := files(w), files(other); a != http.StatusMultiStatus || b != http.StatusMultiStatus || other.lines("connect") != 1 || w.lines("connect") != 0 {
		t.Errorf("files = %d and %d, want 207; audit lines:\n%s%s", a, b, w.audit, other.audit)
	}
	other.stop()
	other.start(other.env)
	if status := files(other); status != http.StatusMultiStatus {
		t.Errorf("files after a restart = %d, want 207", status)
	}
	if c := w.connection(doc, "POST", disconnectDoor); c.State != "none" || c.Left || files(w) != http.StatusForbidden || files(other) != http.StatusForbidden {
		t.Errorf("disconnected: %+v, files = %d and %d, want 403", c, files(w), files(other))
	}
	if n := strings.Count(kept.String(), ":r:"); n < 2 || strings.Contains(kept.String(), demo.DefaultUser) {
		t.Errorf("%d records in Redis, want two or more that name nobody", n)
	}
	for _, secret := range g.secrets {
		if strings.Contains(kept.String(), secret) {
			t.Errorf("%.6s… is in Redis", secret)
		}
	}
	other.silent(g)
	w.silent(g)
}
