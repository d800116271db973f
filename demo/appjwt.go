package demo

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	keysFresh  = 5 * time.Minute // how long fetched keys are used without asking again
	keysPause  = time.Second     // least time between two fetches
	maxKeySet  = 1 << 20
	clockSkew  = 30 * time.Second
	maxJWTSize = 16 << 10
)

// verdict is what became of one JWT.
type verdict struct {
	OK      bool   `json:"verified"`
	Reason  string `json:"reason,omitempty"` // why not
	Subject string `json:"sub,omitempty"`    // only of a JWT that verifies
	Header  string `json:"-"`                // pretty-printed, whether or not it verifies
	Claims  string `json:"-"`
}

// identityToken is the JWT a request carries: in Authorization or, where a
// browser cannot set that, in the query.
func identityToken(r *http.Request) string {
	if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return t
	}
	return r.URL.Query().Get("token")
}

// verify reads a JWT and checks it: a signature by one of the published keys,
// issuer, audience, and that it is in force.
func (a *App) verify(ctx context.Context, token string) *verdict {
	v := new(verdict)
	parts := strings.Split(token, ".")
	if len(parts) == 3 && len(token) <= maxJWTSize {
		v.Header, v.Claims = pretty(parts[0]), pretty(parts[1])
	}
	claims, err := a.claims(ctx, token)
	if err != nil {
		v.Reason = err.Error()
		return v
	}
	v.OK, v.Subject = true, claims.Subject
	return v
}

func (a *App) claims(ctx context.Context, token string) (jwt.Claims, error) {
	var claims jwt.Claims
	if len(token) > maxJWTSize {
		return claims, errors.New("it is too long")
	}
	if a.o.JWKSURL == "" {
		return claims, errors.New("no key set is configured")
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256})
	if err != nil {
		return claims, fmt.Errorf("reading it: %w", err)
	}
	key, err := a.keys.find(ctx, parsed.Headers[0])
	if err != nil {
		return claims, err
	}
	if err := parsed.Claims(key, &claims); err != nil {
		return claims, fmt.Errorf("checking the signature: %w", err)
	}
	want := jwt.Expected{Issuer: a.o.Issuer, Time: a.o.Now()}
	if a.o.Audience != "" {
		want.AnyAudience = jwt.Audience{a.o.Audience}
	}
	if claims.Expiry == nil {
		return claims, errors.New("it never expires")
	}
	return claims, claims.ValidateWithLeeway(want, clockSkew)
}

// remoteKeys is a key set fetched when it is needed.
type remoteKeys struct {
	client *http.Client
	url    string
	now    func() time.Time

	mu    sync.Mutex // guards what follows, and is held while fetching: one at a time
	set   jose.JSONWebKeySet
	asked time.Time
}

func newRemoteKeys(client *http.Client, url string, now func() time.Time) *remoteKeys {
	return &remoteKeys{client: client, url: url, now: now}
}

// find is the key a JWT's header names. An unknown one makes it ask again, but
// not more often than once in keysPause.
func (k *remoteKeys) find(ctx context.Context, h jose.Header) (any, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.known(h)
	age := k.now().Sub(k.asked)
	if ok && age < keysFresh {
		return key, nil
	}
	if age >= keysPause {
		if err := k.fetch(ctx); err != nil {
			return nil, err
		}
		key, ok = k.known(h)
	}
	if !ok {
		return nil, fmt.Errorf("no published key has id %q and algorithm %s", h.KeyID, h.Algorithm)
	}
	return key, nil
}

func (k *remoteKeys) known(h jose.Header) (any, bool) {
	for _, key := range k.set.Key(h.KeyID) {
		if key.IsPublic() && (key.Algorithm == "" || key.Algorithm == h.Algorithm) {
			return key.Key, true
		}
	}
	return nil, false
}

func (k *remoteKeys) fetch(ctx context.Context) error {
	k.asked = k.now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return fmt.Errorf("fetching the keys: %w", err)
	}
	res, err := k.client.Do(req)
	if err != nil {
		return fmt.Errorf("fetching the keys: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("fetching the keys: %s", res.Status)
	}
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(io.LimitReader(res.Body, maxKeySet)).Decode(&set); err != nil {
		return fmt.Errorf("reading the keys: %w", err)
	}
	k.set = set
	return nil
}

// pretty prints one part of a JWT for people.
func pretty(part string) string {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return part
	}
	var buf bytes.Buffer
	if json.Indent(&buf, raw, "", "  ") != nil {
		return string(raw)
	}
	return buf.String()
}

// decoded undoes the percent-encoding of a name that is not ASCII.
func decoded(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}
