package demo

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// keyring is the oidc app's one signing key. It is made when first asked for:
// most tests never need it.
type keyring struct {
	mu  sync.Mutex
	key *rsa.PrivateKey // guarded by mu; nil: not made yet
	id  string          // guarded by mu
}

// get is the key and its id, a UUID as the real one's.
func (k *keyring) get() (*rsa.PrivateKey, string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key == nil {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, "", fmt.Errorf("making a signing key: %w", err)
		}
		id := make([]byte, 16)
		rand.Read(id)
		h := hex.EncodeToString(id)
		k.key, k.id = key, h[:8]+"-"+h[8:12]+"-4"+h[13:16]+"-a"+h[17:20]+"-"+h[20:]
	}
	return k.key, k.id, nil
}

func (k *keyring) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.key, k.id = nil, ""
}

// sign makes a JWT: RS256 with the key, or HS256 with the client's secret as
// raw bytes and no key id.
func (k *keyring) sign(c Client, payload []byte) (string, error) {
	how := jose.SigningKey{Algorithm: jose.HS256, Key: []byte(c.Secret)}
	if !c.HS256 {
		key, id, err := k.get()
		if err != nil {
			return "", err
		}
		how = jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: id}}
	}
	signer, err := jose.NewSigner(how, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("preparing the signature: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return jws.CompactSerialize()
}

// open returns the payload of a JWT that this server signed for a client with
// RS256, expired or not.
func (k *keyring) open(token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, fmt.Errorf("reading the token: %w", err)
	}
	key, _, err := k.get()
	if err != nil {
		return nil, err
	}
	return jws.Verify(&key.PublicKey)
}
