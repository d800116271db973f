package signin

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	firstRetry  = time.Second
	lastRetry   = 30 * time.Second
	recheckTime = 15 * time.Minute // from one discovery to the next, while all is well
	lookTime    = time.Minute      // at the most, from one look whether the provider answers to the next
	lookLimit   = 10 * time.Second // for one look
)

// metadata is what we read of a discovery document (OpenID Connect Discovery
// 1.0 §3, RFC 8414, RFC 9207 §3).
type metadata struct {
	Issuer        string   `json:"issuer"`
	AuthURL       string   `json:"authorization_endpoint"`
	TokenURL      string   `json:"token_endpoint"`
	UserInfoURL   string   `json:"userinfo_endpoint"`
	JWKSURL       string   `json:"jwks_uri"`
	EndSessionURL string   `json:"end_session_endpoint"`
	RevocationURL string   `json:"revocation_endpoint"`
	Introspection string   `json:"introspection_endpoint"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Scopes        []string `json:"scopes_supported"`
	IssInAnswer   bool     `json:"authorization_response_iss_parameter_supported"`
}

var (
	// ErrNoOIDC: the server answers, and offers no OpenID Connect.
	ErrNoOIDC = errors.New("no OpenID Connect discovery document")
	// ErrIssuer: the server calls itself by another name than it is known by.
	ErrIssuer = errors.New("another issuer")
)

// Run finds the provider, looks every minute whether it answers, and finds it
// anew from time to time, until ctx is done. It never gives up: the provider may
// be down when we start.
func (p *RelyingParty) Run(ctx context.Context) {
	wait := firstRetry
	var since time.Time // the last discovery that told us something; zero: something is amiss since
	for {
		var err error
		if !since.IsZero() && time.Since(since) < recheckTime {
			err = p.look(ctx)
		} else if v, e := p.discover(ctx); e == nil {
			p.adopt(v)
			since = time.Now()
		} else {
			err = e
		}
		next := lookTime/2 + rand.N(lookTime/2) // #nosec G404 -- spreads waits
		switch {
		case err == nil:
			wait = firstRetry
		case ctx.Err() != nil:
			return
		default:
			if since.IsZero() { // twice in a row: once happens
				p.miss(err)
			}
			since = time.Time{}
			next = wait/2 + rand.N(wait) // #nosec G404 -- spreads waits
			wait = min(2*wait, lastRetry)
		}
		if !p.pause(ctx, next) {
			return
		}
	}
}

// pause waits for the next look: firstRetry at least, and no longer than that
// where somebody wants to sign in meanwhile. It reports false if ctx is done.
func (p *RelyingParty) pause(ctx context.Context, next time.Duration) bool {
	due := time.After(next)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(min(firstRetry, next)):
	}
	select {
	case <-ctx.Done():
		return false
	case <-due:
	case <-p.wanted:
	}
	return true
}

// look asks the provider that was found for what costs it little.
func (p *RelyingParty) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	if p.Provider() == kindNextcloud {
		return p.statusOK(ctx)
	}
	_, err := p.findMetadata(ctx)
	return err
}

func (p *RelyingParty) adopt(found provider) {
	before := p.Provider()
	p.found.Store(&found)
	p.failed.Store(nil)
	p.metrics.ready.Set(1)
	if p.away.Swap(nil) != nil {
		p.o.Log.Info("sign-in provider answers again")
	}
	if before == found.kind() {
		return
	}
	meaning := "OpenID Connect: who signed in comes from the id_token and userinfo"
	if found.kind() == kindNextcloud {
		meaning = "Nextcloud's built-in OAuth2, which is not OpenID Connect: who signed in comes from its OCS API, and signing out here leaves the person signed in there"
	}
	p.o.Log.Info("sign-in provider found", "provider", found.kind(), "configured", p.cfg.Provider, "meaning", meaning)
}

// miss notes that the provider was not found. One that was found before stays,
// for sessions; nobody is sent there meanwhile.
func (p *RelyingParty) miss(err error) {
	p.metrics.ready.Set(0)
	if p.provider() == nil {
		p.o.Log.Warn("sign-in provider not found yet; trying again", "error", err)
		p.failed.Store(&err)
		return
	}
	if p.away.Swap(&err) == nil {
		p.o.Log.Warn("sign-in provider does not answer; what was found before stays in use, and nobody can sign in", "error", err)
	}
}

// discover finds out what the server offers.
func (p *RelyingParty) discover(ctx context.Context) (provider, error) {
	if p.cfg.Provider == kindNextcloud {
		return newNextcloud(p), p.statusOK(ctx)
	}
	m, err := p.findMetadata(ctx)
	switch {
	case err == nil:
		return newOIDC(p, m)
	case errors.Is(err, ErrNoOIDC) && p.cfg.Provider == "auto" && p.Provider() != kindOIDC:
		return newNextcloud(p), p.statusOK(ctx)
	}
	return nil, err
}

// findMetadata looks for a discovery document where the standard puts it and,
// for a Nextcloud whose web server lacks the rewrite rules, where its app does.
func (p *RelyingParty) findMetadata(ctx context.Context) (*metadata, error) {
	base := strings.TrimSuffix(p.o.Nextcloud.String(), "/")
	places := []string{
		strings.TrimSuffix(p.cfg.Issuer, "/") + "/.well-known/openid-configuration",
		base + "/index.php/.well-known/openid-configuration",
		base + "/index.php/apps/oidc/openid-configuration",
	}
	var other error
	for _, place := range places {
		m, err := p.fetchMetadata(ctx, place)
		if err == nil {
			return m, nil
		}
		if !errors.Is(err, ErrNoOIDC) && other == nil {
			other = err
		}
	}
	if other != nil {
		return nil, other
	}
	return nil, fmt.Errorf("%w at %s, nor where Nextcloud's app has it", ErrNoOIDC, places[0])
}

func (p *RelyingParty) fetchMetadata(ctx context.Context, place string) (*metadata, error) {
	ctx, done := p.timed(ctx, "discovery")
	defer done()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	client := *p.client
	client.CheckRedirect = sameOrigin
	var m metadata
	status, err := fetchJSON(&client, r, &m)
	switch {
	case err == nil && m.Issuer != "":
		return &m, p.judgeMetadata(&m)
	case err == nil, errors.Is(err, errAnswer) && noDocument(status):
		return nil, ErrNoOIDC
	}
	return nil, fmt.Errorf("discovery: %w", err)
}

// noDocument reports whether a status, on an answer that is none, says for
// certain that there is no document here: not found, a page in its place, or
// the way to another server. Anything else may be an outage.
func noDocument(status int) bool {
	return status == http.StatusNotFound || status == http.StatusOK || status/100 == 3
}

// sameOrigin follows redirects within one server, three at most.
func sameOrigin(r *http.Request, via []*http.Request) error {
	if len(via) > 3 || r.URL.Scheme != via[0].URL.Scheme || r.URL.Host != via[0].URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

func (p *RelyingParty) judgeMetadata(m *metadata) error {
	if strings.TrimSuffix(m.Issuer, "/") != strings.TrimSuffix(p.cfg.Issuer, "/") {
		return fmt.Errorf("discovery: %w: the server calls itself issuer %q, signin.issuer is %q", ErrIssuer, m.Issuer, p.cfg.Issuer)
	}
	secure := strings.HasPrefix(m.Issuer, "https:")
	for i, e := range []string{m.AuthURL, m.TokenURL, m.JWKSURL, m.UserInfoURL, m.EndSessionURL, m.RevocationURL, m.Introspection} {
		u, err := url.Parse(e)
		switch {
		case e == "" && i >= 3: // optional
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			return fmt.Errorf("discovery: %q is no endpoint", e)
		case secure && u.Scheme != "https": // secrets go there
			return fmt.Errorf("discovery: %q is not https, as the issuer is", e)
		}
	}
	return nil
}

// statusOK asks whether an installed Nextcloud is there and at work.
func (p *RelyingParty) statusOK(ctx context.Context) error {
	ctx, done := p.timed(ctx, "status")
	defer done()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.o.Nextcloud.JoinPath("status.php").String(), nil)
	if err != nil {
		return fmt.Errorf("status.php: %w", err)
	}
	var s struct{ Installed, Maintenance bool }
	if _, err := fetchJSON(p.client, r, &s); err != nil {
		return fmt.Errorf("asking Nextcloud's status: %w", err)
	}
	switch {
	case !s.Installed:
		return errors.New("the Nextcloud is not installed yet")
	case s.Maintenance:
		return errors.New("the Nextcloud is in maintenance mode")
	}
	return nil
}
