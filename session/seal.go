package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/securecookie"
)

// KeyBytes is the length of a sealing key.
const KeyBytes = 32

// ErrSeal: a sealed value was not made by any of our keys under that name, or
// is too old, or was altered. It carries no more, so as to tell no more.
var ErrSeal = errors.New("sealed value does not open")

// Codec seals small records for a browser or a provider to carry: AES-256-GCM
// inside securecookie, whose outer HMAC binds the record to its name and its
// time of sealing. The first key seals; every key opens, so that keys rotate
// without signing anyone out. Safe for concurrent use.
type Codec struct {
	held atomic.Pointer[keyring]

	mu   sync.Mutex
	next *keyring // guarded by mu: in force once promoted; nil: nothing is to come
}

// keyring is the keys at one time. It is never changed.
type keyring struct {
	keys [][]byte // the first seals, every one opens; at least one
}

// NewCodec makes a codec from keys as the configuration holds them (base64 of
// 32 bytes). Without keys it makes one of its own, good for this process only.
func NewCodec(keys []Secret) (*Codec, error) {
	r, err := parseKeys(keys)
	if err != nil {
		return nil, err
	}
	if len(r.keys) == 0 {
		own := make([]byte, KeyBytes)
		rand.Read(own)
		r.keys = [][]byte{own}
	}
	c := &Codec{}
	c.held.Store(r)
	return c, nil
}

func parseKeys(keys []Secret) (*keyring, error) {
	r := &keyring{}
	for i, k := range keys {
		b, err := ParseKey(k)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		r.keys = append(r.keys, b)
	}
	return r, nil
}

// ErrKeyGone: new keys lack the one that sealed until now.
var ErrKeyGone = errors.New("the key that sealed until now is not among the new ones: everybody would be signed out. Put the new key before it, and take it out once the sessions from before are over")

// Renew exchanges the keys while sessions go on. Each of the new ones opens from
// now on; the first of them seals only once Promote is called, when every
// replica had time to learn of it. The error says why the keys stay as they are.
func (c *Codec) Renew(keys []Secret) error {
	next, err := parseKeys(keys)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	sealing := c.held.Load().keys[0]
	i := slices.IndexFunc(next.keys, func(k []byte) bool { return subtle.ConstantTimeCompare(k, sealing) == 1 })
	if i < 0 {
		return ErrKeyGone
	}
	now := &keyring{keys: slices.Concat([][]byte{sealing}, next.keys[:i], next.keys[i+1:])}
	c.held.Store(now)
	c.next = next
	return nil
}

// Promote has the first of renewed keys seal.
func (c *Codec) Promote() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != nil {
		c.held.Store(c.next)
		c.next = nil
	}
}

// ParseKey decodes one key: base64 (standard or URL alphabet, padded or not)
// of exactly 32 bytes.
func ParseKey(s Secret) ([]byte, error) {
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(s.Reveal()); err == nil && len(b) == KeyBytes {
			return b, nil
		}
	}
	return nil, errors.New("is not base64 of 32 bytes; make one with 'anteroom keys new'")
}

// For returns the sealer of one kind of record. What one name sealed, no other
// opens. maxAge bounds the age of what Open accepts; zero means no bound.
func (c *Codec) For(name string, maxAge time.Duration) *Sealer {
	s := &Sealer{name: name, maxAge: maxAge, from: c}
	s.codecs()
	return s
}

// Sealer seals and opens one kind of record. Safe for concurrent use.
type Sealer struct {
	name   string
	maxAge time.Duration
	from   *Codec
	made   atomic.Pointer[sealing]
}

// sealing is a sealer's codecs of some keys.
type sealing struct {
	ring   *keyring
	codecs []securecookie.Codec
}

// codecs are those of the keys in force.
func (s *Sealer) codecs() []securecookie.Codec {
	ring := s.from.held.Load()
	if made := s.made.Load(); made != nil && made.ring == ring {
		return made.codecs
	}
	made := &sealing{ring: ring}
	for _, key := range ring.keys {
		sc := securecookie.New(derive(key, "mac "+s.name), nil)
		sc.MaxAge(int(s.maxAge / time.Second))
		sc.MaxLength(0)
		sc.SetSerializer(newAEAD(derive(key, "seal "+s.name)))
		made.codecs = append(made.codecs, sc)
	}
	s.made.Store(made)
	return made.codecs
}

// Seal encodes v as JSON ([]byte stands for itself) and seals it into URL- and cookie-safe text.
func (s *Sealer) Seal(v any) (string, error) {
	out, err := securecookie.EncodeMulti(s.name, v, s.codecs()[0])
	if err != nil {
		return "", fmt.Errorf("sealing %s: %w", s.name, err)
	}
	return out, nil
}

// Open reverses Seal into v, a pointer. Whatever is wrong, the error is ErrSeal.
func (s *Sealer) Open(sealed string, v any) error {
	if err := securecookie.DecodeMulti(s.name, sealed, v, s.codecs()...); err != nil {
		return ErrSeal
	}
	return nil
}

// recordSecret is a session's own share of the key to its record. It is made
// from the cookie's token and kept by nobody else: neither the deployment's
// keys nor the store, nor both together, open a record without it.
type recordSecret [sha256.Size]byte

func secretOf(token string) recordSecret {
	var room [80]byte
	return sha256.Sum256(append(append(room[:0], "anteroom record "...), token...))
}

const recordFormat = 1

// sealRecord seals with AES-256-GCM under a key of the session's and the
// deployment's together.
func (c *Codec) sealRecord(secret recordSecret, plain []byte) []byte {
	return newAEAD(recordKey(c.held.Load().keys[0], secret)).gcm.Seal([]byte{recordFormat}, nil, plain, nil) // #nosec G407 -- the AEAD makes its own random nonce
}

// openRecord reverses it, with any of the deployment's keys. The error is ErrSeal.
func (c *Codec) openRecord(secret recordSecret, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != recordFormat {
		return nil, ErrSeal
	}
	for _, key := range c.held.Load().keys {
		if plain, err := newAEAD(recordKey(key, secret)).gcm.Open(nil, nil, sealed[1:], nil); err == nil {
			return plain, nil
		}
	}
	return nil, ErrSeal
}

func recordKey(key []byte, secret recordSecret) []byte {
	out, err := hkdf.Key(sha256.New, key, secret[:], "anteroom session record", KeyBytes)
	if err != nil {
		panic(err) // only for lengths over 255 hashes
	}
	return out
}

// names are what a text is listed under in a store, one for each key, the
// first for writing: whoever reads the store does not learn the text.
func (c *Codec) names(text string) (names []string) { return c.held.Load().names(text) }

func (r *keyring) names(text string) (names []string) {
	for _, key := range r.keys {
		h := hmac.New(sha256.New, derive(key, "names"))
		h.Write([]byte(text))
		names = append(names, base64.RawURLEncoding.EncodeToString(h.Sum(nil)))
	}
	return names
}

func derive(key []byte, purpose string) []byte {
	out, err := hkdf.Key(sha256.New, key, nil, "anteroom "+purpose, KeyBytes)
	if err != nil {
		panic(err) // only for lengths over 255 hashes
	}
	return out
}

// aead is the serializer inside securecookie: JSON, or bytes as they are, under
// AES-256-GCM with a random nonce in front.
type aead struct{ gcm cipher.AEAD }

func newAEAD(key []byte) aead {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key is always 32 bytes
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead{gcm}
}

func (a aead) Serialize(v any) ([]byte, error) {
	plain, raw := v.([]byte)
	if !raw {
		var err error
		if plain, err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	return a.gcm.Seal(nil, nil, plain, nil), nil // #nosec G407 -- the AEAD makes its own random nonce
}

func (a aead) Deserialize(sealed []byte, v any) error {
	plain, err := a.gcm.Open(nil, nil, sealed, nil)
	if err != nil {
		return err
	}
	if raw, ok := v.(*[]byte); ok {
		*raw = plain
		return nil
	}
	return json.Unmarshal(plain, v)
}
