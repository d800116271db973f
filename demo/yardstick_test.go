package demo

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// seen is what matters of an answer that a real Nextcloud gave. What is empty
// was not there, or is not compared. In locations and cookie names {nc} stands
// for the server, {session} for its session cookie, {64} for that many letters
// and digits.
type seen struct {
	Status      int            `json:"status"`
	ContentType string         `json:"content_type"`
	Location    string         `json:"location"`
	Challenge   string         `json:"www_authenticate"`
	RetryAfter  string         `json:"retry_after"`
	DAV         string         `json:"dav"`
	Allow       string         `json:"allow"`
	Origin      string         `json:"access_control_allow_origin"`
	FormAction  string         `json:"form_action"`
	Cookies     []string       `json:"cookies"`
	Keys        []string       `json:"keys"`
	Elements    []string       `json:"elements"`
	Lengths     map[string]int `json:"lengths"`
	IDHeader    []string       `json:"id_token_header"`
	IDClaims    []string       `json:"id_token_claims"`
	Body        string         `json:"body"`
}

func load(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
}

var run = regexp.MustCompile(`(%3D)?([A-Za-z0-9]+)`)

func (s *server) shape(text string) string {
	text = strings.NewReplacer(s.url, "{nc}", sessionCookie, "{session}").Replace(text)
	return run.ReplaceAllStringFunc(text, func(m string) string {
		token := strings.TrimPrefix(m, "%3D")
		switch len(token) {
		case 64, 72, 128:
			return strings.TrimSuffix(m, token) + fmt.Sprintf("{%d}", len(token))
		}
		return m
	})
}

// look describes an answer of ours as seen does, leaving out what the real one
// does not have to be compared by.
func (s *server) look(a answer, want seen) seen {
	h := a.Header
	got := seen{Status: a.StatusCode, ContentType: h.Get("Content-Type"), Location: s.shape(h.Get("Location")),
		Challenge: h.Get("WWW-Authenticate"), RetryAfter: h.Get("Retry-After"), DAV: h.Get("DAV"), Allow: h.Get("Allow"),
		Origin: h.Get("Access-Control-Allow-Origin")}
	if _, after, ok := strings.Cut(h.Get("Content-Security-Policy"), "form-action "); ok {
		got.FormAction = after
	}
	if want.Cookies != nil {
		got.Cookies = s.cookieNames(a)
	}
	var v map[string]any
	if want.Keys != nil && json.Unmarshal([]byte(a.body), &v) == nil {
		got.Keys = keysOf(v, "")
		slices.Sort(got.Keys)
	}
	for name := range want.Lengths {
		if got.Lengths == nil {
			got.Lengths = make(map[string]int)
		}
		token, _ := v[name].(string)
		got.Lengths[name] = len(token)
	}
	if id, ok := v["id_token"].(string); ok {
		got.IDHeader, got.IDClaims = partKeys(s.t, id, 0), partKeys(s.t, id, 1)
	}
	if want.Elements != nil {
		for _, m := range regexp.MustCompile(`<([a-zA-Z_-]+)[/>]`).FindAllStringSubmatch(a.body, -1) {
			got.Elements = append(got.Elements, m[1])
		}
		slices.Sort(got.Elements)
		got.Elements = slices.Compact(got.Elements)
	}
	if want.Body != "" {
		got.Body = strings.TrimSpace(a.body)
	}
	return got
}

func (s *server) cookieNames(a answer) []string {
	var names []string
	for _, c := range a.Cookies() {
		names = append(names, s.shape(c.Name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// keysOf are the paths of an object's leaves; a list is a leaf.
func keysOf(v map[string]any, path string) (keys []string) {
	for k, x := range v {
		p := strings.TrimPrefix(path+"."+k, ".")
		if m, ok := x.(map[string]any); ok {
			keys = append(keys, keysOf(m, p)...)
		} else {
			keys = append(keys, p)
		}
	}
	return keys
}

func partKeys(t *testing.T, token string, i int) []string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	keys := keysOf(v, "")
	slices.Sort(keys)
	return keys
}

func (s *server) compare(t *testing.T, name string, a answer, want seen) {
	t.Helper()
	want.Body = sameJSON(want.Body)
	got := s.look(a, want)
	got.Body = sameJSON(got.Body)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s differs from the real one (-real +ours):\n%s", name, diff)
	}
}

// sameJSON writes JSON in one way, so that escapes do not matter.
func sameJSON(text string) string {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	out, _ := json.Marshal(v)
	return string(out)
}

// TestExchanges holds single answers against those of a real Nextcloud 24.0.5.
func TestExchanges(t *testing.T) {
	var list []struct {
		Name, Method, Path, As, Given string
		Headers                       map[string]string
		Want                          seen
	}
	load(t, "exchanges.json", &list)
	for _, x := range list {
		t.Run(x.Name, func(t *testing.T) {
			s := serve(t, Options{})
			var headers []string
			for k, v := range x.Headers {
				headers = append(headers, k, v)
			}
			headers = append(headers, s.credential(x.As)...)
			switch x.Given {
			case "expired":
				s.clock.Add(3601 * time.Second)
			case "disabled":
				s.Disable(DefaultUser, true)
			case "maintenance":
				s.SetMaintenance(true)
			}
			s.compare(t, x.Name, s.browser().do(x.Method, x.Path, "", headers...), x.Want)
		})
	}
}

// credential is what a caller of a kind sends.
func (s *server) credential(as string) []string {
	password := func(p string) []string {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(DefaultUser, p)
		return []string{"Authorization", r.Header.Get("Authorization")}
	}
	switch as {
	case "":
		return nil
	case "basic":
		return password(DefaultPassword)
	case "wrong basic":
		return password("wrong")
	case "token as password":
		return password(s.oauthTokens().Access)
	case "bearer":
		return []string{"Authorization", "Bearer " + s.oauthTokens().Access}
	case "oidc bearer":
		return []string{"Authorization", "Bearer " + s.oidcTokens().Access}
	case "bad bearer":
		return []string{"Authorization", "Bearer nonsense"}
	}
	s.t.Fatalf("no caller of kind %q", as)
	return nil
}

// TestOAuthFlow holds every step of the built-in OAuth2 against the real one.
func TestOAuthFlow(t *testing.T) {
	var want map[string]seen
	load(t, "flows.json", &want)
	s := serve(t, Options{})
	b := s.browser()
	step := func(name string, a answer) answer {
		t.Helper()
		s.compare(t, name, a, want[name])
		return a
	}
	a := step("oauth2: authorize", b.get("/index.php/apps/oauth2/authorize?response_type=code&client_id="+DefaultClientID+
		"&redirect_uri=http%3A%2F%2Flocalhost%3A8000%2Fauth%2Fcallback&state=STATE+1%2F%2B%26&scope=openid&nonce=n1&code_challenge=x&code_challenge_method=S256"))
	a = step("oauth2: picker", b.get(a.location()))
	a = step("oauth2: grant, anonymous", b.get(a.value(t, `id="login" href="([^"]+)"`)))
	a = step("oauth2: login form", b.get(a.location()))
	a = step("oauth2: login", b.login(a, DefaultUser, DefaultPassword))
	a = step("oauth2: grant", b.get(a.location()))
	a = step("oauth2: granted", b.grant(a))
	q := queryOf(t, a.location())
	if q.Get("state") != "STATE 1/+&" {
		t.Errorf("state = %q, want it as sent", q.Get("state"))
	}
	step("oauth2: token", s.exchange(tokenURL, q.Get("code")))
}

// TestOIDCFlow does the same for the oidc app 0.6.2.
func TestOIDCFlow(t *testing.T) {
	var want map[string]seen
	load(t, "flows.json", &want)
	s := serve(t, Options{})
	b := s.browser()
	step := func(name string, a answer) answer {
		t.Helper()
		s.compare(t, name, a, want[name])
		return a
	}
	authorize := func(pairs ...string) answer {
		return b.get("/index.php/apps/oidc/authorize?" + values(append([]string{"response_type", "code", "client_id", DefaultClientID}, pairs...)...).Encode())
	}
	info := func(token string) answer {
		return s.browser().get("/index.php/apps/oidc/userinfo", "Authorization", "Bearer "+token)
	}
	a := step("oidc: authorize", authorize("redirect_uri", callback, "scope", "openid profile email groups roles", "state", "st 1/+&", "nonce", "NONCE1"))
	a = step("oidc: login form", b.get(a.location()))
	a = step("oidc: login", b.login(a, DefaultUser, DefaultPassword))
	a = step("oidc: hop", b.get(a.location()))
	a = step("oidc: authorize, signed in", b.get(a.value(t, `id="continue" href="([^"]+)"`)))
	code := queryOf(t, a.location()).Get("code")
	first := step("oidc: token", s.exchange(oidcURL, code)).tokens(t)
	step("oidc: userinfo", info(first.Access))
	step("oidc: userinfo by POST", s.browser().post("/index.php/apps/oidc/userinfo", nil, "Authorization", "Bearer "+first.Access))
	step("oidc: userinfo, bad token", info("nonsense"))
	step("oidc: userinfo, no token", s.browser().get("/index.php/apps/oidc/userinfo"))
	step("oidc: reused code", s.exchange(oidcURL, code))
	second := step("oidc: refresh", s.refresh(oidcURL, first.Refresh)).tokens(t)
	step("oidc: userinfo, old token", info(first.Access))
	step("oidc: reused refresh token", s.refresh(oidcURL, first.Refresh))
	step("oidc: client_secret_basic", s.browser().post(oidcURL, values("grant_type", "refresh_token", "refresh_token", second.Refresh),
		"Accept", "text/html", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(DefaultClientID+":"+DefaultClientSecret))))
	code = queryOf(t, authorize("redirect_uri", callback, "scope", "openid", "state", "s2", "nonce", "n2").location()).Get("code")
	step("oidc: wrong secret", s.exchange(oidcURL, code, "client_secret", "bad"))
	small := s.exchange(oidcURL, code, "redirect_uri", "https://evil.example/").tokens(t) // ignored by 0.6
	step("oidc: userinfo, scope openid", info(small.Access))
	step("oidc: bad redirect", authorize("redirect_uri", "https://evil.example/cb", "state", "x"))
	step("oidc: unknown client", authorize("client_id", "zz", "redirect_uri", callback))
	step("oidc: response_type token", authorize("response_type", "token", "redirect_uri", callback, "state", "x"))
	code = queryOf(t, authorize("client_id", hsClient, "redirect_uri", callback, "scope", "openid", "state", "x").location()).Get("code")
	step("oidc: token, HS256", s.exchange(oidcURL, code, "client_id", hsClient))
	end := "/index.php/apps/oidc/logout?" + url.Values{"id_token_hint": {first.ID}, "post_logout_redirect_uri": {"http://localhost:8000/bye"}}.Encode()
	step("oidc: end_session", b.get(end))
	step("oidc: userinfo after logout", info(second.Access))
	step("oidc: authorize after logout", authorize("redirect_uri", callback, "scope", "openid", "state", "x"))
	step("oidc: end_session, nobody", b.get("/index.php/apps/oidc/logout?post_logout_redirect_uri=https%3A%2F%2Fevil.example%2F"))
}
