package demo

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// issuer publishes keys and signs with them.
type issuer struct {
	t     *testing.T
	url   string
	keys  map[string]crypto.Signer // by algorithm, which is the key id too
	asked atomic.Int32
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, keys: map[string]crypto.Signer{"ES256": ec, "EdDSA": ed, "RS256": rs}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		var set jose.JSONWebKeySet
		for alg, key := range i.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: alg, Algorithm: alg, Use: "sig"})
		}
		json.NewEncoder(w).Encode(set)
	}))
	t.Cleanup(srv.Close)
	i.url = srv.URL
	return i
}

func (i *issuer) sign(alg, kid string, key any, claims map[string]any) string {
	i.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key},
		(&jose.SignerOptions{}).WithHeader("kid", kid))
	if err != nil {
		i.t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return token
}

func claims(changes ...any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{"iss": "http://anteroom.example", "sub": "testdoc", "aud": "http://app", "iat": now, "nbf": now, "exp": now + 300}
	for i := 0; i+1 < len(changes); i += 2 {
		if c[changes[i].(string)] = changes[i+1]; changes[i+1] == nil {
			delete(c, changes[i].(string))
		}
	}
	return c
}

// app is the demo application on a socket.
func app(t *testing.T, i *issuer) *browser {
	t.Helper()
	o := AppOptions{Issuer: "http://anteroom.example", Audience: "http://app", Tick: time.Millisecond}
	if i != nil {
		o.JWKSURL = i.url
	}
	srv := httptest.NewServer(NewApp(o))
	t.Cleanup(srv.Close)
	return &browser{Client: srv.Client(), t: t, url: srv.URL}
}

func TestAppVerifies(t *testing.T) {
	i := newIssuer(t)
	b := app(t, i)
	good := i.sign("ES256", "ES256", i.keys["ES256"], claims())
	part := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"ES256"}`)) + "." + part[1] + "."
	public, _ := json.Marshal(jose.JSONWebKey{Key: i.keys["RS256"].Public()})
	foreign, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	forged := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"admin","iss":"http://anteroom.example","aud":"http://app","exp":99999999999}`))
	tests := []struct {
		name, token string
		want        bool
	}{
		{"ES256", good, true},
		{"EdDSA", i.sign("EdDSA", "EdDSA", i.keys["EdDSA"], claims()), true},
		{"RS256", i.sign("RS256", "RS256", i.keys["RS256"], claims()), true},
		{"other claims", part[0] + "." + forged + "." + part[2], false},
		{"no signature", none, false},
		{"HS256 by the public key", i.sign("HS256", "RS256", public, claims()), false},
		{"a foreign key under our id", i.sign("ES256", "ES256", foreign, claims()), false},
		{"an unknown key id", i.sign("ES256", "other", i.keys["ES256"], claims()), false},
		{"RS256 under the id of ES256", i.sign("RS256", "ES256", i.keys["RS256"], claims()), false},
		{"another issuer", i.sign("ES256", "ES256", i.keys["ES256"], claims("iss", "http://evil.example")), false},
		{"another audience", i.sign("ES256", "ES256", i.keys["ES256"], claims("aud", "http://other")), false},
		{"expired", i.sign("ES256", "ES256", i.keys["ES256"], claims("exp", time.Now().Unix()-31)), false},
		{"not yet in force", i.sign("ES256", "ES256", i.keys["ES256"], claims("nbf", time.Now().Unix()+60)), false},
		{"for ever", i.sign("ES256", "ES256", i.keys["ES256"], claims("exp", nil)), false},
		{"nonsense", "a.b.c", false},
		{"very long", strings.Repeat("a", maxJWTSize+1), false},
	}
	for _, tt := range tests {
		var got received
		a := b.do("GET", "/headers", "", "Authorization", "Bearer "+tt.token)
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatal(err)
		}
		if got.Token == nil || got.Token.OK != tt.want || (got.Token.Subject == "testdoc") != tt.want {
			t.Errorf("%s = %+v, want verified %v", tt.name, got.Token, tt.want)
		}
	}
	if n := i.asked.Load(); n > 3 {
		t.Errorf("keys fetched %d times, want them kept", n)
	}
}

func TestAppWithoutKeys(t *testing.T) {
	i := newIssuer(t)
	token := i.sign("ES256", "ES256", i.keys["ES256"], claims())
	if a := app(t, nil).do("GET", "/", "", "Authorization", "Bearer "+token); !strings.Contains(a.body, "no key set is configured") {
		t.Errorf("page = %s, want the reason", a.body)
	}
}

func TestAppPage(t *testing.T) {
	i := newIssuer(t)
	b := app(t, i)
	a := b.do("GET", "/", "", "Authorization", "Bearer "+i.sign("ES256", "ES256", i.keys["ES256"], claims()),
		"X-Forwarded-User", "nurse", "X-Forwarded-Name", "Nora N%C3%BCrse", "X-Forwarded-Email", "nurse@example.com", "X-Forwarded-Groups", "users, <ward>")
	for _, want := range []string{"Nora Nürse", `id="user">nurse<`, `id="mail">nurse@example.com<`, ">users<", "&lt;ward&gt;", "<strong>Verified.</strong>", "X-Forwarded-Groups", `action="/auth/logout"`, "&#34;sub&#34;: &#34;testdoc&#34;"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("page has no %s:\n%s", want, a.body)
		}
	}
	if p := a.Header.Get("Content-Security-Policy"); strings.Contains(p, "unsafe") || strings.Contains(p, "form-action") {
		t.Errorf("policy = %q, want no unsafe source and forms free to leave at sign-out", p)
	}
	if strings.Contains(a.body, "<script>") || strings.Contains(a.body, "style=") {
		t.Error("page has inline script or style, want none")
	}
	for path, want := range map[string]int{"/healthz": 200, "/public/a/b": 200, "/admin/": 200, "/static/app.js": 200, "/static/app.css": 200, "/nothing": 404} {
		wantStatus(t, b.do("GET", path, ""), want)
	}
	if a := b.do("GET", "/", ""); !strings.Contains(a.body, "Nobody") || strings.Contains(a.body, "Sign out") {
		t.Error("page of nobody = a name or a way to sign out, want neither")
	}
}

func TestAppHeaders(t *testing.T) {
	b := app(t, nil)
	body := strings.Repeat("x", 100_000)
	sum := sha256.Sum256([]byte(body))
	var got received
	a := b.do("POST", "/headers//a%2Fb/..?x=%zz", body, "X-Forwarded-User", "testdoc", "X-Odd", "1")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || got.RequestURI != "/headers//a%2Fb/..?x=%zz" || got.BodySize != 100_000 ||
		got.BodySHA256 != hex.EncodeToString(sum[:]) || got.Headers.Get("X-Odd") != "1" || got.Headers.Get("X-Forwarded-User") != "testdoc" {
		t.Errorf("headers = %+v, want the request as sent", got)
	}
}

func TestAppStreams(t *testing.T) {
	b := app(t, nil)
	res, err := b.Get(b.url + "/download?bytes=3000000")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	up, err := b.Post(b.url+"/upload", "application/octet-stream", res.Body)
	if err != nil {
		t.Fatal(err)
	}
	defer up.Body.Close()
	var got struct{ Bytes int64 }
	if err := json.NewDecoder(up.Body).Decode(&got); err != nil || got.Bytes != 3_000_000 || res.ContentLength != 3_000_000 {
		t.Errorf("downloaded %d, uploaded %d, %v; want 3000000 both", res.ContentLength, got.Bytes, err)
	}
	for _, q := range []string{"", "?bytes=-1", "?bytes=x", "?bytes=99999999999999999999"} {
		wantStatus(t, b.do("GET", "/download"+q, ""), 400)
	}
}

func TestAppForm(t *testing.T) {
	b := app(t, nil)
	a := b.post("/form", url.Values{"patient": {"<b>"}, "note": {"one", "two"}})
	if !strings.Contains(a.body, "&lt;b&gt;") || !strings.Contains(a.body, "one, two") {
		t.Errorf("form = %s, want the fields", a.body)
	}
	var buf strings.Builder
	w := multipart.NewWriter(&buf)
	w.WriteField("patient", "multi")
	w.Close()
	if a := b.do("POST", "/form", buf.String(), "Content-Type", w.FormDataContentType()); !strings.Contains(a.body, ">multi<") {
		t.Errorf("multipart form = %s, want the field", a.body)
	}
	wantStatus(t, b.do("POST", "/form", "a="+strings.Repeat("x", maxForm), "Content-Type", "application/x-www-form-urlencoded"), 400)
}

func TestAppEvents(t *testing.T) {
	b := app(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", b.url+"/events", nil)
	req.Header.Set("X-Forwarded-User", "testdoc")
	res, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for n := 0; n < 3 && lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			n++
			if !strings.Contains(data, `"user":"testdoc"`) {
				t.Errorf("event = %s, want the user", data)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
}

func TestAppEcho(t *testing.T) {
	i := newIssuer(t)
	b := app(t, i)
	token := i.sign("ES256", "ES256", i.keys["ES256"], claims())
	dial := func(origin string) (*websocket.Conn, error) {
		h := http.Header{"X-Forwarded-User": {"testdoc"}, "X-Forwarded-Host": {"anteroom.example"}}
		if origin != "" {
			h.Set("Origin", origin)
		}
		c, _, err := websocket.Dial(t.Context(), strings.Replace(b.url, "http", "ws", 1)+"/echo?token="+token, &websocket.DialOptions{HTTPHeader: h})
		return c, err
	}
	if c, err := dial("http://evil.example"); err == nil {
		c.CloseNow()
		t.Error("WebSocket of a foreign origin = open, want refused")
	}
	c, err := dial("http://anteroom.example")
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	_, first, err := c.Read(t.Context())
	var who hello
	if err != nil || json.Unmarshal(first, &who) != nil || who.User != "testdoc" || who.Token == nil || !who.Token.OK {
		t.Fatalf("first message = %s, %v; want the caller, verified", first, err)
	}
	if err := c.Write(t.Context(), websocket.MessageBinary, []byte("ping")); err != nil {
		t.Fatal(err)
	}
	kind, p, err := c.Read(t.Context())
	if err != nil || kind != websocket.MessageBinary || string(p) != "ping" {
		t.Errorf("echo = %v %q %v, want ping as sent", kind, p, err)
	}
}

func TestPattern(t *testing.T) {
	p, err := io.ReadAll(io.LimitReader(pattern{}, 20))
	if string(p) != "0123456789abcdef0123" || err != nil {
		t.Errorf("pattern = %q %v, want it repeated", p, err)
	}
}

func FuzzPretty(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiJ9")
	f.Add("!")
	f.Fuzz(func(t *testing.T, part string) { pretty(part) })
}
