package upstream

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"anteroom/session"
)

const (
	maxToken     = 16 << 10 // a JWT of ours with the most groups is smaller
	verifyLeeway = 5 * time.Second
)

// ErrToken: a JWT is not one of ours, or no longer good, or for somebody else.
var ErrToken = errors.New("not an identity JWT that is good here")

// Issued reports whether a token says that it is a JWT of ours: nobody else
// need be asked about it then. It proves nothing.
func (a *Asserter) Issued(token string) bool {
	_, rest, ok := strings.Cut(token, ".")
	payload, _, more := strings.Cut(rest, ".")
	if !ok || !more || len(token) > maxToken {
		return false
	}
	b, err := base64.RawURLEncoding.DecodeString(payload)
	var said struct {
		Issuer string `json:"iss"`
	}
	return err == nil && json.Unmarshal(b, &said) == nil && said.Issuer == a.issuer
}

// readBack is what a JWT of ours says that we read again.
type readBack struct {
	Issuer   string    `json:"iss"`
	Subject  string    `json:"sub"`
	Session  string    `json:"sid"`
	Audience audiences `json:"aud"`
	Expires  int64     `json:"exp"`
	Before   int64     `json:"nbf"`
	Groups   []string  `json:"groups"`
	Username string    `json:"preferred_username"`
	Name     string    `json:"name"`
	Email    string    `json:"email"`
	Known    string    `json:"nextcloud_id"` // where Subject is the application's own id
}

// audiences reads aud, which is one text or a list (RFC 7519 §4.1.3).
type audiences []string

func (a *audiences) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// Verify reads an identity JWT of ours for one of the audiences. Its signature
// must be by a key of the ring with the configured algorithm, and its times
// must hold. ErrToken says all that a caller may learn. Whether the session it
// names still lives is for others to tell.
func (a *Asserter) Verify(token string, accepted []string) (session.Identity, error) {
	keys := a.keys.held.Load()
	if len(token) > maxToken || keys.signer == nil {
		return session.Identity{}, ErrToken
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(a.cfg.JWT.Algorithm)})
	if err != nil {
		return session.Identity{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	payload, err := keys.open(jws)
	if err != nil {
		return session.Identity{}, err
	}
	var v readBack
	if err := json.Unmarshal(payload, &v); err != nil {
		return session.Identity{}, ErrToken
	}
	now := a.now()
	switch {
	case subtle.ConstantTimeCompare([]byte(v.Issuer), []byte(a.issuer)) != 1, v.Subject == "", v.Session == "":
		return session.Identity{}, ErrToken
	case !now.Before(time.Unix(v.Expires, 0)), now.Add(verifyLeeway).Before(time.Unix(v.Before, 0)):
		return session.Identity{}, fmt.Errorf("%w: it is not its time", ErrToken)
	case !slices.ContainsFunc(v.Audience, func(s string) bool { return slices.Contains(accepted, s) }):
		return session.Identity{}, fmt.Errorf("%w: it is for another audience", ErrToken)
	}
	appID := ""
	if v.Known != "" {
		v.Subject, appID = v.Known, v.Subject
	}
	return session.Identity{Subject: v.Subject, AppID: appID, Username: v.Username, Name: v.Name, Email: v.Email, Groups: v.Groups,
		Method: session.ByAssertion, SessionID: v.Session}, nil
}

// open verifies a signature by the key it names, and no other.
func (r *keyring) open(jws *jose.JSONWebSignature) ([]byte, error) {
	if len(jws.Signatures) != 1 {
		return nil, ErrToken
	}
	kid := jws.Signatures[0].Header.KeyID
	for _, key := range r.set.Keys {
		if key.KeyID != kid {
			continue
		}
		var public any = key.Key
		if p := key.Public(); p.Valid() {
			public = p
		}
		if payload, err := jws.Verify(public); err == nil {
			return payload, nil
		}
	}
	return nil, ErrToken
}
