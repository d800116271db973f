package signin

import (
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"anteroom/session"
)

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
