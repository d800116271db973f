package proxy

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"anteroom/proxy/authz"
	"anteroom/proxy/forwardauth"
	"anteroom/proxy/upstream"
	"anteroom/session"
	"anteroom/session/signin"
)

func testExplainer(t *testing.T, cfg Config, routes ...Route) *Explainer {
	t.Helper()
	public, err := url.Parse(cfg.PublicURL)
	if err != nil {
		t.Fatal(err)
	}
	cookies := session.NewCookies(session.CookieConfig{Name: "anteroom"}, true)
	codec, err := session.NewCodec(nil)
	if err != nil {
		t.Fatal(err)
	}
	rp, err := signin.New(signin.Config{RedirectURI: cfg.PublicURL + "/oauth/back"}, signin.Options{Nextcloud: public, Public: public, Client: &http.Client{}, Codec: codec, Cookies: cookies, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewExplainer(Options{Config: cfg, Routes: routes, Identity: upstream.Config{JWT: upstream.JWTConfig{Algorithm: "ES256"}}, Cookies: cookies, SignIn: rp})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestEveryURLIsExplained: what a URL of ours is for is known of each, and
// nothing that such a URL does is done.
func TestEveryURLIsExplained(t *testing.T) {
	e := testExplainer(t, Config{PublicURL: "https://app.example.com", TrustedProxies: []string{"10.0.0.0/8"}}, Route{Path: "/", Upstream: "http://localhost:1"})
	for path, d := range e.s.own {
		words, ok := strings.CutPrefix(e.own(d), path+": ")
		if !ok || words == "" {
			t.Errorf("%s is explained as %q, want what it is for", path, e.own(d))
		}
		if d.asks != nil {
			continue
		}
		if d.name == doorCheck {
			q := forwardauth.Asked{Method: "GET", Proto: "https", Host: "app.example.com", Target: path}
			if a := e.Answer(q, Directly, true, &session.Identity{Subject: "ada"}); a.Passed || a.Status != http.StatusNotFound {
				t.Errorf("GET %s = %+v, want 404", path, a)
			}
			continue
		}
		for _, method := range append(d.methods, "GET") {
			q := forwardauth.Asked{Method: method, Proto: "https", Host: "app.example.com", Target: path}
			allowed := method != "GET" || e.Find(q).Own == "" || d.methods[0] == "GET"
			if a := e.Answer(q, Directly, true, &session.Identity{Subject: "ada"}); a.Passed != allowed || !allowed && a.Status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s = %+v, want passed %v", method, path, a, allowed)
			}
			if a := e.Answer(q, Relaying, true, &session.Identity{Subject: "ada"}); a.Passed || a.Reason != reasonOwnURL {
				t.Errorf("%s %s that a front proxy asks about = %+v, want %s", method, path, a, reasonOwnURL)
			}
		}
	}
	for path := range ownWords {
		if e.s.own[path] == nil {
			t.Errorf("there are words for %s, which is no URL of ours", path)
		}
	}
}

// TestExplainCountsAs: the scheme is what the server would make of it.
func TestExplainCountsAs(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg        Config
		http, tls  string // what a request by http and one by https count as
		mayBeAsked bool
	}{
		"nobody trusted": {Config{}, "http", "http", false},
		"TLS":            {Config{TLS: TLSConfig{Cert: "cert.pem"}}, "https", "https", false},
		"front proxy":    {Config{TrustedProxies: []string{"10.0.0.0/8"}}, "http", "https", true},
		"over TLS":       {Config{TLS: TLSConfig{Cert: "cert.pem"}, TrustedProxies: []string{"::1"}}, "http", "https", true},
	} {
		tt.cfg.PublicURL = "https://app.example.com"
		e := testExplainer(t, tt.cfg, Route{Path: "/", Upstream: NoUpstream, Allow: authz.Allow{Public: true}})
		for proto, want := range map[string]string{"http": tt.http, "https": tt.tls} {
			if got := e.Find(forwardauth.Asked{Method: "GET", Proto: proto, Host: "app.example.com", Target: "/"}).Proto; got != want {
				t.Errorf("%s: a request by %s counts as %s, want %s", name, proto, got, want)
			}
		}
		if e.Asked() != tt.mayBeAsked {
			t.Errorf("%s: Asked = %v, want %v", name, e.Asked(), tt.mayBeAsked)
		}
	}
}
