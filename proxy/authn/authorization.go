package authn

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/proxy/throttle"
	"anteroom/session"
)

// People knows people by their Nextcloud login name and app password.
// session.ErrGrantDead and ErrNotAllowed say that it is no good, any other
// error that nobody can tell.
type People interface {
	ByPassword(ctx context.Context, user string, password session.Secret) (session.Identity, error)
}

// Tokens knows people by the provider's access token. opens says that the token
// opens Nextcloud's services, too. Errors are as with People.
type Tokens interface {
	ByToken(ctx context.Context, token session.Secret) (who session.Identity, opens bool, err error)
}

// Assertions knows identity JWTs of ours. Issued reports whether a token says
// that it is one; Verify checks it, whether its session lives included.
// ErrBroken means that it cannot tell.
type Assertions interface {
	Issued(token string) bool
	Verify(ctx context.Context, token string) (Caller, error)
}

// Options is by what an Authorization is judged. What is nil knows nobody.
type Options struct {
	Clients    []Client
	People     People
	Tokens     Tokens
	Assertions Assertions
	Shared     throttle.Shared       // counts refused credentials for all replicas; nil: each counts its own
	Marks      Marks                 // tells replicas of passwords that were good; nil: each goes by its own
	Now        func() time.Time      // nil: time.Now
	Registry   prometheus.Registerer // nil: nothing is counted
}

// Authorization knows callers by that header: Basic (RFC 7617) or Bearer
// (RFC 6750). It is decisive: a bad one is refused, whatever cookie came along.
type Authorization struct {
	o         Options
	clients   *clients
	verdicts  *verdicts
	addresses *throttle.Throttle
	names     *throttle.Throttle
	counted   *prometheus.CounterVec
}

// NewAuthorization makes the source. An error means that a client's hash is
// none.
func NewAuthorization(o Options) (*Authorization, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	c, err := newClients(o.Clients)
	if err != nil {
		return nil, err
	}
	a := &Authorization{o: o, clients: c, verdicts: newVerdicts(o.Now, o.Marks),
		addresses: throttle.New("credentials by address", addressFailures, o.Shared, o.Now), names: throttle.New("credentials by name", nameFailures, o.Shared, o.Now),
		counted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "anteroom_credentials_total", Help: "Authorization headers judged, by means and outcome.",
		}, []string{"means", "outcome"})}
	if o.Registry != nil {
		o.Registry.MustRegister(a.counted)
	}
	return a, nil
}

const (
	// MaxName bounds the name of Basic, in bytes.
	MaxName   = 255
	maxSecret = 4096
)

// Identify implements Source.
func (a *Authorization) Identify(r *http.Request) (Caller, error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return Caller{}, nil
	}
	means, caller, err := a.judge(r.Context(), values)
	outcome := "good"
	switch {
	case errors.Is(err, ErrThrottled):
		outcome = "throttled"
	case errors.Is(err, ErrBroken):
		outcome = "broken"
	case err != nil:
		outcome = "refused"
	}
	a.counted.WithLabelValues(means, outcome).Inc()
	if err != nil {
		err = a.failed(values[0], err)
	}
	return caller, err
}

func (a *Authorization) judge(ctx context.Context, values []string) (means string, c Caller, err error) {
	scheme, rest, _ := strings.Cut(values[0], " ")
	rest = strings.TrimLeft(rest, " ")
	switch {
	case len(values) > 1:
		return "none", c, fmt.Errorf("%w: more than one Authorization", ErrRefused)
	case strings.EqualFold(scheme, "Basic"):
		return a.basic(ctx, rest)
	case strings.EqualFold(scheme, "Bearer"):
		return a.bearer(ctx, rest)
	}
	return "none", c, fmt.Errorf("%w: a scheme other than Basic and Bearer", ErrRefused)
}

// basic judges a name and a secret: a client's, else a person's. Who guesses at
// a client's secret learns nothing: the person of that name is asked for, too.
func (a *Authorization) basic(ctx context.Context, encoded string) (means string, c Caller, err error) {
	user, password, err := parseBasic(encoded)
	if err != nil {
		return "password", c, err
	}
	if who := a.clients.know(user, password); who != nil {
		return "client", Caller{Who: who}, nil
	}
	if a.o.People == nil {
		return "password", c, fmt.Errorf("%w: no such client", ErrRefused)
	}
	own := session.Credential{User: user, Secret: session.Secret(password)}
	who, _, err := a.verdict(ctx, own, func(ctx context.Context) (session.Identity, bool, error) {
		who, err := a.o.People.ByPassword(ctx, user, own.Secret)
		who.Method = session.ByAppPassword
		return who, true, err
	})
	if err != nil {
		return "password", c, err
	}
	return "password", Caller{Who: who, Own: own}, nil
}

// bearer judges a token: ours, a client's secret, else the provider's.
func (a *Authorization) bearer(ctx context.Context, token string) (means string, c Caller, err error) {
	if !isToken68(token) || len(token) > maxBearer {
		return "token", c, fmt.Errorf("%w: not a token", ErrRefused)
	}
	if a.o.Assertions != nil && a.o.Assertions.Issued(token) {
		c, err = a.o.Assertions.Verify(ctx, token)
		if err != nil && !errors.Is(err, ErrBroken) {
			err = fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return "assertion", c, err
	}
	if who := a.clients.knowToken(token); who != nil {
		return "client", Caller{Who: who}, nil
	}
	if a.o.Tokens == nil {
		return "token", c, fmt.Errorf("%w: no token of ours", ErrRefused)
	}
	own := session.Credential{Secret: session.Secret(token)}
	who, opens, err := a.verdict(ctx, own, func(ctx context.Context) (session.Identity, bool, error) {
		who, opens, err := a.o.Tokens.ByToken(ctx, own.Secret)
		who.Method = session.ByToken
		return who, opens, err
	})
	if err != nil {
		return "token", c, err
	}
	if !opens {
		own = session.Credential{}
	}
	return "token", Caller{Who: who, Own: own}, nil
}

// verdict is what Nextcloud says to a credential, now or lately, within the
// limits on attempts.
func (a *Authorization) verdict(ctx context.Context, c session.Credential, question func(context.Context) (session.Identity, bool, error)) (who *session.Identity, opens bool, err error) {
	var owed []func(failed bool)
	defer func() { // also if the question panics
		for _, end := range owed {
			end(errors.Is(err, ErrRefused))
		}
	}()
	try := func(in *throttle.Throttle, key string) error {
		if wait := in.Begin(key); wait > 0 {
			return &Throttled{wait}
		}
		owed = append(owed, func(failed bool) { in.End(ctx, key, failed) })
		return nil
	}
	return a.verdicts.ask(ctx, c, func() error {
		if err := try(a.addresses, throttle.Network(addressOf(ctx))); err != nil || c.User == "" {
			return err
		}
		return try(a.names, throttle.Account(c.User))
	}, question)
}

// Accepting is the same source with other assertions: for a door that others of
// ours are not meant for.
func (a *Authorization) Accepting(as Assertions) *Authorization {
	other := *a
	other.o.Assertions = as
	return &other
}

// Forget is told of a credential that was good and that Nextcloud refuses now.
func (a *Authorization) Forget(c session.Credential) { a.verdicts.forget(c) }

// maxBearer bounds a token: a JWT of ours with very many groups is smaller.
const maxBearer = 16 << 10

// parseBasic reads the credentials of RFC 7617 §2, in UTF-8.
func parseBasic(encoded string) (user, password string, err error) {
	if len(encoded) > 2*(MaxName+maxSecret) {
		return "", "", fmt.Errorf("%w: too long", ErrRefused)
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", "", fmt.Errorf("%w: not base64", ErrRefused)
	}
	user, password, ok := strings.Cut(string(b), ":")
	bad := func(s string, most int) bool {
		return s == "" || len(s) > most || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl)
	}
	if !ok || bad(user, MaxName) || bad(password, maxSecret) {
		return "", "", fmt.Errorf("%w: not a name and a secret", ErrRefused)
	}
	return user, password, nil
}

// isToken68 knows the characters of a Bearer token (RFC 6750 §2.1).
func isToken68(s string) bool {
	return s != "" && !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~+/=", c) >= 0)
	})
}
