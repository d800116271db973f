package signin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// countKeys counts how often the keys are asked for.
func countKeys(h *hostile) *atomic.Int64 {
	var n atomic.Int64
	h.mu.Lock()
	keys := h.pages["/jwks"]
	h.mu.Unlock()
	h.set("/jwks", func(w http.ResponseWriter, r *http.Request) { n.Add(1); keys(w, r) })
	return &n
}

// TestFloodOfLogoutTokens: whatever anybody sends, the provider is asked for
// its keys once in a while, and a good token is taken in between.
func TestFloodOfLogoutTokens(t *testing.T) {
	h := newHostile(t, nil)
	asked := countKeys(h)
	tick := &clock{}
	p := found(t, relyingParty(t, h.URL, func(_ *Config, o *Options) { o.Now = tick.Now }))
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 300 {
		bad := typed(t, jose.ES256, other, "kid-"+strconv.Itoa(i), "logout+jwt", h.logoutToken())
		wg.Go(func() {
			if _, err := p.VerifyLogout(t.Context(), bad); kindOf(err) != Unavailable && kindOf(err) != Invalid {
				t.Errorf("VerifyLogout(unknown key) = %v", err)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n > 2 {
		t.Errorf("300 tokens of unknown keys: the keys were asked for %d times, want 2 at most", n)
	}
	if _, err := p.VerifyLogout(t.Context(), h.sign(t, h.logoutToken())); err != nil {
		t.Errorf("VerifyLogout(good, after a flood) = %v", err)
	}
	forged := typed(t, jose.ES256, other, "one", "logout+jwt", h.logoutToken())
	if _, err := p.VerifyLogout(t.Context(), forged); kindOf(err) != Invalid {
		t.Errorf("VerifyLogout(forged, known key) = %v, want Invalid: there is nothing to wait for", err)
	}
	before := asked.Load()
	tick.add(keysRest)
	h.set("/jwks", says(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: other.Public(), KeyID: "new", Algorithm: "ES256"}}}))
	if _, err := p.VerifyLogout(t.Context(), typed(t, jose.ES256, other, "new", nil, h.logoutToken())); err != nil || before > 2 {
		t.Errorf("VerifyLogout(new key, after a rest) = %v, want it taken", err)
	}
}

// TestKeysForLogout: keys that cannot be had are not the token's fault, and
// leaving does not stop a question that others wait for.
func TestKeysForLogout(t *testing.T) {
	h := newHostile(t, nil)
	h.set("/jwks", fails(503, nil))
	tick := &clock{}
	p := found(t, relyingParty(t, h.URL, func(_ *Config, o *Options) { o.Now = tick.Now }))
	good := h.sign(t, h.logoutToken())
	for _, when := range []string{"down", "still resting"} {
		if _, err := p.VerifyLogout(t.Context(), good); kindOf(err) != Unavailable {
			t.Errorf("VerifyLogout(keys %s) = %v, want Unavailable", when, err)
		}
	}
	tick.add(keysRest)
	h.set("/jwks", says(map[string]any{"keys": []any{map[string]any{"kty": "OKP", "crv": "X448", "x": "AA"}, map[string]any{"kty": "oct", "k": "AAAA", "kid": "one"},
		jose.JSONWebKey{Key: hostileKey().Public(), KeyID: "one"}}}))
	gone, leave := context.WithCancel(t.Context())
	h.mu.Lock()
	keys := h.pages["/jwks"]
	h.mu.Unlock()
	h.set("/jwks", func(w http.ResponseWriter, r *http.Request) { leave(); time.Sleep(20 * time.Millisecond); keys(w, r) })
	_, _ = p.VerifyLogout(gone, good)
	if _, err := p.VerifyLogout(t.Context(), good); err != nil {
		t.Errorf("VerifyLogout(after another asked for the keys and left) = %v, want nil", err)
	}
}

// TestFrozenKeys: tokens that wait for keys leave room for those that need not.
func TestFrozenKeys(t *testing.T) {
	h := newHostile(t, nil)
	tick := &clock{}
	p := found(t, relyingParty(t, h.URL, func(_ *Config, o *Options) { o.Now = tick.Now }))
	good := h.sign(t, h.logoutToken())
	if _, err := p.VerifyLogout(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	tick.add(keysRest)
	frozen := make(chan struct{}, 4*maxVerifications)
	thaw, done := context.WithCancel(t.Context())
	defer done()
	h.set("/jwks", func(http.ResponseWriter, *http.Request) { frozen <- struct{}{}; <-thaw.Done() })
	var wg sync.WaitGroup
	for i := range 2 * maxVerifications {
		bad := typed(t, jose.ES256, hostileKey(), "kid-"+strconv.Itoa(i), nil, h.logoutToken())
		wg.Go(func() { _, _ = p.VerifyLogout(t.Context(), bad) })
	}
	<-frozen
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		_, err := p.VerifyLogout(t.Context(), good)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("VerifyLogout(known key, keys frozen) = %v, want nil", err)
		}
	}
	done()
	wg.Wait()
}
