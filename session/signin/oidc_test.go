package signin

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"anteroom/session"
)

// sign makes a JWT.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// signed makes an id_token with the provider's own key.
func signed(t testing.TB, claims map[string]any) string {
	return sign(t, jose.ES256, hostileKey(), "one", claims)
}

// unsigned makes a JWT of alg none.
func unsigned(claims map[string]any) string {
	payload, _ := json.Marshal(claims)
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + enc(payload) + "."
}

// attempt signs in at a hostile provider once the test has prepared it.
func attempt(t *testing.T, h *hostile, prepare func(nonce string)) (Result, error) {
	t.Helper()
	b := newBrowser(found(t, relyingParty(t, h.URL, nil)))
	q, err := b.start("/x")
	if err != nil {
		t.Fatalf("Start = %v, want nil", err)
	}
	prepare(q.Get("nonce"))
	return b.finish(url.Values{"state": q["state"], "code": {"c"}})
}

func refusedAs(t *testing.T, what string, res Result, err error, want Kind) {
	t.Helper()
	if kindOf(err) != want {
		t.Errorf("Finish(%s) = %v, want kind %q", what, err, want)
	}
	if want != "" && (res.Grant.Identity.Subject != "" || res.Grant.Tokens.Access != "") {
		t.Errorf("Finish(%s) signed %q in, want nobody", what, res.Grant.Identity.Subject)
	}
}

func TestIDToken(t *testing.T) {
	type m = map[string]any
	set := func(pairs ...any) func(m) {
		return func(c m) {
			for i := 0; i < len(pairs); i += 2 {
				if c[pairs[i].(string)] = pairs[i+1]; pairs[i+1] == nil {
					delete(c, pairs[i].(string))
				}
			}
		}
	}
	der, err := x509.MarshalPKIXPublicKey(hostileKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	own := func(c m) string { return signed(t, c) }
	now := time.Now().Unix()
	tests := []struct {
		name string
		edit func(m)
		sign func(m) string
		want Kind
	}{
		{"right", set(), own, ""},
		{"azp ours", set("azp", testClient), own, ""},
		{"several aud, azp ours", set("aud", []string{"other", testClient}, "azp", testClient), own, ""},
		{"clock half a minute ahead", set("iat", now+30), own, ""},
		{"at_hash right", set("at_hash", atHash("access-2")), own, ""},
		{"at_hash wrong", set("at_hash", atHash("access-1")), own, Invalid},
		{"alg none", set(), unsigned, Invalid},
		{"HS256 with the public key", set(), func(c m) string { return sign(t, jose.HS256, public, "one", c) }, Invalid},
		{"HS256 with the client secret", set(), func(c m) string { return sign(t, jose.HS256, []byte(strings.Repeat("secret", 6)), "one", c) }, Invalid},
		{"wrong kid", set(), func(c m) string { return sign(t, jose.ES256, hostileKey(), "two", c) }, Invalid},
		{"altered payload", set(), func(c m) string {
			parts := strings.Split(signed(t, c), ".")
			set("sub", "admin")(c)
			payload, _ := json.Marshal(c)
			return parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + parts[2]
		}, Invalid},
		{"not a JWT", set(), func(m) string { return "x.y.z" }, Invalid},
		{"missing", set(), func(m) string { return "" }, Invalid},
		{"wrong aud", set("aud", "other"), own, Invalid},
		{"no aud", set("aud", nil), own, Invalid},
		{"foreign azp", set("azp", "other"), own, Invalid},
		{"azp is a list", set("azp", []string{testClient}), own, Invalid},
		{"several aud without azp", set("aud", []string{"other", testClient}), own, Invalid},
		{"wrong nonce", set("nonce", "another"), own, Invalid},
		{"no nonce", set("nonce", nil), own, Invalid},
		{"wrong iss", set("iss", "https://evil.example"), own, Invalid},
		{"expired", set("exp", now-120), own, Invalid},
		{"no exp", set("exp", nil), own, Invalid},
		{"exp 1e300", set("exp", 1e300), own, Invalid},
		{"no iat", set("iat", nil), own, Invalid},
		{"iat far in the future", set("iat", now+86400*365), own, Invalid},
		{"iat 1e300", set("iat", 1e300), own, Invalid},
		{"iat -1e300", set("iat", -1e300), own, Invalid},
		{"iat is a text", set("iat", "now"), own, Invalid},
		{"not valid before tomorrow", set("nbf", now+86400), own, Invalid},
		{"somebody else than userinfo", set("sub", "eve"), own, Invalid},
		{"empty sub", set("sub", ""), own, Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHostile(t, nil)
			res, err := attempt(t, h, func(nonce string) {
				c := h.claims(nonce)
				tt.edit(c)
				h.gives(tt.sign(c))
			})
			refusedAs(t, tt.name, res, err, tt.want)
			if n := h.tokens.Load(); n != 1 {
				t.Errorf("Finish(%s) called the token endpoint %d times, want 1", tt.name, n)
			}
		})
	}
}

// TestAnswers has endpoints answer what is no answer.
func TestAnswers(t *testing.T) {
	broken := map[string]http.HandlerFunc{"HTML": page, "1 MiB": huge, "503": fails(503, map[string]any{"error": "x"}), "a dropped connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }}
	for what, answer := range broken {
		for _, path := range []string{"/token", "/userinfo", "/jwks"} {
			t.Run(what+" at "+path, func(t *testing.T) {
				h := newHostile(t, nil)
				res, err := attempt(t, h, func(nonce string) {
					h.gives(signed(t, h.claims(nonce)))
					h.set(path, answer)
				})
				refusedAs(t, what+" at "+path, res, err, Unavailable)
				if err != nil && (len(err.Error()) > 400 || path != "/jwks" && strings.Contains(err.Error(), "<title>")) {
					t.Errorf("Finish(%s at %s) = %.400s, want little text, without the answer's body", what, path, err)
				}
			})
		}
	}
	for _, tt := range []struct {
		name, path string
		answer     http.HandlerFunc
		want       Kind
		code       string
	}{
		{"code used", "/token", fails(400, map[string]any{"error": "invalid_grant"}), Invalid, "invalid_grant"},
		{"client unknown", "/token", fails(401, map[string]any{"error": "invalid_client"}), Refused, "invalid_client"},
		{"hostile code", "/token", fails(400, map[string]any{"error": "a\r\nb\x1b" + strings.Repeat("z", 99)}), Refused, "ab" + strings.Repeat("z", 62)},
		{"no access token", "/token", says(map[string]any{"token_type": "Bearer"}), Unavailable, ""},
		{"userinfo refuses the token", "/userinfo", fails(401, nil), Invalid, ""},
		{"userinfo about somebody else", "/userinfo", says(map[string]any{"sub": "eve"}), Invalid, ""},
		{"userinfo about nobody", "/userinfo", says(map[string]any{"name": "Ada"}), Invalid, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHostile(t, nil)
			res, err := attempt(t, h, func(nonce string) {
				h.gives(signed(t, h.claims(nonce)))
				h.set(tt.path, tt.answer)
			})
			refusedAs(t, tt.name, res, err, tt.want)
			if e := new(Error); errors.As(err, &e) && e.Code != tt.code {
				t.Errorf("Finish(%s) code = %q, want %q", tt.name, e.Code, tt.code)
			}
		})
	}
}

// atHash is the at_hash of an access token for ES256.
func atHash(access string) string {
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func TestRenewAtHostile(t *testing.T) {
	fail := func(code int, text string) http.HandlerFunc { return fails(code, map[string]any{"error": text}) }
	eve := says(map[string]any{"sub": "eve"})
	for _, tt := range []struct {
		name, path string
		answer     http.HandlerFunc
		rotated    bool
		ends       bool
	}{
		{"all well", "/x", nil, true, false},
		{"invalid_grant", "/token", fail(400, "invalid_grant"), false, true},
		{"invalid_request", "/token", fail(400, "invalid_request"), false, true},
		{"invalid_grant with 401", "/token", fail(401, "invalid_grant"), false, true},
		{"invalid_client", "/token", fail(401, "invalid_client"), false, false},
		{"invalid_grant with 503", "/token", fail(503, "invalid_grant"), false, false},
		{"400 in HTML", "/token", fails(400, "<html>"), false, false},
		{"HTML", "/token", page, false, false},
		{"userinfo 500", "/userinfo", fail(500, "x"), true, false},
		{"userinfo HTML", "/userinfo", page, true, false},
		{"userinfo 1 MiB", "/userinfo", huge, true, false},
		{"userinfo 401", "/userinfo", fail(401, "invalid_token"), true, true},
		{"userinfo about somebody else", "/userinfo", eve, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHostile(t, nil)
			h.gives("")
			h.set(tt.path, tt.answer)
			p := found(t, relyingParty(t, h.URL, nil))
			old := session.Grant{Identity: session.Identity{Subject: "ada"}, Tokens: session.Tokens{Access: "access-1", Refresh: "refresh-1", ID: "id-1"}}
			next, err := p.Renew(t.Context(), old)
			if errors.Is(err, session.ErrGrantDead) != tt.ends || (err == nil) != (tt.answer == nil) {
				t.Errorf("Renew(%s) = %v, want ErrGrantDead: %t", tt.name, err, tt.ends)
			}
			if (next.Tokens.Access == "access-2" && next.Tokens.Refresh == "refresh-2") != tt.rotated || next.Tokens.ID != "id-1" || next.Identity.Subject != "ada" {
				t.Errorf("Renew(%s) = %q, tokens new: %t, want ada, %t and the old id_token", tt.name, next.Identity.Subject, next.Tokens.Access == "access-2", tt.rotated)
			}
		})
	}
}
