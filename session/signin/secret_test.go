package signin

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"anteroom/session"
	"anteroom/test/loopback"
)

// TestClientSecretExchange: whichever side exchanges the secret first, no call
// fails while both know one of two.
func TestClientSecretExchange(t *testing.T) {
	refused := error(&oauth2.RetrieveError{ErrorCode: "invalid_client"})
	now := time.Unix(1e9, 0)
	atProvider := session.Secret("one")
	var shown []session.Secret
	ask := func(s session.Secret) error {
		shown = append(shown, s)
		if s != atProvider {
			return refused
		}
		return nil
	}
	c := session.NewRotating("one")
	c.Now = func() time.Time { return now }
	step := func(what string, calls int, good bool) {
		t.Helper()
		shown = nil
		if err := c.Show(ask, isClientRefused); (err == nil) != good || len(shown) != calls {
			t.Errorf("%s: %v after %d calls, want good %v after %d", what, err, len(shown), good, calls)
		}
	}
	step("at first", 1, true)
	c.Renew("two")
	step("the file first", 2, true)
	step("not shown again at once", 1, true)
	c.Renew("tw") // a file caught half-written
	c.Renew("two")
	step("still", 2, true)
	atProvider = "two"
	step("then the provider", 2, true)
	step("and from then on", 1, true)

	atProvider = "three"
	file := session.Secret("two")
	c.Look = func() { c.Renew(file) }
	step("the provider first", 1, false)
	file = "three"
	step("then the file", 2, true)
	step("and from then on", 1, true)

	c.Renew("four")
	if err := c.Show(func(session.Secret) error { return errors.New("no answer") }, isClientRefused); err == nil {
		t.Error("an outage is no error")
	}
	step("an outage proves nothing", 2, true)
	now = now.Add(2 * session.RetrySecret)
	step("tried again later", 2, true)
	c.Renew("three")
	step("taken back", 1, true)
}

// TestRevokedByEitherSecret: the file has the new one, and the provider not yet.
func TestRevokedByEitherSecret(t *testing.T) {
	revoked := 0
	h := newHostile(t, nil)
	h.set("/revoke", func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("client_secret") != "secret" {
			fails(http.StatusUnauthorized, map[string]any{"error": "invalid_client"})(w, r)
			return
		}
		revoked++
	})
	p := relyingParty(t, h.URL, nil)
	o, err := newOIDC(p, &metadata{Issuer: h.URL, RevocationURL: h.URL + "/revoke"})
	p.adopt(must(o, err))
	p.RenewClientSecret("new")
	if p.SignOut(t.Context(), session.Grant{Tokens: session.Tokens{Refresh: "refresh-1"}}, testSite); revoked != 1 {
		t.Errorf("%d tokens were revoked, want one", revoked)
	}
}

// TestRevocationProvesNothing: some providers revoke for whoever shows the token,
// which says nothing of the secret beside it: the one before stays.
func TestRevocationProvesNothing(t *testing.T) {
	h := newHostile(t, nil)
	h.set("/revoke", says(nil))
	p := relyingParty(t, h.URL, nil)
	o, err := newOIDC(p, &metadata{Issuer: h.URL, RevocationURL: h.URL + "/revoke"})
	p.adopt(must(o, err))
	p.RenewClientSecret("new")
	p.SignOut(t.Context(), session.Grant{Tokens: session.Tokens{Refresh: "refresh-1"}}, testSite)
	err = p.secret.Show(func(s session.Secret) error {
		if s != "secret" {
			return errNoClient
		}
		return nil
	}, isNoClient)
	if err != nil {
		t.Errorf("Show to a provider that has the secret before = %v, want it shown", err)
	}
}

// TestAnswersAreNotQuoted: Go's HTTP client quotes what it cannot read.
func TestAnswersAreNotQuoted(t *testing.T) {
	at := loopback.Serve(t, nil, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, "canary\r\n\r\n")
		}
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := boundedClient(&http.Client{Transport: &http.Transport{}}).Do(r); err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("Do = %v, want what is wrong, without the answer", err)
	}
}
