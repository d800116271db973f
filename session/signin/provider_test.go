package signin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"anteroom/session"
)

const (
	testClient = "anteroom"
	testSite   = "http://site.example:8000"
)

// clock is a time that moves by hand.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time      { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) add(d time.Duration) { c.ahead.Add(int64(d)) }

func address(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// relyingParty makes one for a provider at base. change may be nil.
func relyingParty(t testing.TB, base string, change func(*Config, *Options)) *RelyingParty {
	t.Helper()
	codec, err := session.NewCodec(nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Provider: kindOIDC, ClientID: testClient, ClientSecret: "secret",
		Claims: Claims{User: "sub", Username: "preferred_username", Name: "name", Email: "email", Groups: "groups"}}
	o := Options{Nextcloud: address(t, base), Public: address(t, testSite), Client: &http.Client{}, Codec: codec,
		Cookies: session.NewCookies(session.CookieConfig{Name: "anteroom"}, false), Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg, &o)
	}
	p, err := New(cfg, o)
	if err != nil {
		t.Fatalf("New = %v, want nil", err)
	}
	return p
}

// found has a relying party find its provider.
func found(t testing.TB, p *RelyingParty) *RelyingParty {
	t.Helper()
	v, err := p.discover(t.Context())
	if err != nil {
		t.Fatalf("discover = %v, want nil", err)
	}
	p.adopt(v)
	return p
}

// browser keeps the cookies of one relying party and follows nothing.
type browser struct {
	p   *RelyingParty
	jar map[string]string
}

func newBrowser(p *RelyingParty) *browser { return &browser{p, map[string]string{}} }

func (b *browser) request(to string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, to, nil)
	for name, value := range b.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r
}

func (b *browser) keep(w *httptest.ResponseRecorder) {
	for _, c := range w.Result().Cookies() {
		if b.jar[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.jar, c.Name)
		}
	}
}

// start begins a sign-in and returns where the browser is sent.
func (b *browser) start(returnTo string) (url.Values, error) {
	w := httptest.NewRecorder()
	err := b.p.Start(w, b.request(testSite+"/auth/login"), returnTo)
	b.keep(w)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(w.Header().Get("Location"))
	if err != nil {
		return nil, err
	}
	return u.Query(), nil
}

func (b *browser) finish(q url.Values) (Result, error) {
	return b.answer(b.request(testSite + "/auth/callback?" + q.Encode()))
}

func (b *browser) answer(r *http.Request) (Result, error) {
	w := httptest.NewRecorder()
	res, err := b.p.Finish(r)
	if err == nil {
		err = b.p.Completed(w, r)
	}
	b.keep(w)
	return res, err
}

// kindOf is an error's kind, "" for nil and "?" for one without.
func kindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Kind
	}
	return "?"
}

// hostile is an OpenID Connect provider that says what a test wants.
type hostile struct {
	URL    string
	tokens atomic.Int64 // calls of the token endpoint
	mu     sync.Mutex
	pages  map[string]http.HandlerFunc // guarded by mu
}

var hostileKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// newHostile starts one that is honest so far; metadata is added to its
// discovery document.
func newHostile(t testing.TB, metadata map[string]any) *hostile {
	h := &hostile{pages: map[string]http.HandlerFunc{}}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	h.URL = s.URL
	doc := map[string]any{"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token",
		"userinfo_endpoint": s.URL + "/userinfo", "jwks_uri": s.URL + "/jwks", "id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"}}
	maps.Copy(doc, metadata)
	h.set("/.well-known/openid-configuration", says(doc))
	h.set("/jwks", says(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: hostileKey().Public(), KeyID: "one", Algorithm: "ES256", Use: "sig"}}}))
	h.set("/userinfo", says(map[string]any{"sub": "ada", "name": "Ada", "email": "ada@example.com", "groups": []string{"staff"}}))
	return h
}

func (h *hostile) set(path string, page http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pages[path] = page
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		h.tokens.Add(1)
	}
	h.mu.Lock()
	page := h.pages[r.URL.Path]
	h.mu.Unlock()
	if page == nil {
		http.NotFound(w, r)
		return
	}
	page(w, r)
}

// claims are those of an id_token that is right.
func (h *hostile) claims(nonce string) map[string]any {
	now := time.Now().Unix()
	return map[string]any{"iss": h.URL, "sub": "ada", "aud": testClient, "iat": now, "exp": now + 300, "nonce": nonce}
}

// gives has the token endpoint answer with an id_token, none if it is empty.
func (h *hostile) gives(idToken string) {
	answer := map[string]any{"access_token": "access-2", "refresh_token": "refresh-2", "token_type": "Bearer", "expires_in": 300}
	if idToken != "" {
		answer["id_token"] = idToken
	}
	h.set("/token", says(answer))
}

// says answers 200 with JSON.
func says(v any) http.HandlerFunc { return fails(http.StatusOK, v) }

func fails(status int, v any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
}

// page answers 200 with HTML.
func page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, "<!doctype html><title>Update needed</title>")
}

// huge answers JSON of over 1 MiB, without saying how long it is.
func huge(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"access_token":"a","sub":"ada","keys":[],"x":"`)
	for range 33 {
		io.WriteString(w, strings.Repeat("x", 32<<10))
		w.(http.Flusher).Flush()
	}
	io.WriteString(w, `"}`)
}

// handlerClient calls a handler in place of a server; a dropped connection is an error.
type handlerClient struct{ http.Handler }

func (h handlerClient) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("connection refused")
		}
	}()
	in := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), r.Body)
	in.Header = r.Header
	w := httptest.NewRecorder()
	h.ServeHTTP(w, in)
	return w.Result(), nil
}
