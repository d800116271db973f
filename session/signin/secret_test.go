package signin

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"anteroom/session"
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
	c := &clientSecret{now: func() time.Time { return now }, current: "one"}
	step := func(what string, calls int, good bool) {
		t.Helper()
		shown = nil
		if err := c.show(ask); (err == nil) != good || len(shown) != calls {
			t.Errorf("%s: %v after %d calls, want good %v after %d", what, err, len(shown), good, calls)
		}
	}
	step("at first", 1, true)
	c.renew("two")
	step("the file first", 2, true)
	step("not shown again at once", 1, true)
	c.renew("tw") // a file caught half-written
	c.renew("two")
	step("still", 2, true)
	atProvider = "two"
	step("then the provider", 2, true)
	step("and from then on", 1, true)

	atProvider = "three"
	file := session.Secret("two")
	c.look = func() { c.renew(file) }
	step("the provider first", 1, false)
	file = "three"
	step("then the file", 2, true)
	step("and from then on", 1, true)

	c.renew("four")
	if err := c.show(func(session.Secret) error { return errors.New("no answer") }); err == nil {
		t.Error("an outage is no error")
	}
	step("an outage proves nothing", 2, true)
	now = now.Add(2 * retrySecret)
	step("tried again later", 2, true)
	c.renew("three")
	step("taken back", 1, true)
}
