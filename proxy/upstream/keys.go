package upstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"anteroom/session"
)

const (
	rotateEvery  = 24 * time.Hour
	recheckEvery = 2 * time.Second
	keptKeys     = 2 // previous keys published
	minSecret    = 32
)

// Ring is the keys identity JWTs are signed with: one that signs, one that will
// sign next and is published already, and those that signed before. Safe for
// concurrent use.
type Ring struct {
	cfg JWTConfig
	log *slog.Logger

	held  atomic.Pointer[keyring]
	stamp fileStamp // of the file as last read; Run's alone once OpenKeys is done

	refused func(error) // told why a changed keys_file is not used; nil: nobody
}

// keyring is one state of a Ring. It is never changed, and its address tells
// it from every other.
type keyring struct {
	set    jose.JSONWebKeySet // current, next, previous…; private
	signer jose.Signer        // of the current key; nil where no JWT is made
	public []byte             // the published set
	etag   string
}

// OpenKeys makes the ring the configuration asks for: no key at all for the
// algorithm none, the shared secret for HS256, those of keys_file where it is
// set, and otherwise keys made here and now. Errors name the key of the
// configuration at fault and hold no secret. log may be nil. now is not asked:
// keys follow each other by the timer in Run.
func OpenKeys(cfg JWTConfig, _ func() time.Time, log *slog.Logger) (*Ring, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	k := &Ring{cfg: cfg, log: log}
	set, err := k.first()
	if err != nil {
		return nil, err
	}
	return k, k.adopt(set)
}

// first is the set the ring begins with.
func (k *Ring) first() (jose.JSONWebKeySet, error) {
	switch secret := k.cfg.Secret.Reveal(); {
	case k.cfg.Algorithm == "none":
		return jose.JSONWebKeySet{}, nil
	case k.cfg.Algorithm == "HS256" && len(secret) < minSecret:
		return jose.JSONWebKeySet{}, fmt.Errorf("identity.jwt.secret: has %d bytes; HS256 wants %d at least", len(secret), minSecret)
	case k.cfg.Algorithm == "HS256":
		key := jose.JSONWebKey{Key: []byte(secret), Algorithm: k.cfg.Algorithm}
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}}, nil
	case k.cfg.Keys != "":
		return k.readFile()
	}
	return newSet(k.cfg.Algorithm)
}

// adopt makes a set the one that signs and is published.
func (k *Ring) adopt(set jose.JSONWebKeySet) error {
	r := &keyring{set: set}
	if len(set.Keys) > 0 {
		var err error
		if r.signer, err = newSigner(set.Keys[0]); err != nil {
			return err
		}
	}
	pub := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, key := range set.Keys {
		if p := key.Public(); p.Valid() { // a shared secret has no public side
			pub.Keys = append(pub.Keys, p)
		}
	}
	var err error
	if r.public, err = json.Marshal(pub); err != nil {
		return fmt.Errorf("encoding public keys: %w", err)
	}
	sum := sha256.Sum256(r.public)
	r.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	k.held.Store(r)
	return nil
}

// Refused has f told why a changed keys_file is not used. To be called before Run.
func (k *Ring) Refused(f func(error)) { k.refused = f }

// newSigner makes JWTs with a key: typ JWT, and kid where it has one.
func newSigner(key jose.JSONWebKey) (jose.Signer, error) {
	sk := jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}
	if key.KeyID == "" {
		sk.Key = key.Key
	}
	s, err := jose.NewSigner(sk, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	return s, nil
}

// RenewSecret exchanges the shared secret of HS256. It signs at once: the
// application has to know it before. JWTs made with the one before are still
// known here for as long as they live.
func (k *Ring) RenewSecret(secret session.Secret) error {
	if len(secret) < minSecret {
		return fmt.Errorf("has %d bytes; HS256 wants %d at least", len(secret), minSecret)
	}
	held := k.held.Load()
	if k.cfg.Algorithm != "HS256" || bytes.Equal(held.set.Keys[0].Key.([]byte), []byte(secret)) {
		return nil
	}
	key := jose.JSONWebKey{Key: []byte(secret), Algorithm: k.cfg.Algorithm}
	return k.adopt(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key, held.set.Keys[0]}})
}

// Run replaces generated keys daily and takes up a changed keys_file within
// seconds, until ctx is done. What goes wrong is logged once and leaves
// the keys as they are.
func (k *Ring) Run(ctx context.Context) {
	every, step := rotateEvery, k.rotate
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
				if k.refused != nil {
					k.refused(err)
				}
			}
		}
	}
}

// rotate puts the next generated key in use. A key that signed last stays
// published for as long as a JWT of it may live, and an hour more.
func (k *Ring) rotate() error {
	keep := max(keptKeys, 1+int((k.cfg.Lifetime+time.Hour)/rotateEvery))
	set, err := rotated(k.held.Load().set, keep)
	if err != nil {
		return err
	}
	k.log.Info("signing keys rotated", "kid", set.Keys[0].KeyID)
	return k.adopt(set)
}

// errSame: the file is the one that was read already.
var errSame = errors.New("unchanged")

func (k *Ring) recheck() error {
	set, err := k.readFile()
	if errors.Is(err, errSame) {
		return nil
	}
	if err == nil {
		err = k.retired(set.Keys[0])
	}
	if err == nil {
		err = k.adopt(set)
	}
	if err == nil {
		k.log.Info("changed signing keys taken up", "kid", set.Keys[0].KeyID)
	}
	return err
}

// retired is an error if a key signed before the one that does now: a file that
// was put back, by a restored backup or by who holds its old keys.
func (k *Ring) retired(current jose.JSONWebKey) error {
	held := k.held.Load().set.Keys
	for _, old := range held[min(2, len(held)):] { // behind the one that signs and the next
		if old.KeyID == current.KeyID {
			return fmt.Errorf("identity.jwt.keys_file: its first key, %s, is one that was retired; to use it all the same, restart", current.KeyID)
		}
	}
	return nil
}

// ServeJWKS publishes the public keys (RFC 7517 §5) with an ETag, to be kept
// for five minutes: the next key is among them long before it signs. HS256 and
// none have none to publish. It answers GET and HEAD.
func (k *Ring) ServeJWKS(w http.ResponseWriter, r *http.Request) {
	now := k.held.Load()
	h := w.Header()
	h.Set("Content-Type", "application/jwk-set+json")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("ETag", now.etag)
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(now.public))
}
