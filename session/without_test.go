package session

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"testing"
)

// TestWithoutURL: what an HTTP client says is told without the URL, and without
// what a server sent, and is what it was to who asks.
func TestWithoutURL(t *testing.T) {
	for text, want := range map[string]string{
		`malformed HTTP response "canary"`:                                         "malformed HTTP response",
		`malformed MIME header: missing colon: "canary of \"somebody's\""`:         "malformed MIME header: missing colon",
		`server sent GOAWAY; LastStreamID=1, ErrCode=NO_ERROR, debug="canary" etc`: "server sent GOAWAY; LastStreamID=1, ErrCode=NO_ERROR, debug",
		"connection refused": "connection refused",
	} {
		cause := fmt.Errorf("%w%s", errNothing, text)
		for _, err := range []error{cause, &url.Error{Op: "Get", URL: "http://canary/", Err: cause}} {
			if got := WithoutURL(err); got.Error() != want || !errors.Is(got, errNothing) {
				t.Errorf("WithoutURL(%v) = %v, want %s", err, got, want)
			}
		}
	}
	if err := WithoutURL(nil); err != nil {
		t.Errorf("WithoutURL(nil) = %v", err)
	}
	if !errors.Is(WithoutURL(&url.Error{Err: io.EOF}), io.EOF) {
		t.Error("io.EOF is that no more")
	}
}

var errNothing = errors.New("")
