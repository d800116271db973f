package session

import (
	"context"
	"time"
)

// Marks are notes in a Redis, for all replicas, that something was so lately.
// Redis sees keyed hashes for their names, which may be secrets.
type Marks struct {
	redis *Redis
	codec *Codec
}

// NewMarks makes marks in a Redis, without asking it anything yet.
func NewMarks(r *Redis, codec *Codec) *Marks { return &Marks{redis: r, codec: codec} }

func (m *Marks) key(name string) string { return m.codec.names("mark " + name)[0] }

// Set notes a name for a while.
func (m *Marks) Set(ctx context.Context, name string, ttl time.Duration) error {
	return m.redis.Put(ctx, m.key(name), []byte{'1'}, ttl)
}

// Has reports whether a name is noted. An error means that Redis did not answer.
func (m *Marks) Has(ctx context.Context, name string) (bool, error) {
	_, found, err := m.redis.Get(ctx, m.key(name))
	return found, err
}

// Drop takes a note away.
func (m *Marks) Drop(ctx context.Context, name string) error {
	return m.redis.Delete(ctx, m.key(name))
}
