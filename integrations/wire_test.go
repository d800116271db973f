package integrations

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// trickle is a body that says a byte every so often, and ends with its request.
type trickle struct {
	ctx   context.Context
	every time.Duration
	left  int
}

func (b *trickle) Read(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, io.EOF
	}
	select {
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	case <-time.After(b.every):
		return copy(p, "a"), nil
	}
}

func (b *trickle) Close() error { return nil }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestSilence: a server that falls silent within an answer is a timeout, a slow
// one is none, and neither is a caller who takes their time.
func TestSilence(t *testing.T) {
	for name, tc := range map[string]struct {
		every, between time.Duration
		slow           bool
	}{
		"at once":           {0, 0, false},
		"slow":              {stallTime - time.Second, 0, false},
		"a caller's time":   {time.Second, time.Hour, false},
		"silent":            {time.Hour, 0, true},
		"silent, and a bit": {stallTime + time.Second, time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: &trickle{r.Context(), tc.every, 5}, Request: r}, nil
				})}
				client := (&Access{}).Wire(base, &Grant{Caller: &Caller{}})
				resp, err := client.Get("http://cloud.example.com/")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				n, buf := 0, make([]byte, 10)
				for err == nil {
					var m int
					m, err = resp.Body.Read(buf)
					n += m
					time.Sleep(tc.between)
				}
				if slow := !errors.Is(err, io.EOF); slow != tc.slow || !slow && n != 5 || slow && Lost(err).Reason != ReasonSlow {
					t.Errorf("%d bytes, then %v; want it slow: %v", n, err, tc.slow)
				}
			})
		})
	}
}
