package signin

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"anteroom/session"
)

func TestStart(t *testing.T) {
	h := newHostile(t, map[string]any{"scopes_supported": []string{"openid", "email", "groups", "offline_access", "phone"}})
	p := found(t, relyingParty(t, h.URL, nil))
	r := httptest.NewRequest(http.MethodGet, testSite+"/auth/login", nil)
	r.Host = "evil.example"
	r.Header.Set("X-Forwarded-Host", "evil.example")
	w := httptest.NewRecorder()
	if err := p.Start(w, r, "/x"); err != nil || w.Code != http.StatusSeeOther || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("Start = %v, status %d, Cache-Control %q, want nil, 303, no-store", err, w.Code, w.Header().Get("Cache-Control"))
	}
	to := address(t, w.Header().Get("Location"))
	if got := to.Scheme + "://" + to.Host + to.Path; got != h.URL+"/authorize" {
		t.Errorf("Start leads to %s, want %s/authorize", got, h.URL)
	}
	q := to.Query()
	for name, want := range map[string]string{"response_type": "code", "client_id": testClient, "redirect_uri": testSite + "/auth/callback",
		"scope": "openid email groups offline_access", "code_challenge_method": "S256", "prompt": "consent"} {
		if q.Get(name) != want {
			t.Errorf("Start's %s = %q, want %q", name, q.Get(name), want)
		}
	}
	var f flow
	if err := p.state.Open(q.Get("state"), &f); err != nil {
		t.Fatalf("Start's state = %v, want it to open", err)
	}
	sum := sha256.Sum256([]byte(f.Verifier))
	if got, want := q.Get("code_challenge"), base64.RawURLEncoding.EncodeToString(sum[:]); got != want {
		t.Errorf("Start's code_challenge = %q, want the verifier's hash %q", got, want)
	}
	if f.Nonce == "" || q.Get("nonce") != f.Nonce || len(f.Verifier) < 43 || f.ReturnTo != "/x" {
		t.Errorf("Start's flow = %+v with nonce %q, want the same nonce, a verifier of 43 characters, /x", f, q.Get("nonce"))
	}
	if strings.Contains(to.String(), f.Verifier) {
		t.Error("Start's redirect shows the verifier")
	}
	c := w.Result().Cookies()
	if len(c) != 1 || c[0].Name != "anteroom_signin" || !c[0].HttpOnly || c[0].SameSite != http.SameSiteLaxMode {
		t.Errorf("Start's cookies = %v, want anteroom_signin, HttpOnly and Lax", c)
	}
}

func TestStartBeforeDiscovery(t *testing.T) {
	p := relyingParty(t, "http://127.0.0.1:1", nil)
	var e *Error
	if _, err := newBrowser(p).start("javascript:alert(1)"); kindOf(err) != Unavailable || !errors.As(err, &e) || e.ReturnTo != "/" {
		t.Errorf("Start(no provider) = %+v, want Unavailable, with a judged ReturnTo", err)
	}
	if _, err := newBrowser(p).finish(url.Values{"state": {"x"}, "code": {"x"}}); kindOf(err) != Unavailable {
		t.Errorf("Finish(no provider) = %v, want Unavailable", err)
	}
	if _, err := p.Renew(t.Context(), session.Grant{}); kindOf(err) != Unavailable {
		t.Errorf("Renew(no provider) = %v, want Unavailable", err)
	}
	if got := p.SignOut(t.Context(), session.Grant{}, testSite); got != "" {
		t.Errorf("SignOut(no provider) = %q, want nowhere", got)
	}
}

func TestTabs(t *testing.T) {
	h := newHostile(t, nil)
	b := newBrowser(found(t, relyingParty(t, h.URL, nil)))
	var tabs []url.Values
	for _, to := range []string{"/one", "/two", "/three"} {
		q, err := b.start(to)
		if err != nil {
			t.Fatalf("Start(%s) = %v, want nil", to, err)
		}
		tabs = append(tabs, q)
	}
	if len(b.jar) != 1 {
		t.Errorf("three tabs left %d cookies, want 1", len(b.jar))
	}
	for i, want := range []string{"/one", "/two", "/three"} {
		h.gives(signed(t, h.claims(tabs[i].Get("nonce"))))
		res, err := b.finish(url.Values{"state": tabs[i]["state"], "code": {"c"}})
		if err != nil || res.ReturnTo != want || res.Grant.Identity.Subject != "ada" {
			t.Errorf("Finish(tab %d) = %q to %q, %v, want ada to %s", i+1, res.Grant.Identity.Subject, res.ReturnTo, err, want)
		}
	}
}

// began is the state of a sign-in that another browser began.
func began(t *testing.T, p *RelyingParty) string {
	t.Helper()
	q, err := newBrowser(p).start("/y")
	if err != nil {
		t.Fatalf("Start = %v, want nil", err)
	}
	return q.Get("state")
}

// TestFinishErrors has every callback that is refused without asking the provider.
func TestFinishErrors(t *testing.T) {
	h := newHostile(t, nil)
	c := &clock{}
	p := found(t, relyingParty(t, h.URL, func(_ *Config, o *Options) { o.Now = c.Now }))
	other := found(t, relyingParty(t, h.URL, nil)) // with other keys
	callback := testSite + "/auth/callback?"
	tests := []struct {
		name string
		do   func(b *browser, state string) (Result, error)
		want Error
	}{
		{"missing state", func(b *browser, s string) (Result, error) { return b.finish(url.Values{"code": {"c"}}) }, Error{Kind: Invalid}},
		{"empty state", func(b *browser, s string) (Result, error) { return b.finish(url.Values{"state": {""}, "code": {"c"}}) }, Error{Kind: Invalid}},
		{"two states", func(b *browser, s string) (Result, error) {
			return b.finish(url.Values{"state": {s, s}, "code": {"c"}})
		}, Error{Kind: Invalid}},
		{"two codes", func(b *browser, s string) (Result, error) {
			return b.finish(url.Values{"state": {s}, "code": {"c", "d"}})
		}, Error{Kind: Invalid}},
		{"code and error", func(b *browser, s string) (Result, error) {
			return b.finish(url.Values{"state": {s}, "code": {"c"}, "error": {"e"}})
		}, Error{Kind: Invalid}},
		{"neither code nor error", func(b *browser, s string) (Result, error) { return b.finish(url.Values{"state": {s}}) }, Error{Kind: Invalid}},
		{"malformed query", func(b *browser, s string) (Result, error) {
			return b.answer(b.request(callback + "state=" + s + "&code=%zz"))
		}, Error{Kind: Invalid}},
		{"forged state", func(b *browser, s string) (Result, error) {
			return b.finish(url.Values{"state": {s[:len(s)/2] + "AAAA" + s[len(s)/2+4:]}, "code": {"c"}})
		}, Error{Kind: Invalid}},
		{"foreign state", func(b *browser, s string) (Result, error) {
			return b.finish(url.Values{"state": {began(t, other)}, "code": {"c"}})
		}, Error{Kind: Invalid}},
		{"the cookie's value as state", func(b *browser, s string) (Result, error) {
			return b.finish(url.Values{"state": {b.jar["anteroom_signin"]}, "code": {"c"}})
		}, Error{Kind: Invalid}},
		{"state of another browser", func(b *browser, s string) (Result, error) {
			return b.finish(url.Values{"state": {began(t, p)}, "code": {"c"}})
		}, Error{Kind: Invalid}},
		{"the state as cookie", func(b *browser, s string) (Result, error) {
			b.jar["anteroom_signin"] = s
			return b.finish(url.Values{"state": {s}, "code": {"c"}})
		}, Error{Kind: Invalid}},
		{"missing cookie", func(b *browser, s string) (Result, error) {
			clear(b.jar)
			return b.finish(url.Values{"state": {s}, "code": {"c"}})
		}, Error{Kind: CookieLost, Why: Blocked, Cookie: "anteroom_signin", ReturnTo: "/x"}},
		{"missing cookie at another host", func(b *browser, s string) (Result, error) {
			clear(b.jar)
			r := b.request(callback + url.Values{"state": {s}, "code": {"c"}}.Encode())
			r.Host = "127.0.0.1:8000"
			return b.answer(r)
		}, Error{Kind: CookieLost, Why: OtherHost, Cookie: "anteroom_signin", ReturnTo: "/x"}},
		{"two different cookies", func(b *browser, s string) (Result, error) {
			r := b.request(callback + url.Values{"state": {s}, "code": {"c"}}.Encode())
			r.AddCookie(&http.Cookie{Name: "anteroom_signin", Value: "planted"})
			return b.answer(r)
		}, Error{Kind: CookieLost, Why: Tossed, Cookie: "anteroom_signin", ReturnTo: "/x"}},
		{"too old", func(b *browser, s string) (Result, error) {
			c.add(15*time.Minute + time.Second)
			return b.finish(url.Values{"state": {s}, "code": {"c"}})
		}, Error{Kind: Expired, ReturnTo: "/x"}},
		{"too old, and the cookie with it", func(b *browser, s string) (Result, error) {
			c.add(2 * time.Hour)
			clear(b.jar)
			return b.finish(url.Values{"state": {s}, "code": {"c"}})
		}, Error{Kind: Expired, ReturnTo: "/x"}},
		{"too old, of another browser", func(b *browser, _ string) (Result, error) {
			theirs := began(t, p)
			c.add(time.Hour)
			return b.finish(url.Values{"state": {theirs}, "code": {"c"}})
		}, Error{Kind: Invalid}},
		{"wrong iss", func(b *browser, s string) (Result, error) {
			return b.finish(url.Values{"state": {s}, "code": {"c"}, "iss": {"https://evil.example"}})
		}, Error{Kind: Invalid, ReturnTo: "/x"}},
		{"refused", func(b *browser, s string) (Result, error) {
			return b.finish(url.Values{"state": {s}, "error": {"access_denied"}, "error_description": {"no"}})
		}, Error{Kind: Refused, Code: "access_denied", ReturnTo: "/x"}},
		{"refused by somebody hostile", func(b *browser, s string) (Result, error) {
			return b.finish(url.Values{"state": {s}, "error": {"a\r\nb\x1b[1m\u202e é" + strings.Repeat("z", 100)}})
		}, Error{Kind: Refused, Code: "ab[1m" + strings.Repeat("z", 59), ReturnTo: "/x"}},
		{"refusal of another browser", func(b *browser, s string) (Result, error) {
			return newBrowser(p).finish(url.Values{"state": {s}, "error": {"access_denied"}})
		}, Error{Kind: CookieLost, Why: Blocked, Cookie: "anteroom_signin", ReturnTo: "/x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBrowser(p)
			q, err := b.start("/x")
			if err != nil {
				t.Fatalf("Start = %v, want nil", err)
			}
			res, err := tt.do(b, q.Get("state"))
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("Finish(%s) = %v, want %s", tt.name, err, tt.want.Kind)
			}
			if got.Kind != tt.want.Kind || got.Why != tt.want.Why || got.Cookie != tt.want.Cookie || got.Code != tt.want.Code || got.ReturnTo != tt.want.ReturnTo {
				t.Errorf("Finish(%s) = %+v, want %+v", tt.name, *got, tt.want)
			}
			if res.Grant.Identity.Subject != "" || res.Grant.Tokens.Access != "" {
				t.Errorf("Finish(%s) signed %q in, want nobody", tt.name, res.Grant.Identity.Subject)
			}
			if n := h.tokens.Load(); n != 0 {
				t.Errorf("Finish(%s) called the token endpoint %d times, want 0", tt.name, n)
			}
		})
	}
}

// TestLongReturn: no return_to makes a state that web servers refuse.
func TestLongReturn(t *testing.T) {
	p := found(t, relyingParty(t, newHostile(t, nil).URL, nil))
	for long, want := range map[string]string{"/" + strings.Repeat("a", 1999): "/" + strings.Repeat("a", 1999), "/?" + strings.Repeat("&", 1998): "/"} {
		q, err := newBrowser(p).start(long)
		var f flow
		if err != nil || p.state.Open(q.Get("state"), &f) != nil || f.ReturnTo != want || len(q.Get("state")) > stateLimit {
			t.Errorf("Start(%.9s…) = %v, state of %d bytes back to %.9s…, want at most %d, to %.9s…", long, err, len(q.Get("state")), f.ReturnTo, stateLimit, want)
		}
	}
}

func TestWhyLost(t *testing.T) {
	p := relyingParty(t, "http://127.0.0.1:1", func(_ *Config, o *Options) {
		o.Public = address(t, "https://site.example")
		o.Cookies = session.NewCookies(session.CookieConfig{Name: "anteroom", Domain: "example"}, true)
	})
	for _, tt := range []struct {
		at   string
		with map[string]string
		want Why
	}{
		{"https://site.example/", nil, Blocked},
		{"http://site.example/", nil, SecureOverHTTP},
		{"http://site.example/", map[string]string{"X-Forwarded-Proto": "http"}, SecureOverHTTP},
		{"http://site.example/", map[string]string{"X-Forwarded-Proto": "https"}, Blocked},
		{"http://site.example/", map[string]string{"Sec-Fetch-Mode": "navigate"}, Blocked},
		{"https://wiki.example/", nil, Blocked}, // below the cookie's domain
		{"https://evilexample/", nil, OtherHost},
		{"https://10.0.0.1/", nil, OtherHost},
	} {
		r := httptest.NewRequest(http.MethodGet, tt.at, nil)
		for name, value := range tt.with {
			r.Header.Set(name, value)
		}
		if got := p.whyLost(r); got != tt.want {
			t.Errorf("whyLost(%s, %v) = %q, want %q", tt.at, tt.with, got, tt.want)
		}
	}
}

func TestSecureCookieOverHTTP(t *testing.T) {
	h := newHostile(t, nil)
	p := found(t, relyingParty(t, h.URL, func(_ *Config, o *Options) {
		o.Public = address(t, "https://site.example")
		o.Cookies = session.NewCookies(session.CookieConfig{Name: "anteroom"}, true)
	}))
	q, err := newBrowser(p).start("/x")
	if err != nil {
		t.Fatalf("Start = %v, want nil", err)
	}
	r := httptest.NewRequest(http.MethodGet, "http://site.example/auth/callback?"+url.Values{"state": q["state"], "code": {"c"}}.Encode(), nil)
	r.Header.Set("Referer", "http://site.example/")
	_, err = newBrowser(p).answer(r)
	var got *Error
	if !errors.As(err, &got) || got.Kind != CookieLost || got.Why != SecureOverHTTP || got.Cookie != "__Host-anteroom_signin" {
		t.Errorf("Finish(https cookie over http) = %+v, want CookieLost, %s", err, SecureOverHTTP)
	}
}

// TestIssuerInAnswer is RFC 9207.
func TestIssuerInAnswer(t *testing.T) {
	for _, advertised := range []bool{false, true} {
		h := newHostile(t, map[string]any{"authorization_response_iss_parameter_supported": advertised})
		b := newBrowser(found(t, relyingParty(t, h.URL, nil)))
		for iss, want := range map[string]Kind{h.URL: "", "": map[bool]Kind{true: Invalid}[advertised], h.URL + "/": Invalid, "https://evil.example": Invalid} {
			q, err := b.start("/x")
			if err != nil {
				t.Fatalf("Start = %v, want nil", err)
			}
			h.gives(signed(t, h.claims(q.Get("nonce"))))
			answer := url.Values{"state": q["state"], "code": {"c"}}
			if iss != "" {
				answer.Set("iss", iss)
			}
			before := h.tokens.Load()
			_, err = b.finish(answer)
			if kindOf(err) != want || want != "" && h.tokens.Load() != before {
				t.Errorf("Finish(iss %q, advertised %t) = %v, want kind %q before any token call", iss, advertised, err, want)
			}
		}
	}
}
