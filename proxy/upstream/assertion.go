package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"anteroom/session"
	"anteroom/session/semaphore"
)

// Asserter makes what an application is told about a caller: the identity
// headers and the JWT. Both are reused until half the JWT's life is over, so
// that a request costs no signature; see BenchmarkToken. Safe for concurrent
// use.
type Asserter struct {
	cfg    Config
	issuer string
	keys   *Ring
	now    func() time.Time
	bodies *semaphore.Keyed // a place for each body that is held to be signed

	mu    sync.RWMutex
	made  map[assertionKey]*assertion // guarded by mu
	swept time.Time                   // guarded by mu
}

type assertionKey struct{ session, subject, audience string }

// assertion is everything one caller's requests carry to one audience. Its
// slices are shared by requests and never changed.
type assertion struct {
	who     *session.Identity
	keys    *keyring // that signed it
	jwt     string   // "" where none is made
	renew   time.Time
	expires time.Time
	headers []header

	rendered rendering // of the headers, for front proxies that read no HTTP
}

type header struct {
	name  string // canonical
	value []string
}

// maxAssertions bounds the cache: some 2 KiB each.
const maxAssertions = 50_000

var errNobody = errors.New("asserting an identity: it has no subject")

// NewAsserter makes an asserter; issuer is the JWT's iss. now must not be nil.
func NewAsserter(cfg Config, issuer string, keys *Ring, now func() time.Time) *Asserter {
	return &Asserter{cfg: cfg, issuer: issuer, keys: keys, now: now, bodies: semaphore.New(digestPlaces, digestEach), made: map[assertionKey]*assertion{}}
}

// Token is the identity JWT (RFC 7519) of a caller for an audience, and when it
// expires: at least half of identity.jwt.lifetime from now. The audience "" or
// none stands for a JWT without one. With the algorithm none the JWT is "".
func (a *Asserter) Token(who *session.Identity, audience string) (jwt string, expires time.Time, err error) {
	as, err := a.assert(who, audience)
	if err != nil {
		return "", time.Time{}, err
	}
	return as.jwt, as.expires, nil
}

// Fresh is Token with a JWT made for the occasion, which lives its whole life.
func (a *Asserter) Fresh(who *session.Identity, audience string) (jwt string, expires time.Time, err error) {
	as, err := a.make(who, audience, a.now())
	if err != nil {
		return "", time.Time{}, err
	}
	return as.jwt, as.expires, nil
}

// assert is the assertion in use for a caller and an audience.
func (a *Asserter) assert(who *session.Identity, audience string) (*assertion, error) {
	k := assertionKey{who.SessionID, who.Subject, audience}
	now := a.now()
	a.mu.RLock()
	as := a.made[k]
	a.mu.RUnlock()
	if as != nil && now.Before(as.renew) && as.keys == a.keys.held.Load() && same(as.who, who) {
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

// same reports whether two identities are told to an application alike.
func same(a, b *session.Identity) bool {
	return a == b || a.Subject == b.Subject && a.AppID == b.AppID && a.SessionID == b.SessionID && a.Username == b.Username &&
		a.Email == b.Email && a.Name == b.Name && slices.Equal(a.Groups, b.Groups)
}

// sweep makes room: what is due to be renewed goes, at most once a minute, and
// an eighth of the rest if that was not enough. Called with mu held.
func (a *Asserter) sweep(now time.Time) {
	if now.Sub(a.swept) >= time.Minute {
		a.swept = now
		for k, as := range a.made {
			if !now.Before(as.renew) {
				delete(a.made, k)
			}
		}
	}
	if len(a.made) < maxAssertions {
		return
	}
	for k := range a.made {
		if len(a.made) <= maxAssertions/8*7 {
			return
		}
		delete(a.made, k)
	}
}

// make makes an assertion with the key that signs now.
func (a *Asserter) make(who *session.Identity, audience string, now time.Time) (*assertion, error) {
	if who.Subject == "" {
		return nil, errNobody
	}
	keys := a.keys.held.Load()
	as := &assertion{
		who: who, keys: keys, headers: identityHeaders(a.cfg.Headers, who),
		renew:   now.Add(a.cfg.JWT.Lifetime / 2),
		expires: now.Truncate(time.Second).Add(a.cfg.JWT.Lifetime),
	}
	if keys.signer == nil {
		return as, nil
	}
	claims, err := json.Marshal(a.claims(who, audience, now, as.expires))
	if err != nil {
		return nil, fmt.Errorf("encoding identity JWT: %w", err)
	}
	signed, err := keys.signer.Sign(claims)
	if err != nil {
		return nil, fmt.Errorf("signing identity JWT: %w", err)
	}
	if as.jwt, err = signed.CompactSerialize(); err != nil {
		return nil, fmt.Errorf("encoding identity JWT: %w", err)
	}
	if name := a.cfg.JWT.Header; named(name) {
		as.headers = append(as.headers, header{canonical(name), []string{scheme(name) + as.jwt}})
	}
	return as, nil
}

// scheme is what stands before the JWT in a header: RFC 6750 §2.1 in
// Authorization, nothing in any other.
func scheme(name string) string {
	if canonical(name) == "Authorization" {
		return "Bearer "
	}
	return ""
}

// NoAudience is the audience of a JWT without one.
const NoAudience = "none"

// AudienceOf is the aud of JWTs for a destination: its own, else the
// configured one, else the origin of its URL (http for h2c; the whole URL of a
// unix socket).
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
	if u.Scheme == "h2c" {
		u.Scheme = "http"
	}
	return u.Scheme + "://" + u.Host
}
