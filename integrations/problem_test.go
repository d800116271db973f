package integrations

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestProblemsDoNotQuote what a server sent, for their cause is logged.
func TestProblemsDoNotQuote(t *testing.T) {
	err := fmt.Errorf("reading a multistatus: %w", errors.Join(errors.New(`malformed MIME header: missing colon: "canary"`), io.ErrUnexpectedEOF))
	for name, got := range map[string]error{"Unusable": Unusable("Nextcloud", err), "Lost": Lost(err), "Away": Away("Nextcloud", err)} {
		if p, ok := ProblemOf(got); !ok || strings.Contains(p.Err.Error(), "canary") || !strings.Contains(p.Err.Error(), "malformed MIME header") {
			t.Errorf("%s = %+v, want it without the answer", name, p)
		}
	}
	if p := Answered(&http.Response{StatusCode: 599, Status: "599 canary", Header: http.Header{}, Body: http.NoBody}, "file"); p == nil || strings.Contains(p.Err.Error(), "canary") || !strings.Contains(p.Err.Error(), "599") {
		t.Errorf("Answered = %+v, want the number alone", p)
	}
}
