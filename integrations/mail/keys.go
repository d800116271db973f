package mail

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"anteroom/integrations"
	"anteroom/session"
)

// keys remembers the idempotency keys of a day: ten thousand at most in this
// process, and all of them where replicas tell each other.
type keys struct {
	account string
	shared  *session.Ledger // nil: there is nobody to tell
	owner   string          // of this process's claims
	log     *slog.Logger

	mu    sync.Mutex
	known map[string]*keyed // guarded by mu
	order []*keyed          // guarded by mu: the oldest first
}

type keyed struct {
	key    string
	at     time.Time
	digest [sha256.Size]byte
	sent   *Sent         // nil: it is being sent
	claim  session.Entry // by which others know of that
}

// told is what replicas tell each other of a key.
type told struct {
	Owner  string    `json:"owner"`
	Until  time.Time `json:"until"` // its owner has sent it, or does not live any more
	Digest []byte    `json:"digest"`
	Sent   *Sent     `json:"sent,omitempty"` // nil: it is being sent
}

// newKeys makes keys of one account.
func newKeys(o Options, account string) *keys {
	k := &keys{account: account, shared: o.Keys, owner: rand.Text(), log: o.Log, known: map[string]*keyed{}}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	return k
}

var (
	errOther = &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Field: "idempotency_key", Text: "The idempotency key was used for another message."}
	errBusy  = &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Field: "idempotency_key", Text: "That message is being sent.", RetryAfter: retryAfter}
	errDoubt = &integrations.Problem{Status: http.StatusBadGateway, Reason: integrations.ReasonAway, Field: "idempotency_key",
		Text: "Whoever was sending the message stopped before it said what became of it: it may have been sent. Look among what was sent before sending it again, which this idempotency_key can be used for."}
)

// begin takes a key for a message; end is owed if it returns nil, nil. What was
// sent already is returned. Where replicas cannot be asked, nothing is sent:
// whoever gives a key asks for that rather than for a second message.
func (k *keys) begin(ctx context.Context, key string, digest [sha256.Size]byte, now time.Time) (*Sent, error) {
	e, before, err := k.take(key, digest, now)
	if e == nil || k.shared == nil {
		return before, err
	}
	claim, before, err := k.claim(ctx, key, digest, now)
	if before != nil || err != nil {
		k.settle(key, nil)
		return before, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	e.claim = claim
	return nil, nil
}

// take is begin in this process.
func (k *keys) take(key string, digest [sha256.Size]byte, now time.Time) (*keyed, *Sent, error) {
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
		return nil, nil, errOther
	case e.sent == nil:
		return nil, nil, errBusy
	default:
		return nil, e.sent.again(), nil
	}
	e = &keyed{key: key, at: now, digest: digest}
	k.known[key] = e
	k.order = append(k.order, e)
	return e, nil, nil
}

// claim is begin among replicas, after take. Of a claim whose owner does not live
// any more one caller is told; after that the key is free.
func (k *keys) claim(ctx context.Context, key string, digest [sha256.Size]byte, now time.Time) (session.Entry, *Sent, error) {
	ctx = context.WithoutCancel(ctx) // Redis bounds it; a claim whose owner went away would be in the way
	mine, err := json.Marshal(told{Owner: k.owner, Until: now.Add(claimTime), Digest: digest[:]})
	for err == nil {
		e, first, failed := k.shared.Enter(ctx, k.name(key), mine, keyTime)
		var there told
		if failed == nil && !first {
			failed = json.Unmarshal(e.Value, &there)
		}
		// Nothing here is sending with our own: a word to Redis, or its answer, was lost.
		left := there.Sent == nil && there.Owner == k.owner && now.Before(there.Until)
		switch {
		case failed != nil:
			err = failed
		case first:
			return e, nil, nil
		case left:
			err = k.shared.Strike(ctx, e)
		case !bytes.Equal(there.Digest, digest[:]):
			return e, nil, errOther
		case there.Sent != nil:
			return e, there.Sent.again(), nil
		case now.Before(there.Until):
			return e, nil, errBusy
		default:
			if err = k.shared.Strike(ctx, e); err == nil {
				return e, nil, errDoubt
			}
		}
	}
	return session.Entry{}, nil, &integrations.Problem{Status: http.StatusServiceUnavailable, Reason: integrations.ReasonBusy, Field: "idempotency_key", RetryAfter: retryAfter,
		Text: "Whether another replica sends that message, or did, cannot be found out at the moment. Nothing was sent.", Err: fmt.Errorf("an idempotency key: %w", err)}
}

// name is what replicas have a key under.
func (k *keys) name(key string) string { return k.account + "\x00" + key }

// end says what became of it: nil for a message that was not sent. Others are
// told first: only what they know is forgotten here.
func (k *keys) end(ctx context.Context, key string, sent *Sent) {
	k.mu.Lock()
	e := k.known[key]
	k.mu.Unlock()
	if e == nil {
		return
	}
	if k.shared != nil {
		if err := k.tell(context.WithoutCancel(ctx), e, sent); err != nil {
			k.log.Warn("other replicas could not be told what became of a mail: to them its idempotency key is in use", "error", err)
		}
	}
	k.settle(key, sent)
}

func (k *keys) tell(ctx context.Context, e *keyed, sent *Sent) error {
	k.mu.Lock()
	claim := e.claim
	k.mu.Unlock()
	if sent == nil {
		return k.shared.Strike(ctx, claim)
	}
	b, err := json.Marshal(told{Owner: k.owner, Digest: e.digest[:], Sent: sent})
	if err != nil {
		return err
	}
	return k.shared.Put(ctx, k.name(e.key), b, keyTime)
}

// settle is end in this process.
func (k *keys) settle(key string, sent *Sent) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.known[key]
	switch {
	case e == nil:
	case sent == nil:
		delete(k.known, key)
		if i := slices.Index(k.order, e); i >= 0 {
			k.order = slices.Delete(k.order, i, i+1)
		}
	default:
		e.sent = sent
	}
}

// again is the answer to whoever asks again.
func (s *Sent) again() *Sent {
	again := *s
	again.Repeated = true
	return &again
}
