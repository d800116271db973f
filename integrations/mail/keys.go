package mail

import (
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"anteroom/integrations"
)

// keys remembers the idempotency keys of a day, ten thousand at most, in this
// process alone.
type keys struct {
	mu    sync.Mutex
	known map[string]*keyed // guarded by mu
	order []*keyed          // guarded by mu: the oldest first
}

type keyed struct {
	key    string
	at     time.Time
	digest [sha256.Size]byte
	sent   *Sent // nil: it is being sent
}

// begin takes a key for a message. What was sent already is returned.
func (k *keys) begin(key string, digest [sha256.Size]byte, now time.Time) (*Sent, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.order) > 0 && (now.Sub(k.order[0].at) >= keyTime || len(k.order) >= maxKeys) {
		if k.known[k.order[0].key] == k.order[0] {
			delete(k.known, k.order[0].key)
		}
		k.order = k.order[1:]
	}
	e := k.known[key]
	switch {
	case e == nil:
	case e.digest != digest:
		return nil, &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Field: "idempotency_key", Text: "The idempotency key was used for another message."}
	case e.sent == nil:
		return nil, &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Field: "idempotency_key", Text: "That message is being sent.", RetryAfter: retryAfter}
	default:
		again := *e.sent
		again.Repeated = true
		return &again, nil
	}
	if k.known == nil {
		k.known = map[string]*keyed{}
	}
	e = &keyed{key: key, at: now, digest: digest}
	k.known[key] = e
	k.order = append(k.order, e)
	return nil, nil
}

// end says what became of it: nil for a message that was not sent.
func (k *keys) end(key string, sent *Sent) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.known[key]
	switch {
	case e == nil:
	case sent == nil:
		delete(k.known, key)
	default:
		e.sent = sent
	}
}
