package upstream

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"anteroom/session"

	"github.com/go-jose/go-jose/v4"
)

const (
	rsaBits    = 3072
	minRSABits = 2048
	maxKeyFile = 1 << 20
)

// NewKeySet makes a private JWK Set (RFC 7517) of a current and a next key for
// ES256, EdDSA or RS256, as indented JSON. It is a secret.
func NewKeySet(alg string) ([]byte, error) {
	set, err := newSet(alg)
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(set, "", "  ")
}

// RotateKeySet makes the next key of a private JWK Set the current one, adds a
// new next of the same algorithm, and keeps at most two of those before. A set
// of one key is given a next and signs as before: what was never published may
// not sign.
func RotateKeySet(old []byte) ([]byte, error) {
	set, err := parseKeySet(old)
	if err != nil {
		return nil, err
	}
	if set, err = rotated(set, keptKeys); err != nil {
		return nil, err
	}
	return json.MarshalIndent(keyFile{set, time.Now().UTC().Truncate(time.Second)}, "", "  ")
}

// keyFile is a private JWK Set with when it was rotated last, which goes along
// wherever it is kept.
type keyFile struct {
	jose.JSONWebKeySet
	Rotated time.Time `json:"rotated,omitzero"`
}

// RotatedAt is when a private JWK Set was rotated last; zero: it was not, or does
// not say so.
func RotatedAt(set []byte) time.Time {
	var f keyFile
	if json.Unmarshal(set, &f) != nil {
		return time.Time{}
	}
	return f.Rotated
}

func newSet(alg string) (set jose.JSONWebKeySet, err error) {
	for range 2 {
		key, err := newKey(alg)
		if err != nil {
			return set, err
		}
		set.Keys = append(set.Keys, key)
	}
	return set, nil
}

// rotated is a set one step on, with at most keep previous keys.
func rotated(old jose.JSONWebKeySet, keep int) (jose.JSONWebKeySet, error) {
	current, rest := old.Keys[0], old.Keys[1:]
	alg := current.Algorithm
	if len(rest) > 0 {
		alg = rest[0].Algorithm
	}
	next, err := newKey(alg)
	if err != nil {
		return old, err
	}
	if len(rest) == 0 {
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{current, next}}, nil
	}
	keys := append([]jose.JSONWebKey{rest[0], next, current}, rest[1:]...)
	return jose.JSONWebKeySet{Keys: keys[:min(len(keys), 2+keep)]}, nil
}

// parseKeySet reads a private JWK Set. Its errors show nothing of the keys.
func parseKeySet(b []byte) (set jose.JSONWebKeySet, err error) {
	if err := json.Unmarshal(b, &set); err != nil {
		return set, errors.New("is not a JWK Set of keys that can be read")
	}
	if len(set.Keys) == 0 {
		return set, errors.New("holds no key")
	}
	seen := map[string]bool{}
	for i, key := range set.Keys {
		switch {
		case key.IsPublic(), !key.Valid(), key.KeyID == "", key.Use != "" && key.Use != "sig":
			return set, fmt.Errorf("key %d is not a private signing key with a kid", i+1)
		case !fits(key):
			return set, fmt.Errorf("key %d is not of its alg %q: ES256 wants P-256, EdDSA Ed25519, RS256 RSA of %d bits at least", i+1, key.Algorithm, minRSABits)
		case seen[key.KeyID]:
			return set, fmt.Errorf("key %d has the kid of another", i+1)
		}
		seen[key.KeyID] = true
	}
	return set, nil
}

// fits reports whether a key is one for its algorithm.
func fits(key jose.JSONWebKey) bool {
	switch k := key.Key.(type) {
	case *ecdsa.PrivateKey:
		return key.Algorithm == "ES256" && k.Curve == elliptic.P256()
	case ed25519.PrivateKey:
		return key.Algorithm == "EdDSA"
	case *rsa.PrivateKey:
		return key.Algorithm == "RS256" && k.N.BitLen() >= minRSABits
	}
	return false
}

// newKey makes a signing key; its kid is from its thumbprint (RFC 7638).
func newKey(alg string) (jose.JSONWebKey, error) {
	var key crypto.Signer
	var err error
	switch alg {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "RS256":
		key, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		err = fmt.Errorf("%q is no signature algorithm of ours; use ES256, EdDSA or RS256", alg)
	}
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	jwk := jose.JSONWebKey{Key: key, Algorithm: alg, Use: "sig"}
	thumb, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return jwk, fmt.Errorf("naming key: %w", err)
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(thumb[:16])
	return jwk, nil
}

// fileStamp tells one state of a file from another.
type fileStamp struct {
	changed time.Time
	size    int64
}

// readFile reads keys_file, or returns errSame if it is the one read before,
// be that good or bad: a fault is told once.
func (k *Ring) readFile() (jose.JSONWebKeySet, error) {
	set, err := k.readChanged()
	if err != nil && !errors.Is(err, errSame) {
		err = fmt.Errorf("identity.jwt.keys_file: %w", err)
	}
	return set, err
}

func (k *Ring) readChanged() (set jose.JSONWebKeySet, err error) {
	info, err := os.Stat(k.cfg.Keys)
	if err != nil {
		return set, k.missing(err)
	}
	stamp := fileStamp{info.ModTime(), info.Size()}
	if stamp == k.stamp {
		return set, errSame
	}
	b, _, err := session.ReadFile(k.cfg.Keys, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return set, k.missing(err)
	}
	k.stamp = stamp // read again if it changed since
	if err != nil {
		return set, err
	}
	if set, err = parseKeySet(b); err != nil {
		return set, err
	}
	if alg := set.Keys[0].Algorithm; alg != k.cfg.Algorithm {
		return set, fmt.Errorf("its first key is for %s, identity.jwt.algorithm is %s", alg, k.cfg.Algorithm)
	}
	return set, nil
}

// missing reports once that the file cannot be opened.
func (k *Ring) missing(err error) error {
	gone := fileStamp{size: -1}
	if k.stamp == gone {
		return errSame
	}
	k.stamp = gone
	return err
}
