package signin

import (
	"encoding/json"
	"errors"
	"fmt"
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
		{"mail verified, as text", m{"sub": "ada", "email": "a@b", "email_verified": "true"}, nil, session.Identity{Subject: "ada", Username: "ada", Email: "a@b"}, false},
		{"mail not verified, as text", m{"sub": "ada", "email": "a@b", "email_verified": "false"}, nil, session.Identity{Subject: "ada", Username: "ada"}, false},
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

func TestMailAsID(t *testing.T) {
	names := usualClaims
	names.User, names.Username = "email", "email"
	claims := map[string]any{"sub": "x", "email": "a@b", "email_verified": true}
	if got, err := identityOf(names, session.ByOIDC, claims, nil, time.Time{}); err != nil || got.Subject != "a@b" || got.Username != "a@b" {
		t.Errorf("identityOf(verified mail as id) = %+v, %v, want a@b", got, err)
	}
	claims["email_verified"] = false
	if got, err := identityOf(names, session.ByOIDC, claims, nil, time.Time{}); !errors.Is(err, errClaims) {
		t.Errorf("identityOf(unverified mail as id) = %+v, %v, want errClaims: anybody could claim it", got, err)
	}
	names.User = "sub"
	if got, err := identityOf(names, session.ByOIDC, claims, nil, time.Time{}); err != nil || got.Username != "x" {
		t.Errorf("identityOf(unverified mail as username) = %+v, %v, want the id in its place", got, err)
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

// TestAsBefore: a renewal without an id_token cannot tell that an address is
// verified, nor that there are no groups.
func TestAsBefore(t *testing.T) {
	before := session.Identity{Subject: "s", Groups: []string{"staff"}}
	now := session.Identity{Subject: "s", Email: "boss@example.com"}
	if got := asBefore(before, now, map[string]any{"sub": "s", "email": "boss@example.com"}, "groups"); got.Email != "" || len(got.Groups) != 1 {
		t.Errorf("asBefore(silent userinfo) = %q, %v, want the address and groups of before", got.Email, got.Groups)
	}
	said := map[string]any{"email_verified": true, "groups": []any{}}
	if got := asBefore(before, now, map[string]any{"roles": []any{"staff"}}, "teams"); len(got.Groups) != 1 {
		t.Errorf("asBefore(userinfo with roles, where teams are the groups) = %v, want the groups of before", got.Groups)
	}
	if got := asBefore(before, now, said, "groups"); got.Email != "boss@example.com" || len(got.Groups) != 0 {
		t.Errorf("asBefore(userinfo that says both) = %q, %v, want what it says", got.Email, got.Groups)
	}
}
