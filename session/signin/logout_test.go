package signin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"anteroom/session"
)

// typed makes a JWT whose header says typ; "" for none.
func typed(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, typ any, claims map[string]any) string {
	t.Helper()
	o := &jose.SignerOptions{}
	if typ != nil {
		o.WithHeader(jose.HeaderType, typ)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, o)
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

// logoutToken are the claims of a logout token that is right.
func (h *hostile) logoutToken() map[string]any {
	now := time.Now().Unix()
	return map[string]any{"iss": h.URL, "aud": testClient, "iat": now, "exp": now + 120, "jti": "one", "sub": "ada", "sid": "s1",
		"events": map[string]any{logoutEvent: map[string]any{}}}
}

func (h *hostile) sign(t testing.TB, claims map[string]any) string {
	return typed(t, jose.ES256, hostileKey(), "one", "logout+jwt", claims)
}

func TestLogoutToken(t *testing.T) {
	type m = map[string]any
	h := newHostile(t, nil)
	p := found(t, relyingParty(t, h.URL, nil))
	der, err := x509.MarshalPKIXPublicKey(hostileKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set := func(pairs ...any) func(m) {
		return func(c m) {
			for i := 0; i < len(pairs); i += 2 {
				c[pairs[i].(string)] = pairs[i+1]
			}
		}
	}
	without := func(names ...string) func(m) {
		return func(c m) {
			for _, n := range names {
				delete(c, n)
			}
		}
	}
	typ := func(typ any) func(m) string {
		return func(c m) string { return typed(t, jose.ES256, hostileKey(), "one", typ, c) }
	}
	own, now := typ("logout+jwt"), time.Now().Unix()
	both := session.Login{Issuer: h.URL, Subject: "ada", Session: "s1"}
	none := session.Login{}
	for _, tt := range []struct {
		name string
		edit func(m)
		sign func(m) string
		want session.Login // empty: refused as invalid
	}{
		{"right", set(), own, both},
		{"sid alone", without("sub"), own, session.Login{Issuer: h.URL, Session: "s1"}},
		{"sub alone", without("sid"), own, session.Login{Issuer: h.URL, Subject: "ada"}},
		{"neither sid nor sub", without("sid", "sub"), own, none},
		{"empty sid", set("sid", ""), own, none},
		{"sid null", set("sid", nil), own, none},
		{"sid is a number", set("sid", 1), own, none},
		{"sub is a list", set("sub", []string{"ada"}), own, none},
		{"no typ", set(), typ(nil), both},
		{"typ JWT", set(), typ("JWT"), both},
		{"typ in capitals", set(), typ("LOGOUT+JWT"), both},
		{"typ as a media type", set(), typ("application/logout+jwt"), both},
		{"typ at+jwt", set(), typ("at+jwt"), none},
		{"typ secevent+jwt", set(), typ("secevent+jwt"), none},
		{"typ empty", set(), typ(""), none},
		{"typ is a number", set(), typ(7), none},
		{"an id_token", func(c m) { clear(c); maps.Copy(c, h.claims("n")) }, typ("JWT"), none},
		{"an id_token without nonce", func(c m) { clear(c); maps.Copy(c, h.claims("")); without("nonce")(c) }, typ("JWT"), none},
		{"no events", without("events"), own, none},
		{"events is a text", set("events", logoutEvent), own, none},
		{"events is a list", set("events", []string{logoutEvent}), own, none},
		{"another event", set("events", m{"http://schemas.openid.net/event/other": m{}}), own, none},
		{"the event is null", set("events", m{logoutEvent: nil}), own, none},
		{"the event is a text", set("events", m{logoutEvent: "{}"}), own, none},
		{"the event is a list", set("events", m{logoutEvent: []string{}}), own, none},
		{"the event says more", set("events", m{logoutEvent: m{"x": 1}, "other": m{}}), own, both},
		{"nonce", set("nonce", "n"), own, none},
		{"empty nonce", set("nonce", ""), own, none},
		{"nonce null", set("nonce", nil), own, none},
		{"no jti", without("jti"), own, none},
		{"empty jti", set("jti", ""), own, none},
		{"jti of 256 bytes", set("jti", strings.Repeat("j", 256)), own, both},
		{"jti of 257 bytes", set("jti", strings.Repeat("j", 257)), own, none},
		{"no iat", without("iat"), own, none},
		{"iat null", set("iat", nil), own, none},
		{"iat is a text", set("iat", strconv.FormatInt(now, 10)), own, none},
		{"iat half a minute ahead", set("iat", now+30), own, both},
		{"iat in the future", set("iat", now+90), own, none},
		{"iat 1e300", set("iat", 1e300), own, none},
		{"iat -1e300", set("iat", -1e300), own, none},
		{"two minutes old", set("iat", now-120), own, both},
		{"four minutes old", set("iat", now-240), own, none},
		{"no exp", without("exp"), own, both},
		{"no exp and old", func(c m) { delete(c, "exp"); c["iat"] = now - 240 }, own, none},
		{"exp null", set("exp", nil), own, none},
		{"exp 0", set("exp", 0), own, none},
		{"expired", set("exp", now-90), own, none},
		{"another client's", set("aud", "other"), own, none},
		{"no aud", without("aud"), own, none},
		{"several aud", set("aud", []string{"other", testClient}), own, both},
		{"foreign azp", set("azp", "other"), own, none},
		{"azp is a list", set("azp", []string{testClient}), own, none},
		{"another issuer's", set("iss", "https://evil.example"), own, none},
		{"issuer with a slash", set("iss", h.URL+"/"), own, none},
		{"alg none", set(), unsigned, none},
		{"HS256 with the public key", set(), func(c m) string { return typed(t, jose.HS256, public, "one", "logout+jwt", c) }, none},
		{"HS256 with the client secret", set(), func(c m) string {
			return typed(t, jose.HS256, []byte(strings.Repeat("secret", 6)), "one", "logout+jwt", c)
		}, none},
		{"another's key of the same name", set(), func(c m) string { return typed(t, jose.ES256, other, "one", "logout+jwt", c) }, none},
		{"another's key in the header", set(), func(c m) string { return embedded(t, other, c) }, none},
		{"no kid", set(), func(c m) string { return typed(t, jose.ES256, hostileKey(), "", "logout+jwt", c) }, both},
		{"JSON serialization", set(), func(c m) string { return flattened(t, own(c)) }, none},
		{"empty", set(), func(m) string { return "" }, none},
		{"not a JWT", set(), func(m) string { return "x.y.z" }, none},
	} {
		c := h.logoutToken()
		tt.edit(c)
		l, err := p.VerifyLogout(t.Context(), tt.sign(c))
		want := Kind("")
		if tt.want == none {
			want = Invalid
		}
		if kindOf(err) != want || l.Login != tt.want || (l.Token == "") != (tt.want == none) {
			t.Errorf("VerifyLogout(%s) = %+v, %v, want %+v", tt.name, l, err, tt.want)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("VerifyLogout(%s) says %d bytes, want few", tt.name, len(err.Error()))
		}
	}
}

// embedded makes a token that brings its own key along.
func embedded(t testing.TB, key *ecdsa.PrivateKey, claims map[string]any) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("logout+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := json.Marshal(claims)
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

// flattened is a JWT in the JSON serialization (RFC 7515 §7.2.2), which is none.
func flattened(t testing.TB, jwt string) string {
	parts := strings.Split(jwt, ".")
	out, err := json.Marshal(map[string]string{"protected": parts[0], "payload": parts[1], "signature": parts[2]})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestLogoutTokensAreToldApart: one token is always the same, two never.
func TestLogoutTokensAreToldApart(t *testing.T) {
	h := newHostile(t, nil)
	p := found(t, relyingParty(t, h.URL, nil))
	c := h.logoutToken()
	one, err := p.VerifyLogout(t.Context(), h.sign(t, c))
	again, err2 := p.VerifyLogout(t.Context(), h.sign(t, c))
	c["jti"] = "two"
	two, err3 := p.VerifyLogout(t.Context(), h.sign(t, c))
	if err := errors.Join(err, err2, err3); err != nil || one.Token != again.Token || one.Token == two.Token {
		t.Errorf("tokens of jti one, one, two = %q, %q, %q, %v", one.Token, again.Token, two.Token, err)
	}
}

func TestLogoutWhereThereIsNone(t *testing.T) {
	h := newHostile(t, nil)
	h.set("/status.php", says(map[string]any{"installed": true}))
	p := relyingParty(t, h.URL, func(c *Config, _ *Options) { c.Provider = kindNextcloud })
	if _, err := p.VerifyLogout(t.Context(), "x"); kindOf(err) != Unavailable {
		t.Errorf("VerifyLogout(no provider yet) = %v, want Unavailable", err)
	}
	found(t, p)
	if _, err := p.VerifyLogout(t.Context(), "x"); !errors.Is(err, ErrNoLogout) {
		t.Errorf("VerifyLogout(built-in OAuth2) = %v, want ErrNoLogout", err)
	}
	if _, err := p.Issuer(); !errors.Is(err, ErrNoLogout) {
		t.Errorf("Issuer(built-in OAuth2) = %v, want ErrNoLogout", err)
	}
	if iss, err := found(t, relyingParty(t, h.URL, nil)).Issuer(); iss != h.URL || err != nil {
		t.Errorf("Issuer = %q, %v, want %q", iss, err, h.URL)
	}
}
