package session

import (
	"context"
	"fmt"
	"time"
)

// Ledger is a Vault in a Redis in which one of those who write a name at once is
// the first: for what several replicas must not do twice. Safe for concurrent use.
type Ledger struct {
	*Vault
	redis *Redis
}

// NewLedger makes a ledger of one kind, without asking Redis anything yet.
func NewLedger(r *Redis, codec *Codec, kind string) *Ledger {
	return &Ledger{Vault: NewVault(r, codec, kind), redis: r}
}

// Entry is what a name had at one time.
type Entry struct {
	Value  []byte
	at     string
	sealed []byte
}

// Enter keeps a value for ttl (> 0) under a name that has none. If there is one,
// first is false and the entry is that one. After an error either may be so.
// Replicas in the middle of a rotation write under different keys: each looks
// under the other once its own is written, so that never both are the first.
func (l *Ledger) Enter(ctx context.Context, name string, value []byte, ttl time.Duration) (e Entry, first bool, err error) {
	places := l.places(name)
	mine := Entry{value, places[0].at, places[0].seal(value)}
	for i, p := range places {
		var there []byte
		if i == 0 {
			there, err = l.redis.enter(ctx, p.at, mine.sealed, ttl)
		} else {
			there, _, err = l.redis.Get(ctx, p.at)
		}
		if i > 0 && len(there) > 0 {
			err = l.Strike(ctx, mine)
		}
		if err == nil && len(there) > 0 {
			e = Entry{at: p.at, sealed: there}
			e.Value, err = p.open(there)
		}
		switch {
		case err != nil:
			return Entry{}, false, fmt.Errorf("entering %s: %w", l.kind, err)
		case len(there) > 0:
			return e, false, nil
		}
	}
	return mine, true, nil
}

// Strike removes an entry, unless its name has another by now.
func (l *Ledger) Strike(ctx context.Context, e Entry) error {
	return l.redis.strike(ctx, e.at, e.sealed)
}

// enter keeps a record where there is none, and returns the one that is there.
func (r *Redis) enter(ctx context.Context, key string, value []byte, ttl time.Duration) (there []byte, err error) {
	s, err := redisAsk(ctx, r, "enter", func(ctx context.Context) (any, error) {
		return r.run(ctx, enterScript, r.recordKey(key), value, redisMS(ttl))
	})
	text, ok := s.(string)
	if err == nil && !ok {
		err = fmt.Errorf("redis: enter: a script answered %T", s)
	}
	return []byte(text), err
}

func (r *Redis) strike(ctx context.Context, key string, value []byte) error {
	_, err := redisAsk(ctx, r, "strike", func(ctx context.Context) (int64, error) {
		return r.number(ctx, strikeScript, r.recordKey(key), value)
	})
	return err
}
