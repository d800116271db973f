package session

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

// vaultKeys are n keys as the configuration holds them.
func vaultKeys(n int) (keys []Secret) {
	for i := range n {
		keys = append(keys, Secret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(i + 1)}, KeyBytes))))
	}
	return keys
}

func newVault(t *testing.T, store Store, keys ...Secret) *Vault {
	t.Helper()
	codec, err := NewCodec(keys)
	if err != nil {
		t.Fatal(err)
	}
	return NewVault(store, codec, "passwords")
}

// wantVault checks what a vault has under a name; "" for nothing.
func wantVault(t *testing.T, what string, v *Vault, name, want string) {
	t.Helper()
	got, found, err := v.Get(t.Context(), name)
	if err != nil || string(got) != want || found != (want != "") {
		t.Errorf("%s: Get(%s) = %q, %t, %v, want %q", what, name, got, found, err, want)
	}
}

func TestVault(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	v := newVault(t, &Memory{Now: func() time.Time { return now }}, vaultKeys(2)...)
	wantVault(t, "empty", v, "ada", "")
	for name, secret := range map[string]string{"ada": "one", "bob": "two"} {
		if err := v.Put(t.Context(), name, []byte(secret), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	wantVault(t, "kept", v, "ada", "one")
	v.Put(t.Context(), "ada", []byte("three"), time.Minute)
	wantVault(t, "replaced", v, "ada", "three")
	wantVault(t, "another", v, "bob", "two")
	now = now.Add(time.Minute)
	wantVault(t, "expired", v, "ada", "")
	for range 2 {
		if err := v.Delete(t.Context(), "bob"); err != nil {
			t.Errorf("Delete = %v, want nil", err)
		}
	}
	wantVault(t, "deleted", v, "bob", "")
}

// TestVaultRotation: replicas that are at different steps of a rotation read
// each other's secrets, and a Put moves one to the first key.
func TestVaultRotation(t *testing.T) {
	store, keys := &Memory{}, vaultKeys(2)
	older, adding, moved, newer := newVault(t, store, keys[0]), newVault(t, store, keys[0], keys[1]), newVault(t, store, keys[1], keys[0]), newVault(t, store, keys[1])
	older.Put(t.Context(), "ada", []byte("one"), time.Hour)
	wantVault(t, "key added", adding, "ada", "one")
	wantVault(t, "new key first", moved, "ada", "one")
	wantVault(t, "new key alone", newer, "ada", "")
	moved.Put(t.Context(), "ada", []byte("two"), time.Hour)
	for what, v := range map[string]*Vault{"key added": adding, "new key first": moved, "new key alone": newer} {
		wantVault(t, what+", moved", v, "ada", "two")
	}
	wantVault(t, "old key alone, moved", older, "ada", "")
	if n := len(store.records); n != 1 {
		t.Errorf("%d records of one secret, want 1", n)
	}
	adding.Put(t.Context(), "ada", []byte("three"), time.Hour)
	moved.Delete(t.Context(), "ada")
	wantVault(t, "deleted by another", older, "ada", "")
}

// TestVaultIsSealed: the store learns neither names nor secrets, and a secret
// opens under its own name, kind and key alone, unaltered.
func TestVaultIsSealed(t *testing.T) {
	store, keys := &Memory{}, vaultKeys(2)
	v := newVault(t, store, keys[0])
	v.Put(t.Context(), "canary-ada", []byte("canary-secret"), time.Hour)
	var at string
	for k, r := range store.records {
		at = k
		if strings.Contains(k+string(r.value), "canary") || strings.Contains(k, base64.RawURLEncoding.EncodeToString([]byte("canary-ada"))) {
			t.Errorf("the store has %q: %q", k, r.value)
		}
	}
	sealed := store.records[at].value
	other := NewVault(store, v.codec, "others")
	for _, w := range []struct {
		v    *Vault
		name string
	}{{v, "bob"}, {other, "canary-ada"}, {newVault(t, store, keys[1]), "canary-ada"}} {
		store.Put(t.Context(), w.v.places(w.name)[0].at, sealed, time.Hour)
		wantVault(t, "moved", w.v, w.name, "")
	}
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		store.Put(t.Context(), at, altered, time.Hour)
		wantVault(t, "altered", v, "canary-ada", "")
	}
	for _, short := range [][]byte{nil, {recordFormat}, sealed[:12]} {
		store.Put(t.Context(), at, short, time.Hour)
		wantVault(t, "cut", v, "canary-ada", "")
	}
}

// awayStore is a store that does not answer.
type awayStore struct{ Store }

var errAway = errors.New("away")

func (awayStore) Get(context.Context, string) ([]byte, bool, error) { return nil, false, errAway }
func (awayStore) Put(context.Context, string, []byte, time.Duration) error {
	return errAway
}
func (awayStore) Delete(context.Context, string) error { return errAway }

func TestVaultAway(t *testing.T) {
	v := newVault(t, awayStore{}, vaultKeys(1)...)
	_, found, err := v.Get(t.Context(), "ada")
	for what, err := range map[string]error{"Get": err, "Put": v.Put(t.Context(), "ada", nil, time.Hour), "Delete": v.Delete(t.Context(), "ada")} {
		if found || !errors.Is(err, errAway) {
			t.Errorf("%s with the store away = %v, want its error", what, err)
		}
	}
}
