package demo

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	callback = "http://localhost:8000/auth/callback"
	hsClient = "HS256Client00000000000000000000000000000000000000000000000000abc"
	tokenURL = "/index.php/apps/oauth2/api/v1/token"
	oidcURL  = "/index.php/apps/oidc/token"
	userURL  = "/ocs/v2.php/cloud/user?format=json"
)

// clock is a time that moves by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// server is a pretend Nextcloud on a socket, at a time of its own.
type server struct {
	*Nextcloud
	t     *testing.T
	url   string
	clock *clock
}

func serve(t *testing.T, o Options) *server {
	t.Helper()
	c := &clock{now: time.Now()}
	if o.Now == nil {
		o.Now = c.Now
	}
	if o.Clients == nil {
		o.Clients = append(DefaultClients(), Client{ID: hsClient, Secret: DefaultClientSecret, Name: "HS256", RedirectURIs: []string{callback}, HS256: true})
	}
	n := NewNextcloud(o)
	s := httptest.NewServer(n)
	t.Cleanup(s.Close)
	return &server{Nextcloud: n, t: t, url: s.URL, clock: c}
}

// browser is a cookie jar and no redirects followed.
type browser struct {
	*http.Client
	t   *testing.T
	url string
}

func (s *server) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{Client: &http.Client{Jar: jar, CheckRedirect: stay, Timeout: 20 * time.Second}, t: s.t, url: s.url}
}

// answer is a response read to its end.
type answer struct {
	*http.Response
	body string
}

func (a answer) location() string { return a.Header.Get("Location") }

// value finds something in the body.
func (a answer) value(t *testing.T, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("body has no %s:\n%s", pattern, a.body)
	}
	return strings.ReplaceAll(m[1], "&amp;", "&")
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("reading %q: %v", a.body, err)
	}
	return v
}

// do sends a request; headers are pairs. A path without host goes to the server.
func (b *browser) do(method, target, body string, headers ...string) answer {
	b.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = b.url + target
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := b.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{res, string(data)}
}

func (b *browser) get(target string, headers ...string) answer {
	b.t.Helper()
	return b.do("GET", target, "", append([]string{"Accept", "text/html,*/*;q=0.8"}, headers...)...)
}

func (b *browser) post(target string, form url.Values, headers ...string) answer {
	b.t.Helper()
	return b.do("POST", target, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

// login fills in the login form that an address leads to.
func (b *browser) login(form answer, user, password string) answer {
	b.t.Helper()
	return b.post("/index.php/login", values("user", user, "password", password,
		"requesttoken", form.value(b.t, `name="requesttoken" value="([^"]+)"`),
		"redirect_url", form.value(b.t, `name="redirect_url" value="([^"]*)"`)))
}

// oauthCode runs the built-in OAuth2's pages to the redirect URI.
func (b *browser) oauthCode(user, password string, extra ...string) string {
	b.t.Helper()
	q := values(append([]string{"response_type", "code", "client_id", DefaultClientID, "state", "s1"}, extra...)...)
	a := b.get("/index.php/apps/oauth2/authorize?" + q.Encode())
	a = b.get(b.get(a.location()).value(b.t, `id="login" href="([^"]+)"`))
	if a.StatusCode == http.StatusSeeOther {
		a = b.get(b.login(b.get(a.location()), user, password).location())
	}
	a = b.grant(a)
	return queryOf(b.t, a.location()).Get("code")
}

func (b *browser) grant(page answer) answer {
	b.t.Helper()
	form := url.Values{}
	for _, name := range []string{"clientIdentifier", "stateToken", "requesttoken", "oauthState"} {
		form.Set(name, page.value(b.t, `name="`+name+`" value="([^"]*)"`))
	}
	return b.post("/index.php/login/flow", form)
}

// oidcCode runs the oidc app's pages to the redirect URI.
func (b *browser) oidcCode(user, password string, pairs ...string) string {
	b.t.Helper()
	q := values(append([]string{"response_type", "code", "client_id", DefaultClientID, "redirect_uri", callback, "state", "s1",
		"scope", "openid profile email groups roles"}, pairs...)...)
	a := b.get("/index.php/apps/oidc/authorize?" + q.Encode())
	if strings.HasPrefix(a.location(), "/index.php/login") {
		a = b.get(b.login(b.get(a.location()), user, password).location())
		a = b.get(a.value(b.t, `id="continue" href="([^"]+)"`))
	}
	return queryOf(b.t, a.location()).Get("code")
}

func queryOf(t *testing.T, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// exchange redeems a code, refresh one refresh token, each without a jar.
func (s *server) exchange(endpoint, code string, pairs ...string) answer {
	s.t.Helper()
	return s.browser().post(endpoint, values(append([]string{"grant_type", "authorization_code", "code", code,
		"client_id", DefaultClientID, "client_secret", DefaultClientSecret}, pairs...)...))
}

func (s *server) refresh(endpoint, token string, pairs ...string) answer {
	s.t.Helper()
	return s.browser().post(endpoint, values(append([]string{"grant_type", "refresh_token", "refresh_token", token,
		"client_id", DefaultClientID, "client_secret", DefaultClientSecret}, pairs...)...))
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
	Expires int    `json:"expires_in"`
	User    string `json:"user_id"`
}

func (a answer) tokens(t *testing.T) (v tokens) {
	t.Helper()
	if a.StatusCode != http.StatusOK {
		t.Fatalf("token endpoint = %s %s, want 200", a.Status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// oauthTokens and oidcTokens sign testdoc in and redeem the code.
func (s *server) oauthTokens() tokens {
	s.t.Helper()
	return s.exchange(tokenURL, s.browser().oauthCode(DefaultUser, DefaultPassword)).tokens(s.t)
}

func (s *server) oidcTokens(pairs ...string) tokens {
	s.t.Helper()
	return s.exchange(oidcURL, s.browser().oidcCode(DefaultUser, DefaultPassword, pairs...)).tokens(s.t)
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func wantError(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if got := a.json(t)["error"]; a.StatusCode != status || got != code {
		t.Errorf("answer = %d %v, want %d %s", a.StatusCode, got, status, code)
	}
}

func wantStatus(t *testing.T, a answer, status int) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("answer = %d %s, want %d", a.StatusCode, a.body, status)
	}
}
