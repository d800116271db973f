package watch

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"anteroom/test/loopback"
)

// TestAuthoritiesChange: the webhook is known by the authorities of now, also
// where there is a connection from before.
func TestAuthoritiesChange(t *testing.T) {
	old, next := loopback.Certificate(t), loopback.Certificate(t)
	cfg := defaults()
	cfg.Webhook = WebhookConfig{URL: next.Issue(t).HTTPS(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), Timeout: 5 * time.Second}
	cfg.Webhook.CAFile, _ = old.Files(t)
	w, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	loopback.FollowAuthorities(t, old, next, w.RenewAuthorities, func() error {
		if got := w.try(t.Context(), &Alert{ID: "1", Rule: spray}); got != outcomeDelivered {
			return errors.New(got)
		}
		return nil
	})
}
