package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// keysRest is how long after keys were asked for they are not asked for again,
// whatever tokens come: anybody can make up a token with a key id nobody knows.
const keysRest = 10 * time.Second

const (
	keysTime   = 10 * time.Second // for the provider to give its keys
	maxWaiting = maxVerifications * 3 / 4
)

// errResting: a token names a key that the provider may have made a moment ago,
// and it is too soon to ask. Its text is one that keysError knows.
var errResting = errors.New("fetching keys again so soon is not done")

// calmKeys is a key set (RFC 7517) for tokens that anybody may send. Unlike
// go-oidc's, which asks the provider whenever a signature does not verify, it
// asks once in keysRest at most. It implements oidc.KeySet.
type calmKeys struct {
	client *http.Client
	url    string
	algs   []jose.SignatureAlgorithm
	now    func() time.Time

	fetching chan struct{} // one place: whoever fetches
	waiting  chan struct{} // a place for each token that waits for that

	mu    sync.Mutex
	keys  []jose.JSONWebKey // guarded by mu
	round int               // guarded by mu; how often they were got
	asked time.Time         // guarded by mu; when they were last asked for
}

func newCalmKeys(c *http.Client, url string, algs []string, now func() time.Time) *calmKeys {
	k := &calmKeys{client: c, url: url, now: now, fetching: make(chan struct{}, 1), waiting: make(chan struct{}, maxWaiting)}
	for _, a := range algs {
		k.algs = append(k.algs, jose.SignatureAlgorithm(a))
	}
	return k
}

// VerifySignature implements oidc.KeySet.
func (k *calmKeys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(jwt, k.algs)
	if err != nil {
		return nil, fmt.Errorf("malformed JWT: %w", err)
	}
	keys, round := k.cached()
	payload, known := verifiedBy(keys, jws)
	if payload != nil {
		return payload, nil
	}
	keys, err = k.fetch(ctx, round)
	switch {
	case errors.Is(err, errResting) && known:
		return nil, errSignature
	case err != nil:
		return nil, err
	}
	if payload, _ = verifiedBy(keys, jws); payload == nil {
		return nil, errSignature
	}
	return payload, nil
}

var errSignature = errors.New("the signature does not verify")

// verifiedBy tries the keys that a token may be signed with: those of its key
// id, all if it names none. known reports whether there were any.
func verifiedBy(keys []jose.JSONWebKey, jws *jose.JSONWebSignature) (payload []byte, known bool) {
	id := jws.Signatures[0].Header.KeyID
	for i := range keys {
		if id != "" && keys[i].KeyID != id {
			continue
		}
		known = true
		if p, err := jws.Verify(&keys[i]); err == nil {
			return p, true
		}
	}
	return nil, known
}

func (k *calmKeys) cached() ([]jose.JSONWebKey, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys, k.round
}

// fetch gets keys that are newer than those of a round, asking the provider if
// nobody else just did. Once asked, it is not for the sender of a token to take
// that back by leaving.
func (k *calmKeys) fetch(ctx context.Context, than int) ([]jose.JSONWebKey, error) {
	select {
	case k.waiting <- struct{}{}:
		defer func() { <-k.waiting }()
	default:
		return nil, fmt.Errorf("fetching keys not waited for: %w", errBusy)
	}
	select {
	case k.fetching <- struct{}{}:
		defer func() { <-k.fetching }()
	case <-ctx.Done():
		return nil, fmt.Errorf("fetching keys took too long: %w", ctx.Err())
	}
	if keys, round := k.cached(); round > than {
		return keys, nil
	}
	if !k.mayAsk() {
		return nil, errResting
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysTime)
	defer cancel()
	keys, err := k.ask(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetching keys failed: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys, k.round = keys, k.round+1
	return keys, nil
}

// mayAsk reports whether the provider has had its rest, and begins the next.
func (k *calmKeys) mayAsk() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if !k.asked.IsZero() && now.Before(k.asked.Add(keysRest)) {
		return false
	}
	k.asked = now
	return true
}

// ask gets the provider's key set. A key of a kind that we do not know, or that
// is no public one, is left out: others may be good.
func (k *calmKeys) ask(ctx context.Context) ([]jose.JSONWebKey, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	var set struct{ Keys []json.RawMessage }
	if _, err := fetchJSON(k.client, r, &set); err != nil {
		return nil, err
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && key.Valid() && key.IsPublic() && key.Use != "enc" {
			keys = append(keys, key)
		}
	}
	return keys, nil
}
