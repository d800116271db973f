package main

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"testing"

	"anteroom/demo"
	"anteroom/test/person"
	"anteroom/test/redistest"
)

// TestSignInsByAddress: who begins too many is told to wait; whoever is signed
// in goes on, from that address too.
func TestSignInsByAddress(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_SIGN_IN_RATE=6 in 1h")
	p, _ := w.testdoc("/")
	stranger := person.New(nil)
	refused := 0
	for range 10 {
		resp, _ := w.ask(stranger, "GET", "/auth/login", "")
		if resp.StatusCode != http.StatusTooManyRequests {
			continue
		}
		refused++
		if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || after < 500 || after > 601 {
			t.Errorf("Retry-After = %q, want the time until one more", resp.Header.Get("Retry-After"))
		}
	}
	if refused != 6 { // the sign-in took two
		t.Errorf("%d of 10 more sign-ins were refused, want 6", refused)
	}
	if resp, _ := w.ask(p, "GET", "/auth/me", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("who is signed in gets %d", resp.StatusCode)
	}
	if n := w.limited("sign_in_rate"); n != 6 {
		t.Errorf("anteroom_limited_total has %v, want 6", n)
	}
}

// TestSignInsByAccount: one person who signs in again and again does not keep
// others out, nor lose the sessions there are.
func TestSignInsByAccount(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_SIGN_IN_ACCOUNT_RATE=2 in 1h")
	first, _ := w.testdoc("/")
	w.testdoc("/")
	late := person.New(map[string]string{"user": demo.DefaultUser, "password": demo.DefaultPassword})
	if page, err := late.SignIn(w.site+"/", w.site); err != nil || page.Status != http.StatusTooManyRequests {
		t.Errorf("the third sign-in of a person ends with %+v, %v, want 429", page, err)
	}
	for range 4 { // it is told the same however often: no session was there to lose
		if page, err := late.SignIn(w.site+"/", w.site); err != nil || page.Status != http.StatusTooManyRequests {
			t.Errorf("trying again ends with %+v, %v, want 429", page, err)
		}
	}
	if resp, _ := w.ask(late, "GET", "/auth/me", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the one who was refused has a session: %d", resp.StatusCode)
	}
	if resp, _ := w.ask(first, "GET", "/auth/me", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the first session gets %d", resp.StatusCode)
	}
	nurse := person.New(map[string]string{"user": "nurse", "password": "nurse123"})
	if page, err := nurse.SignIn(w.site+"/", w.site); err != nil || page.Status != http.StatusOK {
		t.Errorf("another person's sign-in: %+v, %v", page, err)
	}
}

// TestTokensByAccount holds for /auth/token.
func TestTokensByAccount(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_TOKEN_ACCOUNT_RATE=3 in 1h")
	p, _ := w.testdoc("/")
	for i, want := range []int{200, 200, 200, 429, 429} {
		resp, body := w.ask(p, "POST", "/auth/token", "", "Origin: "+w.site, "Sec-Fetch-Site: same-origin")
		if resp.StatusCode != want {
			t.Errorf("token %d = %d, want %d: %s", i, resp.StatusCode, want, body)
		}
	}
	if resp, _ := w.ask(p, "GET", "/auth/me", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("who is signed in gets %d", resp.StatusCode)
	}
}

// TestSharedRates: replicas that share Redis count together, and by themselves
// while it is away.
func TestSharedRates(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	env := []string{"ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_REDIS_URL=" + s.URL(), "ANTEROOM_SERVER_SIGN_IN_RATE=5 in 1h",
		"ANTEROOM_SESSION_KEYS=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
	begun := func(w *town) (n int) {
		for range 5 {
			if resp, _ := w.ask(person.New(nil), "GET", "/auth/login", ""); resp.StatusCode != http.StatusTooManyRequests {
				n++
			}
		}
		return n
	}
	one, two := found(t, demo.Options{}, env...), found(t, demo.Options{}, env...)
	if a, b := begun(one), begun(two); a != 5 || b != 0 {
		t.Errorf("two replicas let %d and %d sign-ins begin, want 5 and 0", a, b)
	}
	three := found(t, demo.Options{}, env...)
	s.Stop()
	if n := begun(three); n != 5 {
		t.Errorf("without Redis a replica lets %d sign-ins begin, want 5 of its own", n)
	}
}

// TestOthersPagesTakeNoTokens: a page of another site cannot use up the sign-ins
// of whoever looks at it.
func TestOthersPagesTakeNoTokens(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_SIGN_IN_RATE=2 in 1h")
	stranger := person.New(nil)
	for range 5 {
		if resp, _ := w.ask(stranger, "GET", "/auth/login", "", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("an image on another site = %d, want 403", resp.StatusCode)
		}
		if resp, _ := w.ask(stranger, "GET", "/auth/login", "", "Sec-Fetch-Site: cross-site", asBrowser, "Sec-Fetch-Dest: document", "Sec-Purpose: prefetch;prerender"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("a prefetch for another site = %d, want 403", resp.StatusCode)
		}
		for _, path := range []string{"/auth/login", "/auth/callback?state=x&code=y"} {
			if resp, _ := w.ask(stranger, "GET", path, "", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"); resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s in a frame on another site = %d, want 403", path, resp.StatusCode)
			}
		}
	}
	if resp, _ := w.ask(stranger, "GET", "/auth/login", "", "Sec-Fetch-Site: cross-site", asBrowser); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("a link on another site = %d, want the sign-in", resp.StatusCode)
	}
	if resp, _ := w.ask(stranger, "GET", "/auth/callback?state=x&code=y", "", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("from Nextcloud, back in a frame of our own = %d, want it judged", resp.StatusCode)
	}
}
