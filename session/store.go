package session

import (
	"context"
	"time"
)

// Store keeps opaque records under opaque keys until they expire.
//
// Keys are already hashes: a store that leaks them leaks nothing that opens a
// session. Values are copied in and out; a caller may reuse its slice. A
// record that is absent or past its time is found=false with err=nil; err
// means the store itself did not answer, and says nothing about the record.
// All methods are safe for concurrent use and give up when ctx is done.
type Store interface {
	// Get reads a record.
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	// Put writes a record that disappears after ttl (> 0), replacing any other.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Take reads and removes a record in one step: of several callers at
	// once, at most one finds it.
	Take(ctx context.Context, key string) (value []byte, found bool, err error)
	// Delete removes a record; an absent one is no error.
	Delete(ctx context.Context, key string) error
}
