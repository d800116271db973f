package upstream

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Ask asks a destination for its front page, as nobody, and says with which
// status it answers.
func Ask(ctx context.Context, dest string, dialTime time.Duration) (status int, err error) {
	to, w, err := connect(dest, Options{DialTimeout: dialTime})
	if err != nil {
		return 0, err
	}
	defer w.close()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String()+"/", nil)
	if err != nil {
		return 0, fmt.Errorf("upstream: %w", err)
	}
	resp, err := w.RoundTrip(r)
	if err != nil {
		return 0, fmt.Errorf("upstream: %w", err)
	}
	return resp.StatusCode, resp.Body.Close()
}
