package upstream

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"anteroom/session"
)

// Asserter makes what an application is told about a caller: the identity
// headers and the JWT. Both are reused until half the JWT's life is over, so
// that a request costs no signature. Safe for concurrent use.
type Asserter struct {
	cfg    Config
	issuer string
	keys   *Ring
	now    func() time.Time

	mu    sync.RWMutex
	made  map[assertionKey]*assertion // guarded by mu
	swept time.Time                   // guarded by mu
}

type assertionKey struct{ session, subject, audience string }

// assertion is everything one caller's requests carry to one audience. Its
// slices are shared by requests and never changed.
type assertion struct {
	who     *session.Identity
	epoch   int // of the keys that signed it
	jwt     string
	renew   time.Time
	expires time.Time
	headers []header
}

type header struct {
	name  string // canonical
	value []string
}

// maxAssertions bounds the cache; above it everything is made anew.
const maxAssertions = 50_000

// NewAsserter makes an asserter; issuer is the JWT's iss. now must not be nil.
func NewAsserter(cfg Config, issuer string, keys *Ring, now func() time.Time) *Asserter {
	return &Asserter{cfg: cfg, issuer: issuer, keys: keys, now: now, made: map[assertionKey]*assertion{}}
}

// Token is the identity JWT of a caller for an audience, and when it expires.
// The audience none stands for a JWT without one.
func (a *Asserter) Token(who *session.Identity, audience string) (string, time.Time, error) {
	as, err := a.assert(who, audience)
	if err != nil {
		return "", time.Time{}, err
	}
	return as.jwt, as.expires, nil
}

// Fresh is Token with a JWT made for the occasion.
func (a *Asserter) Fresh(who *session.Identity, audience string) (string, time.Time, error) {
	key, _ := a.keys.signer()
	now := a.now()
	expires := now.Add(a.cfg.JWT.Lifetime)
	t, err := a.sign(key, who, audience, now, expires)
	return t, expires, err
}

func (a *Asserter) assert(who *session.Identity, audience string) (*assertion, error) {
	k := assertionKey{who.SessionID, who.Subject, audience}
	now := a.now()
	a.mu.RLock()
	as := a.made[k]
	a.mu.RUnlock()
	if as != nil && as.who == who && now.Before(as.renew) && as.epoch == a.keys.currentEpoch() {
		return as, nil
	}
	as, err := a.make(who, audience, now)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sweep(now)
	a.made[k] = as
	return as, nil
}

// sweep drops what has expired, at most once a minute. Called with mu held.
func (a *Asserter) sweep(now time.Time) {
	if len(a.made) >= maxAssertions {
		clear(a.made)
	}
	if now.Sub(a.swept) < time.Minute {
		return
	}
	a.swept = now
	for k, as := range a.made {
		if !now.Before(as.renew) {
			delete(a.made, k)
		}
	}
}

func (a *Asserter) make(who *session.Identity, audience string, now time.Time) (*assertion, error) {
	as := &assertion{who: who, expires: now.Add(a.cfg.JWT.Lifetime), renew: now.Add(a.cfg.JWT.Lifetime / 2)}
	as.headers = identityHeaders(a.cfg.Headers, who)
	if a.cfg.JWT.Algorithm == "none" {
		return as, nil
	}
	key, epoch := a.keys.signer()
	var err error
	if as.jwt, err = a.sign(key, who, audience, now, as.expires); err != nil {
		return nil, err
	}
	as.epoch = epoch
	value := as.jwt
	if canonical(a.cfg.JWT.Header) == "Authorization" {
		value = "Bearer " + value
	}
	as.headers = append(as.headers, header{canonical(a.cfg.JWT.Header), []string{value}})
	return as, nil
}

// sign makes one JWT (RFC 7519).
func (a *Asserter) sign(key jose.JSONWebKey, who *session.Identity, audience string, now, expires time.Time) (string, error) {
	o := (&jose.SignerOptions{}).WithType("JWT")
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: signingKey(key)}, o)
	if err != nil {
		return "", fmt.Errorf("signing identity JWT: %w", err)
	}
	t, err := jwt.Signed(s).Claims(a.claims(who, audience, now, expires)).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing identity JWT: %w", err)
	}
	return t, nil
}

// signingKey keeps a shared secret from being named by kid.
func signingKey(key jose.JSONWebKey) any {
	if key.KeyID == "" {
		return key.Key
	}
	return key
}

func (a *Asserter) claims(who *session.Identity, audience string, now, expires time.Time) map[string]any {
	c := map[string]any{}
	for name, v := range a.cfg.JWT.Claims {
		c[name] = v
	}
	c["iss"], c["sub"], c["jti"] = a.issuer, who.Subject, newID()
	c["iat"], c["nbf"], c["exp"] = now.Unix(), now.Unix(), expires.Unix()
	c["groups"] = append([]string{}, who.Groups...)
	for name, v := range map[string]string{"sid": who.SessionID, "email": who.Email, "name": who.Name, "preferred_username": who.Username, "role": a.role(who)} {
		if v != "" {
			c[name] = v
		}
	}
	if audience != "none" && audience != "" {
		c["aud"] = audience
	}
	return c
}

// role is that of the first group, by name, which has one.
func (a *Asserter) role(who *session.Identity) string {
	groups := slices.Sorted(slices.Values(who.Groups))
	for _, g := range groups {
		if r, ok := a.cfg.JWT.Roles[g]; ok {
			return r
		}
	}
	return a.cfg.JWT.Role
}

func newID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// identityHeaders are the headers that name a caller. All are set, empty where
// nothing is known, so that nothing of a client's shows through.
func identityHeaders(cfg HeaderConfig, who *session.Identity) []header {
	var out []header
	add := func(name, value string) {
		if name != "" && name != "none" {
			out = append(out, header{canonical(name), []string{value}})
		}
	}
	add(cfg.User, headerSafe(who.Subject, false))
	add(cfg.PreferredUsername, headerSafe(who.Username, false))
	add(cfg.Email, headerSafe(who.Email, false))
	add(cfg.Name, headerSafe(who.Name, false))
	groups, cut := joinGroups(who.Groups, cfg.GroupsMax)
	add(cfg.Groups, groups)
	if cut {
		add(groupsTruncated, "true")
	}
	return out
}

const groupsTruncated = "X-Forwarded-Groups-Truncated"

// joinGroups joins whole groups as far as they fit into limit bytes.
func joinGroups(groups []string, limit int) (joined string, cut bool) {
	var b strings.Builder
	for _, g := range groups {
		g = headerSafe(g, true)
		if b.Len()+len(g)+1 > limit {
			return b.String(), true
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(g)
	}
	return b.String(), false
}

// headerSafe percent-encodes what a header value cannot carry: everything that
// is not printable ASCII, the percent sign itself and, within a list, commas.
func headerSafe(s string, list bool) string {
	safe := func(c byte) bool { return c >= ' ' && c < 0x7f && c != '%' && (c != ',' || !list) }
	i := 0
	for i < len(s) && safe(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if safe(s[i]) {
			b.WriteByte(s[i])
			continue
		}
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

// AudienceOf is the aud of JWTs for a destination: its own, else the
// configured one, else the origin of its URL.
func AudienceOf(cfg JWTConfig, d Destination) string {
	if d.Audience != "" {
		return d.Audience
	}
	if cfg.Audience != "" {
		return cfg.Audience
	}
	u, err := url.Parse(d.URL)
	if err != nil || u.Host == "" {
		return d.URL
	}
	scheme := strings.Replace(u.Scheme, "h2c", "http", 1)
	return scheme + "://" + u.Host
}
