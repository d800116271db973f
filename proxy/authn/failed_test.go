package authn

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"anteroom/session"
)

// TestFailedTellsWhatWasTried, to who asks, and not in its text: the name, and
// whether it is the same credential as before.
func TestFailedTellsWhatWasTried(t *testing.T) {
	a := source(t, new(cloud), Options{Assertions: issued{}})
	try := func(values ...string) *Failed {
		t.Helper()
		_, err := a.Identify(request(values...))
		var f *Failed
		if !errors.As(err, &f) || !errors.Is(err, ErrRefused) && !errors.Is(err, ErrThrottled) || strings.Contains(err.Error(), "canary") {
			t.Fatalf("Identify(%q) = %v, want a refusal that tells what was tried, and no canary", values, err)
		}
		return f
	}
	first, again, other := try(basic("canary", "a")), try(basic("canary", "a")), try(basic("canary", "b"))
	if first.Account != "canary" || first.Proof == 0 || again.Proof != first.Proof || other.Proof == first.Proof {
		t.Errorf("tried = %+v, %+v, %+v, want one name and two proofs", first, again, other)
	}
	token, ours := try("Bearer canary-token"), try("Bearer ours.canary")
	if token.Account != "" || token.Proof == 0 || ours.Proof == 0 || token.Proof == ours.Proof {
		t.Errorf("tokens tried = %+v, %+v, want no name and two proofs", token, ours)
	}
	for _, value := range []string{"Basic canary", "Basic " + base64.StdEncoding.EncodeToString([]byte("canary")), "Bearer ", "Negotiate", ""} {
		if f := try(value); f.Account != "" || f.Proof != 0 {
			t.Errorf("tried by %q = %+v, want nothing", value, f)
		}
	}
	var throttled *Failed
	for i := range 50 {
		if throttled = try(basic("canary", fmt.Sprint("guess", i))); errors.Is(throttled, ErrThrottled) {
			break
		}
	}
	if !errors.Is(throttled, ErrThrottled) || throttled.Account != "canary" || throttled.Proof == 0 {
		t.Errorf("throttled = %+v, want what was tried, too", throttled)
	}
}

// overSource is a source that knows a session that ended.
type overSource struct{ over *session.Over }

func (s overSource) Identify(*http.Request) (Caller, error) { return Caller{Over: s.over}, nil }

// TestChainKeepsWhatIsOver: nobody in the chain knows the caller, but one knew
// their session.
func TestChainKeepsWhatIsOver(t *testing.T) {
	over := &session.Over{ID: "a"}
	r := request().WithContext(context.Background())
	if c, err := (Chain{overSource{over}, overSource{nil}}).Identify(r); err != nil || c.Who != nil || c.Over != over {
		t.Errorf("Identify = %+v, %v, want nobody, with the session", c, err)
	}
	a := source(t, new(cloud), Options{})
	r.Header.Set("Authorization", basic("ada", "good"))
	if c, err := (Chain{overSource{over}, a}).Identify(r); err != nil || c.Who == nil || c.Over != nil {
		t.Errorf("Identify beside a good password = %+v, %v, want the person alone", c, err)
	}
}
