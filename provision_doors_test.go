package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"anteroom/demo"
)

// receiver is an application's end of identity.provision.
type receiver struct {
	t    *testing.T
	url  string
	site func() string

	mu     sync.Mutex
	told   []map[string]any // guarded by mu; bodies
	keys   []string         // guarded by mu; Idempotency-Key
	tokens []string         // guarded by mu
	answer func(n int) (int, string, string)
}

// newReceiver answers the n-th request, from 1, with a status, a media type and
// a body.
func newReceiver(t *testing.T, answer func(n int) (status int, media, body string)) *receiver {
	r := &receiver{t: t, answer: answer}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.url = s.URL + "/internal/provision"
	return r
}

func (v *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var said map[string]any
	_ = json.Unmarshal(body, &said)
	v.mu.Lock()
	v.told = append(v.told, said)
	v.keys = append(v.keys, r.Header.Get("Idempotency-Key"))
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	v.tokens = append(v.tokens, token)
	status, media, answer := v.answer(len(v.told))
	v.mu.Unlock()
	if why := v.verify(token, body); why != "" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		v.t.Errorf("%s %s %q is not as promised: %s", r.Method, r.URL, r.Header, why)
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(status)
	io.WriteString(w, answer)
}

// verify does what docs/provision.md says.
func (v *receiver) verify(token string, body []byte) string {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err.Error()
	}
	resp, err := http.Get(v.site() + "/.well-known/jwks.json")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		return err.Error()
	}
	var std jwt.Claims
	var own struct {
		Body string `json:"body_sha256"`
	}
	keys := set.Key(parsed.Headers[0].KeyID)
	if len(keys) == 0 {
		return "unknown key"
	}
	if err := parsed.Claims(keys[0].Key, &std, &own); err != nil {
		return err.Error()
	}
	sum := sha256.Sum256(body)
	switch {
	case std.Issuer != v.site():
		return "issuer " + std.Issuer
	case !slices.Contains(std.Audience, v.url):
		return "audience"
	case own.Body != base64.RawURLEncoding.EncodeToString(sum[:]):
		return "body"
	case std.Expiry.Time().Sub(std.IssuedAt.Time()).Seconds() != 60:
		return "life"
	}
	return ""
}

// seen are the requests so far.
func (v *receiver) seen() (told []map[string]any, keys, tokens []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.told), slices.Clone(v.keys), slices.Clone(v.tokens)
}

func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestProvision: the application is told who signs in, verifiably, before they
// come, and its own id for them is the JWT's sub from then on.
func TestProvision(t *testing.T) {
	v := newReceiver(t, func(int) (int, string, string) { return 201, "application/json", `{"id":"va-17"}` })
	w := found(t, demo.Options{}, "ANTEROOM_IDENTITY_PROVISION_URL="+v.url, "ANTEROOM_INTEGRATIONS_WEBDAV_USERNAME=testdoc",
		"ANTEROOM_INTEGRATIONS_WEBDAV_PASSWORD="+demo.DefaultPassword, "ANTEROOM_INTEGRATIONS_WEBDAV_ALLOW=signed-in")
	v.site = func() string { return w.site }
	p, _ := w.testdoc("/headers")
	told, keys, tokens := v.seen()
	if len(told) != 1 || told[0]["nextcloud_id"] != "testdoc" || told[0]["email"] != "testdoc@example.com" || told[0]["name"] != "Test Doctor" || told[0]["id"] != nil || told[0]["signed_in_at"] == nil || keys[0] == "" {
		t.Fatalf("the application was told %v", told)
	}
	last := w.app.requests()[len(w.app.requests())-1]
	c := claimsOf(t, strings.TrimPrefix(last.Header.Get("Authorization"), "Bearer "))
	if c["sub"] != "va-17" || c["nextcloud_id"] != "testdoc" || last.Header.Get("X-Forwarded-User") != "testdoc" {
		t.Errorf("the application receives %v and X-Forwarded-User %q", c, last.Header.Get("X-Forwarded-User"))
	}
	if _, body := w.ask(p, "GET", "/auth/me", ""); !strings.Contains(body, `"sub":"testdoc","app_id":"va-17"`) {
		t.Errorf("/auth/me = %s", body)
	}
	// The JWT comes back: it is testdoc's, whatever its sub is.
	_, body := w.ask(p, "POST", "/auth/token", "", "Sec-Fetch-Site: same-origin")
	if _, me := w.ask(nil, "GET", "/integrations/people/me", "", "Authorization: Bearer "+w.tokenIn(body)); !strings.Contains(me, `"id":"testdoc"`) {
		t.Errorf("/integrations/people/me by the JWT = %s", me)
	}
	// What proves us to the application proves nothing here.
	if resp, _ := w.ask(nil, "GET", "/integrations/people/me", "", "Authorization: Bearer "+tokens[0]); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the provision JWT at our own door = %d, want 401", resp.StatusCode)
	}
	w.stop()
	if lines := w.audited("provision"); len(lines) != 1 || lines[0]["sub"] != "testdoc" || lines[0]["status"] != 200.0 {
		t.Errorf("audited as %v", lines)
	}
	if log := w.log.String() + w.audit.String(); strings.Contains(log, tokens[0]) || strings.Contains(log, "testdoc@example.com") {
		t.Error("the log has the JWT, or the mail address")
	}
}

// TestProvisionAnswers: what an application may answer, and what comes of it.
func TestProvisionAnswers(t *testing.T) {
	always := func(status int, media, body string) func(int) (int, string, string) {
		return func(int) (int, string, string) { return status, media, body }
	}
	const js = "application/json"
	for _, tc := range []struct {
		name      string
		answer    func(int) (int, string, string)
		onFailure string
		want      int    // of the page that the person arrives at
		sub       string // of the JWT; "" where nobody came in
		asked     int
	}{
		{"the same id", always(200, js, `{"id":"va-17"}`), "refuse", 200, "va-17", 1},
		{"a number", always(200, js+"; charset=utf-8", `{"id":17,"created":false}`), "refuse", 200, "17", 1},
		{"errors, then an id", func(n int) (int, string, string) {
			return []int{500, 429, 201}[n-1], js, `{"id":"va-17"}`
		}, "refuse", 200, "va-17", 3},
		{"not wanted", always(403, js, `{}`), "refuse", 403, "", 1},
		{"not wanted, whatever happens", always(403, js, `{}`), "continue", 403, "", 1},
		{"errors", always(503, js, `{}`), "refuse", 503, "", 4},
		{"errors, and going on", always(503, js, `{}`), "continue", 200, "testdoc", 4},
		{"bad request", always(400, js, `{}`), "refuse", 503, "", 1},
		{"a redirect", always(302, js, ``), "refuse", 503, "", 1},
		{"a page", always(200, "text/html", `{"id":"va-17"}`), "refuse", 503, "", 1},
		{"no id", always(200, js, `{}`), "refuse", 503, "", 1},
		{"an empty id", always(200, js, `{"id":""}`), "refuse", 503, "", 1},
		{"an id with a line break", always(200, js, `{"id":"a\nb"}`), "refuse", 503, "", 1},
		{"an id that is none", always(200, js, `{"id":{"a":1}}`), "refuse", 503, "", 1},
		{"a long id", always(200, js, `{"id":"`+strings.Repeat("x", 256)+`"}`), "refuse", 503, "", 1},
		{"a huge answer", always(200, js, `{"id":"a","x":"`+strings.Repeat("x", 1<<20)+`"}`), "refuse", 503, "", 1},
		{"no JSON", always(200, js, `va-17`), "refuse", 503, "", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := newReceiver(t, tc.answer)
			w := found(t, demo.Options{}, "ANTEROOM_IDENTITY_PROVISION_URL="+v.url, "ANTEROOM_IDENTITY_PROVISION_ON_FAILURE="+tc.onFailure)
			v.site = func() string { return w.site }
			p, page := w.testdoc("/headers")
			if page.Status != tc.want {
				t.Errorf("arrived with %d, want %d: %.300s", page.Status, tc.want, page.Body)
			}
			told, keys, _ := v.seen()
			slices.Sort(keys)
			if len(told) != tc.asked || len(slices.Compact(keys)) != 1 {
				t.Errorf("asked %d times with the keys %v, want %d times with one", len(told), keys, tc.asked)
			}
			if tc.sub == "" {
				if resp, _ := w.ask(p, "GET", "/auth/me", ""); resp.StatusCode != http.StatusUnauthorized || len(w.app.requests()) > 0 {
					t.Errorf("/auth/me = %d after %d requests to the application, want nobody in", resp.StatusCode, len(w.app.requests()))
				}
				return
			}
			last := w.app.requests()[len(w.app.requests())-1]
			if c := claimsOf(t, strings.TrimPrefix(last.Header.Get("Authorization"), "Bearer ")); c["sub"] != tc.sub || (c["nextcloud_id"] != nil) != (tc.sub != "testdoc") {
				t.Errorf("sub = %v beside nextcloud_id %v, want %s, beside it if it is the application's", c["sub"], c["nextcloud_id"], tc.sub)
			}
		})
	}
}
