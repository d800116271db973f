package signin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"anteroom/session"
)

var usualClaims = Claims{User: "sub", Username: "preferred_username", Name: "name", Email: "email", Groups: "groups"}

func TestClaims(t *testing.T) {
	many := func(n int) (out []any) {
		for i := range n {
			out = append(out, fmt.Sprintf("g%04d", i))
		}
		return out
	}
	type m = map[string]any
	tests := []struct {
		name         string
		id, userinfo m
		want         session.Identity // Method and AuthTime aside
		err          bool
	}{
		{"sub alone", m{"sub": "ada"}, nil, session.Identity{Subject: "ada", Username: "ada"}, false},
		{"userinfo over id_token", m{"sub": "ada", "name": "Old"}, m{"sub": "ada", "name": "New", "preferred_username": "al"},
			session.Identity{Subject: "ada", Username: "al", Name: "New"}, false},
		{"null in userinfo", m{"sub": "ada", "name": "Old"}, m{"name": nil}, session.Identity{Subject: "ada", Username: "ada", Name: "Old"}, false},
		{"groups as strings", m{"sub": "ada", "groups": []any{"b", "a", "b", ""}}, nil, session.Identity{Subject: "ada", Username: "ada", Groups: []string{"a", "b"}}, false},
		{"groups as objects", m{"sub": "ada", "groups": []any{m{"gid": "b", "displayName": "Bee"}, m{"id": "a"}, m{"name": "c"}, m{"x": "y"}, 7.0, nil}}, nil,
			session.Identity{Subject: "ada", Username: "ada", Groups: []string{"a", "b", "c"}}, false},
		{"groups as one string", m{"sub": "ada", "groups": "staff"}, nil, session.Identity{Subject: "ada", Username: "ada", Groups: []string{"staff"}}, false},
		{"groups as a number", m{"sub": "ada", "groups": 7.0}, nil, session.Identity{Subject: "ada", Username: "ada"}, false},
		{"roles where groups are absent", m{"sub": "ada"}, m{"roles": []any{"staff"}}, session.Identity{Subject: "ada", Username: "ada", Groups: []string{"staff"}}, false},
		{"roles beside groups", m{"sub": "ada"}, m{"roles": []any{"boss"}, "groups": []any{"staff"}}, session.Identity{Subject: "ada", Username: "ada", Groups: []string{"staff"}}, false},
		{"no groups beside roles", m{"sub": "ada"}, m{"roles": []any{"boss"}, "groups": []any{}}, session.Identity{Subject: "ada", Username: "ada"}, false},
		{"mail verified", m{"sub": "ada", "email": "a@b", "email_verified": true}, nil, session.Identity{Subject: "ada", Username: "ada", Email: "a@b"}, false},
		{"mail, not said whether verified", m{"sub": "ada", "email": "a@b"}, nil, session.Identity{Subject: "ada", Username: "ada", Email: "a@b"}, false},
		{"mail not verified", m{"sub": "ada", "email": "a@b", "email_verified": false}, nil, session.Identity{Subject: "ada", Username: "ada"}, false},
		{"mail with two @", m{"sub": "ada", "email": "a@b@c"}, nil, session.Identity{Subject: "ada", Username: "ada"}, false},
		{"mail without @", m{"sub": "ada", "email": "ab"}, nil, session.Identity{Subject: "ada", Username: "ada"}, false},
		{"mail with a line break", m{"sub": "ada", "email": "a@b\r\nX: y"}, nil, session.Identity{Subject: "ada", Username: "ada"}, false},
		{"name with a control character", m{"sub": "ada", "name": "A\x00da"}, nil, session.Identity{Subject: "ada", Username: "ada"}, false},
		{"name that is not UTF-8", m{"sub": "ada", "name": "A\xff"}, nil, session.Identity{Subject: "ada", Username: "ada"}, false},
		{"name too long", m{"sub": "ada", "name": strings.Repeat("a", 1025)}, nil, session.Identity{Subject: "ada", Username: "ada"}, false},
		{"username with a control character", m{"sub": "ada", "preferred_username": "a\u0085"}, nil, session.Identity{Subject: "ada", Username: "ada"}, false},
		{"no sub", m{"name": "Ada"}, nil, session.Identity{}, true},
		{"empty sub", m{"sub": ""}, nil, session.Identity{}, true},
		{"sub is a number", m{"sub": 7.0}, nil, session.Identity{}, true},
		{"sub with a line break", m{"sub": "ada\nadmin"}, nil, session.Identity{}, true},
		{"sub too long", m{"sub": strings.Repeat("a", 256)}, nil, session.Identity{}, true},
		{"group with a control character", m{"sub": "ada", "groups": []any{"a\nb"}}, nil, session.Identity{}, true},
		{"group too long", m{"sub": "ada", "groups": []any{strings.Repeat("a", 257)}}, nil, session.Identity{}, true},
		{"2001 groups", m{"sub": "ada", "groups": many(2001)}, nil, session.Identity{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := identityOf(usualClaims, session.ByOIDC, tt.id, tt.userinfo, time.Time{})
			if (err != nil) != tt.err || err != nil && !errors.Is(err, errClaims) {
				t.Fatalf("identityOf(%v, %v) error = %v, want errClaims: %t", tt.id, tt.userinfo, err, tt.err)
			}
			if err != nil {
				return
			}
			same := got.Subject == tt.want.Subject && got.Username == tt.want.Username && got.Name == tt.want.Name &&
				got.Email == tt.want.Email && slices.Equal(got.Groups, tt.want.Groups)
			if !same {
				t.Errorf("identityOf(%v, %v) = %+v, want %+v", tt.id, tt.userinfo, got, tt.want)
			}
		})
	}
	if who, err := identityOf(usualClaims, session.ByOIDC, m{"sub": "ada", "groups": many(2000)}, nil, time.Time{}); err != nil || len(who.Groups) != 2000 {
		t.Errorf("identityOf(2000 groups) = %d groups, %v, want 2000, nil", len(who.Groups), err)
	}
}

func TestClaimNames(t *testing.T) {
	names := Claims{User: "uid", Username: "login", Name: "full", Email: "mail", Groups: "teams"}
	claims := map[string]any{"sub": "x", "uid": "ada", "login": "al", "full": "Ada", "mail": "a@b", "teams": []any{"staff"}, "roles": []any{"boss"}}
	got, err := identityOf(names, session.ByOIDC, claims, nil, time.Time{})
	if err != nil || got.Subject != "ada" || got.Username != "al" || got.Name != "Ada" || got.Email != "a@b" || !slices.Equal(got.Groups, []string{"staff"}) {
		t.Errorf("identityOf(other names) = %+v, %v, want ada with team staff", got, err)
	}
	delete(claims, "teams")
	if got, err = identityOf(names, session.ByOIDC, claims, nil, time.Time{}); err != nil || len(got.Groups) != 0 {
		t.Errorf("identityOf(configured claim absent) groups = %v, %v, want none: roles stand in for groups only", got.Groups, err)
	}
}

func FuzzClaims(f *testing.F) {
	f.Add([]byte(`{"sub":"ada","groups":["a",{"gid":"b"}],"email":"a@b@c","email_verified":false}`), []byte(`{"sub":"ada","roles":"x","name":"A\u0000"}`))
	f.Add([]byte(`{"sub":"a\nb"}`), []byte(`null`))
	f.Add([]byte(`[]`), []byte(`{"groups":{"gid":"a"}}`))
	f.Fuzz(func(t *testing.T, id, info []byte) {
		idClaims, _ := decodeClaims(id)
		userinfo, _ := decodeClaims(info)
		who, err := identityOf(usualClaims, session.ByOIDC, idClaims, userinfo, time.Time{})
		if err != nil {
			return
		}
		if who.Subject == "" || len(who.Subject) > maxID || !sound(who.Subject) || !sound(who.Username) || who.Username == "" {
			t.Errorf("identityOf(%s, %s) = subject %q, username %q, want clean ones", id, info, who.Subject, who.Username)
		}
		if !sound(who.Name) || !sound(who.Email) || !sound(strings.Join(who.Groups, "")) || !slices.IsSorted(who.Groups) {
			t.Errorf("identityOf(%s, %s) = %+v, want clean text and sorted groups", id, info, who)
		}
	})
}

func FuzzOCS(f *testing.F) {
	f.Add([]byte(`{"ocs":{"meta":{"status":"ok"},"data":{"id":"ada","display-name":"Ada","groups":["a"]}}}`))
	f.Add([]byte(`{"ocs":{"data":[]}}`))
	f.Add([]byte(`<?xml version="1.0"?><ocs/>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		who, err := ocsIdentity(body)
		if err == nil && (who.Subject == "" || !sound(who.Subject) || !json.Valid(body)) {
			t.Errorf("ocsIdentity(%s) = %+v, want a clean subject or an error", body, who)
		}
	})
}

func returning(t testing.TB) *RelyingParty {
	return relyingParty(t, "http://127.0.0.1:1", func(_ *Config, o *Options) {
		o.Public = address(t, "https://site.example")
		o.ReturnHosts = []string{"wiki.example", ".apps.example"}
	})
}

// tricks are addresses that must not be led to, whatever a browser makes of them.
var tricks = []string{"", "//evil", "///evil", "/\\evil", "\\\\evil", "/\tevil", "/\t/evil", "\t//evil", " //evil", "/\n/evil", "/\x00/evil", "https://site.evil", "https://evil@site.example",
	"https://site.example@evil/", "https://ada:pw@site.example/", "https://site.example:8443/", "https://site.example./", "http://site.example/", "https:evil", "https:/evil", "https:///evil",
	"javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "//site.example/x", "/./../\\evil", "/.//evil", "/..//evil", "/a/..//evil", "/%2e%2e//evil", "/./x", "x", "?a=b", "#x",
	"https://site.example//evil", "https://site.example/..//evil", "https://site\u3002example/", "https://wiki\u3002example/", "/\u2028", "https://evil\u2044.wiki.example/", "https://evilwiki.example/", "https://wiki.example.evil/",
	"https://wiki.example./", "https://wiki.example:81/", "https://wiki.example//evil", "http://wiki.example/", "https://apps.example/", "https://.apps.example/", "https://evilapps.example/", "https://evil\\.apps.example/", "https://[::1]/", "https://evil%EF%BC%8F.apps.example/", "https://evil%E2%84%80.apps.example/",
	"/" + strings.Repeat("a", 2000), "https://wiki.example/%zz", "/%zz"}

func TestReturnTo(t *testing.T) {
	p := returning(t)
	for raw, want := range map[string]string{"/": "/", "/x?y=//evil#z": "/x?y=//evil#z", "/%09/evil": "/%09/evil", "/%5cevil": "/%5cevil", "/a//b": "/a//b", "/x?u=https://evil/": "/x?u=https://evil/",
		"https://site.example": "/", "https://SITE.example/x?y": "/x?y", "https://wiki.example/x": "https://wiki.example/x", "https://WIKI.example/": "https://WIKI.example/",
		"https://a.apps.example/x": "https://a.apps.example/x", "/" + strings.Repeat("a", 1999): "/" + strings.Repeat("a", 1999)} {
		if got := p.ReturnTo(raw); got != want {
			t.Errorf("ReturnTo(%q) = %q, want %q", raw, got, want)
		}
	}
	for _, raw := range tricks {
		if got := p.ReturnTo(raw); got != "/" {
			t.Errorf("ReturnTo(%q) = %q, want /", raw, got)
		}
	}
}

func FuzzReturnTo(f *testing.F) {
	for _, raw := range append(tricks, "/x", "https://site.example/x", "https://wiki.example/x", "https://a.apps.example/?x#y") {
		f.Add(raw)
	}
	p := returning(f)
	site := address(f, "https://site.example/auth/callback")
	f.Fuzz(func(t *testing.T, raw string) {
		got := p.ReturnTo(raw)
		to, err := site.Parse(got) // as a browser resolves it
		if err != nil || strings.ContainsFunc(got, oddInURL) || strings.ContainsFunc(to.Host, oddInURL) || strings.HasPrefix(got, "//") || strings.HasPrefix(to.Path, "//") {
			t.Fatalf("ReturnTo(%q) = %q, %v, want nothing a browser reads in another way", raw, got, err)
		}
		host := strings.ToLower(strings.TrimSuffix(to.Host, ":"))
		away := to.Scheme == "https" && to.User == nil && (host == "wiki.example" || strings.HasSuffix(host, ".apps.example") && len(host) > len(".apps.example"))
		if got[0] == '/' && to.Host != site.Host || got[0] != '/' && !away {
			t.Errorf("ReturnTo(%q) = %q, want a path of this site or an allowed host", raw, got)
		}
	})
}

func TestLoop(t *testing.T) {
	h, c := newHostile(t, nil), &clock{}
	b := newBrowser(found(t, relyingParty(t, h.URL, func(_ *Config, o *Options) { o.Now = c.Now })))
	again := func(want Kind) error {
		t.Helper()
		q, err := b.start("/x")
		if kindOf(err) != want {
			t.Fatalf("Start = %v, want kind %q", err, want)
		}
		if err == nil {
			h.gives(signed(t, h.claims(q.Get("nonce"))))
			if _, err := b.finish(url.Values{"state": q["state"], "code": {"c"}}); err != nil {
				t.Fatalf("Finish = %v, want nil", err)
			}
		}
		return err
	}
	for range 3 {
		again("")
	}
	var e *Error
	if err := again(Loop); !errors.As(err, &e) || e.Cookie != "anteroom" || e.Why != Blocked || len(b.jar) != 0 {
		t.Errorf("Start(4th within a minute) = %+v with %d cookies left, want the session's cookie, Blocked, none", err, len(b.jar))
	}
	for range 5 { // slowly, it is no loop
		again("")
		c.add(25 * time.Second)
	}
}

func TestNotAllowed(t *testing.T) {
	h := newHostile(t, nil)
	for _, tt := range []struct {
		groups, users []string
		want          Kind
	}{
		{[]string{"staff", "x"}, nil, ""}, {nil, []string{"ada"}, ""}, {[]string{"x"}, []string{"ada"}, ""}, {[]string{"staff"}, []string{"eve"}, ""},
		{[]string{"Staff"}, nil, NotAllowed}, {nil, []string{"eve"}, NotAllowed}, {[]string{"x"}, []string{"Ada"}, NotAllowed},
	} {
		b := newBrowser(found(t, relyingParty(t, h.URL, func(c *Config, _ *Options) { c.AllowedGroups, c.AllowedUsers = tt.groups, tt.users })))
		q, err := b.start("/x")
		if err != nil {
			t.Fatalf("Start = %v, want nil", err)
		}
		h.gives(signed(t, h.claims(q.Get("nonce"))))
		res, err := b.finish(url.Values{"state": q["state"], "code": {"c"}})
		refusedAs(t, fmt.Sprintf("groups %v, users %v allowed", tt.groups, tt.users), res, err, tt.want)
		var e *Error
		if errors.As(err, &e) && (e.Who == nil || e.Who.Subject != "ada" || e.ReturnTo != "/x") {
			t.Errorf("Finish(not allowed) = %+v, want it to say who and where to", e)
		}
	}
}

func TestSomebodyElseAtOCS(t *testing.T) {
	h := newHostile(t, nil)
	h.set("/status.php", says(map[string]any{"installed": true}))
	h.set("/index.php/apps/oauth2/api/v1/token", says(map[string]any{"access_token": "access-2", "token_type": "Bearer", "user_id": "ada"}))
	h.set("/ocs/v2.php/cloud/user", says(map[string]any{"ocs": map[string]any{"data": map[string]any{"id": "eve"}}}))
	b := newBrowser(found(t, relyingParty(t, h.URL, func(c *Config, _ *Options) { c.Provider = kindNextcloud })))
	q, err := b.start("/x")
	if err != nil {
		t.Fatalf("Start = %v, want nil", err)
	}
	res, err := b.finish(url.Values{"state": q["state"], "code": {"c"}})
	refusedAs(t, "OCS about somebody else", res, err, Invalid)
	if _, err = b.p.Renew(t.Context(), session.Grant{Identity: session.Identity{Subject: "ada"}, Tokens: session.Tokens{Refresh: "r"}}); !errors.Is(err, session.ErrGrantDead) {
		t.Errorf("Renew(OCS about somebody else) = %v, want ErrGrantDead", err)
	}
}
