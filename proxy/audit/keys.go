package audit

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"anteroom/session"
)

// KeyBytes is the length of audit.key.
const KeyBytes = 32

// ParseKey reads audit.key: base64 of 32 bytes. Without one there is none.
func ParseKey(text session.Secret) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text.Reveal()))
	if err != nil || len(key) != KeyBytes {
		return nil, errors.New("is not base64 of 32 bytes; make one with 'anteroom keys new'")
	}
	return key, nil
}

// derived is a key for one purpose (RFC 5869).
func derived(key []byte, purpose string) []byte {
	out, err := hkdf.Key(sha256.New, key, nil, "anteroom audit "+purpose, 32)
	if err != nil {
		panic(err) // of lengths alone
	}
	return out
}

func newPaths(key []byte) *Paths { return &Paths{key: derived(key, "paths")} }

func signer(key []byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(derived(key, "checkpoints"))
}

// PublicKey is what checkpoints made with a key are verified by (RFC 8032).
func PublicKey(key []byte) ed25519.PublicKey { return signer(key).Public().(ed25519.PublicKey) }

// FormatPublicKey is a public key as people hand it on: base64.
func FormatPublicKey(k ed25519.PublicKey) string { return base64.StdEncoding.EncodeToString(k) }

// ParsePublicKey reads what FormatPublicKey wrote.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	k, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(k) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%.60q is not a public key: base64 of 32 bytes, as 'anteroom audit key' prints", text)
	}
	return k, nil
}

// keyID names a public key in checkpoints.
func keyID(k ed25519.PublicKey) string {
	sum := sha256.Sum256(k)
	return hex.EncodeToString(sum[:8])
}
