package trace

import (
	"log/slog"
	"net/http"
	"testing"

	"anteroom/test/loopback"
)

// TestAuthoritiesChange: the collector is known by the authorities of now, also
// where there is a connection from before.
func TestAuthoritiesChange(t *testing.T) {
	old, next := loopback.Certificate(t), loopback.Certificate(t)
	file, _ := old.Files(t)
	tr, err := New(Config{Endpoint: next.Issue(t).HTTPS(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), CAFile: file}, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	loopback.FollowAuthorities(t, old, next, tr.RenewAuthorities, func() error {
		_, err := tr.out.post(t.Context(), nil)
		return err
	})
}
