package session

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
)

// Vault keeps secrets in a Store so that the deployment's keys alone open
// them: they outlive every session. The store sees keyed hashes for names and
// AES-256-GCM for values, each under a key of its own that its name is part of:
// a value that is moved to another name opens nothing there. The first of the
// keys writes, every one reads; each Put moves a secret to the first.
//
// Safe for concurrent use. An error means that the store did not answer.
type Vault struct {
	store Store
	codec *Codec
	kind  string
}

// NewVault makes a vault of one kind of secret. Two kinds never meet, whatever
// their names.
func NewVault(store Store, codec *Codec, kind string) *Vault {
	return &Vault{store: store, codec: codec, kind: kind}
}

// Get reads the secret of a name. One that no key of ours opens is none.
func (v *Vault) Get(ctx context.Context, name string) (secret []byte, found bool, err error) {
	for _, p := range v.places(name) {
		sealed, found, err := v.store.Get(ctx, p.at)
		if err != nil {
			return nil, false, fmt.Errorf("reading %s: %w", v.kind, err)
		}
		if !found {
			continue
		}
		if secret, err := p.open(sealed); err == nil {
			return secret, true, nil
		}
	}
	return nil, false, nil
}

// Put keeps a secret for ttl (> 0), in place of any other of that name.
func (v *Vault) Put(ctx context.Context, name string, secret []byte, ttl time.Duration) error {
	places := v.places(name)
	if err := v.store.Put(ctx, places[0].at, places[0].seal(secret), ttl); err != nil {
		return fmt.Errorf("keeping %s: %w", v.kind, err)
	}
	return v.clear(ctx, places[1:])
}

// Delete removes the secret of a name; an absent one is no error.
func (v *Vault) Delete(ctx context.Context, name string) error {
	return v.clear(ctx, v.places(name))
}

func (v *Vault) clear(ctx context.Context, places []place) error {
	var failed []error
	for _, p := range places {
		failed = append(failed, v.store.Delete(ctx, p.at))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("removing %s: %w", v.kind, err)
	}
	return nil
}

// places are where a name may be in the store, one for each key.
func (v *Vault) places(name string) (all []place) {
	ring := v.codec.held.Load()
	for i, at := range ring.names("vault " + v.kind + "\x00" + name) {
		all = append(all, place{at, ring.keys[i]})
	}
	return all
}

// place is where one of the keys keeps something.
type place struct {
	at  string
	key []byte
}

func (p place) seal(secret []byte) []byte {
	return p.aead().gcm.Seal([]byte{recordFormat}, nil, secret, nil) // #nosec G407 -- the AEAD makes its own random nonce
}

// open reverses seal. The error is ErrSeal.
func (p place) open(sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != recordFormat {
		return nil, ErrSeal
	}
	secret, err := p.aead().gcm.Open(nil, nil, sealed[1:], nil)
	if err != nil {
		return nil, ErrSeal
	}
	return secret, nil
}

// aead seals what is kept there.
func (p place) aead() aead {
	key, err := hkdf.Key(sha256.New, p.key, []byte(p.at), "anteroom vault", KeyBytes)
	if err != nil {
		panic(err) // only for lengths over 255 hashes
	}
	return newAEAD(key)
}
