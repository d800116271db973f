package upstream

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	rotateEvery  = 24 * time.Hour
	recheckEvery = 10 * time.Second
	keptKeys     = 2 // previous keys published
)

// Ring is the keys identity JWTs are signed with: one that signs, one that will
// sign next and is published already, and those that signed before. Safe for
// concurrent use.
type Ring struct {
	cfg JWTConfig
	now func() time.Time
	log *slog.Logger

	mu     sync.RWMutex
	set    jose.JSONWebKeySet // guarded by mu: current, next, previous…; private
	public []byte             // guarded by mu: the published set
	etag   string             // guarded by mu
	epoch  int                // guarded by mu: counts changes
	stamp  time.Time          // guarded by mu: of the file
}

// OpenKeys makes the ring the configuration asks for. now must not be nil.
func OpenKeys(cfg JWTConfig, now func() time.Time, log *slog.Logger) (*Ring, error) {
	k := &Ring{cfg: cfg, now: now, log: log}
	switch {
	case cfg.Algorithm == "none":
		return k, k.adopt(jose.JSONWebKeySet{})
	case cfg.Algorithm == "HS256":
		key := jose.JSONWebKey{Key: []byte(cfg.Secret.Reveal()), Algorithm: cfg.Algorithm}
		return k, k.adopt(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}})
	case cfg.Keys != "":
		return k, k.loadFile()
	}
	return k, k.generate()
}

func (k *Ring) generate() error {
	var set jose.JSONWebKeySet
	for range 2 {
		key, err := newKey(k.cfg.Algorithm)
		if err != nil {
			return err
		}
		set.Keys = append(set.Keys, key)
	}
	return k.adopt(set)
}

func (k *Ring) loadFile() error {
	info, err := os.Stat(k.cfg.Keys)
	if err != nil {
		return fmt.Errorf("identity.jwt.keys_file: %w", err)
	}
	b, err := os.ReadFile(k.cfg.Keys)
	if err != nil {
		return fmt.Errorf("identity.jwt.keys_file: %w", err)
	}
	set, err := parseKeySet(b)
	if err != nil {
		return fmt.Errorf("identity.jwt.keys_file: %w", err)
	}
	if set.Keys[0].Algorithm != k.cfg.Algorithm {
		return fmt.Errorf("identity.jwt.keys_file: its first key is for %s, identity.jwt.algorithm is %s", set.Keys[0].Algorithm, k.cfg.Algorithm)
	}
	k.mu.Lock()
	k.stamp = info.ModTime()
	k.mu.Unlock()
	return k.adopt(set)
}

func (k *Ring) adopt(set jose.JSONWebKeySet) error {
	pub := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, key := range set.Keys {
		if p := key.Public(); p.Valid() {
			pub.Keys = append(pub.Keys, p)
		}
	}
	b, err := json.Marshal(pub)
	if err != nil {
		return fmt.Errorf("encoding keys: %w", err)
	}
	sum := sha256.Sum256(b)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set, k.public, k.etag = set, b, `"`+base64.RawURLEncoding.EncodeToString(sum[:12])+`"`
	k.epoch++
	return nil
}

// signer is the key that signs now, and the ring's epoch.
func (k *Ring) signer() (jose.JSONWebKey, int) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.set.Keys[0], k.epoch
}

func (k *Ring) currentEpoch() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.epoch
}

// Run rotates generated keys daily and takes up a changed file, until ctx is done.
func (k *Ring) Run(ctx context.Context) {
	every := rotateEvery
	step := k.rotate
	switch {
	case k.cfg.Algorithm == "none", k.cfg.Algorithm == "HS256":
		<-ctx.Done()
		return
	case k.cfg.Keys != "":
		every, step = recheckEvery, k.recheck
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := step(); err != nil {
				k.log.Error("signing keys not changed; the old ones stay", "error", err)
			}
		}
	}
}

func (k *Ring) rotate() error {
	k.mu.RLock()
	old := k.set
	k.mu.RUnlock()
	set, err := rotated(old)
	if err != nil {
		return err
	}
	k.log.Info("signing keys rotated", "kid", set.Keys[0].KeyID)
	return k.adopt(set)
}

func (k *Ring) recheck() error {
	info, err := os.Stat(k.cfg.Keys)
	if err != nil {
		return err
	}
	k.mu.RLock()
	same := info.ModTime().Equal(k.stamp)
	k.mu.RUnlock()
	if same {
		return nil
	}
	if err := k.loadFile(); err != nil {
		return err
	}
	k.log.Info("changed signing keys taken up")
	return nil
}

// ServeJWKS publishes the public keys (RFC 7517 §5). HS256 has none.
func (k *Ring) ServeJWKS(w http.ResponseWriter, r *http.Request) {
	k.mu.RLock()
	body, etag := k.public, k.etag
	k.mu.RUnlock()
	h := w.Header()
	h.Set("Content-Type", "application/jwk-set+json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("ETag", etag)
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// NewKeySet makes a private JWK Set of a current and a next key, as JSON.
func NewKeySet(alg string) ([]byte, error) {
	var set jose.JSONWebKeySet
	for range 2 {
		key, err := newKey(alg)
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, key)
	}
	return json.MarshalIndent(set, "", "  ")
}

// RotateKeySet makes the next key of a private JWK Set the current one, adds a
// new next, and keeps at most two of those before.
func RotateKeySet(old []byte) ([]byte, error) {
	set, err := parseKeySet(old)
	if err != nil {
		return nil, err
	}
	if set, err = rotated(set); err != nil {
		return nil, err
	}
	return json.MarshalIndent(set, "", "  ")
}

func rotated(old jose.JSONWebKeySet) (jose.JSONWebKeySet, error) {
	next, err := newKey(old.Keys[0].Algorithm)
	if err != nil {
		return old, err
	}
	current, rest := old.Keys[0], old.Keys[1:]
	if len(rest) == 0 { // a set of one key: what is new must sign at once
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{next, next, current}}, nil
	}
	keys := append([]jose.JSONWebKey{rest[0], next, current}, rest[1:]...)
	return jose.JSONWebKeySet{Keys: keys[:min(len(keys), 2+keptKeys)]}, nil
}

func parseKeySet(b []byte) (set jose.JSONWebKeySet, err error) {
	if err := json.Unmarshal(b, &set); err != nil {
		return set, errors.New("is not a JWK Set")
	}
	if len(set.Keys) == 0 {
		return set, errors.New("holds no key")
	}
	for i, key := range set.Keys {
		if key.IsPublic() || !key.Valid() || key.KeyID == "" || key.Algorithm == "" {
			return set, fmt.Errorf("key %d is not a private key with kid and alg", i+1)
		}
	}
	return set, nil
}

func newKey(alg string) (jose.JSONWebKey, error) {
	var key crypto.Signer
	var err error
	switch alg {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "RS256":
		key, err = rsa.GenerateKey(rand.Reader, 3072)
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
