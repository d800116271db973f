package signin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"anteroom/session"

	"github.com/go-jose/go-jose/v4"
)

// Examination looks at a provider without signing anybody in, for whoever sets
// it up. It changes nothing here or there.
type Examination struct {
	Kind         string // "oidc" or "nextcloud"
	Issuer       string // what the provider calls itself; "" for one that has no name
	RedirectURI  string // that sign-in uses
	Introspects  bool
	found        provider
	relyingParty *RelyingParty
}

// Examine finds the provider. The error wraps ErrNoOIDC or ErrIssuer where it
// is that.
func (p *RelyingParty) Examine(ctx context.Context) (*Examination, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	e := &Examination{Kind: found.kind(), RedirectURI: p.cfg.RedirectURI, found: found, relyingParty: p}
	if o, ok := found.(*openID); ok {
		e.Issuer, e.Introspects = o.m.Issuer, o.m.Introspection != ""
	}
	return e, nil
}

// Verdict is what a provider says of what it was shown.
type Verdict int

// The verdicts. VerdictUntold is a provider that says so only once somebody signs in.
const (
	VerdictUntold Verdict = iota
	VerdictGood
	VerdictRefused
)

// Client shows the provider the client's id and secret, with a code that is
// none. Providers that look at the code first tell nothing; of these, one with
// introspection is asked there.
func (e *Examination) Client(ctx context.Context) (Verdict, error) {
	p := e.relyingParty
	if o, ok := e.found.(*openID); ok && e.Introspects {
		return e.post(ctx, o.m.Introspection, url.Values{"token": {"none"}}, func(status int, _ string) Verdict {
			if status == http.StatusOK {
				return VerdictGood
			}
			return VerdictUntold
		})
	}
	endpoint := ""
	switch f := e.found.(type) {
	case *openID:
		endpoint = f.m.TokenURL
	case *builtIn:
		endpoint = f.conf.Endpoint.TokenURL
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {"none"}, "redirect_uri": {p.cfg.RedirectURI}, "code_verifier": {strings.Repeat("x", 43)}}
	return e.post(ctx, endpoint, form, func(_ int, code string) Verdict {
		if code == "invalid_grant" && !e.nextcloud() {
			return VerdictGood
		}
		return VerdictUntold
	})
}

// nextcloud reports whether the provider is one of Nextcloud's, which look at
// the code before the secret.
func (e *Examination) nextcloud() bool {
	o, ok := e.found.(*openID)
	return !ok || strings.Contains(o.m.TokenURL, "/apps/oidc/")
}

// post puts a form with the client's credential to an endpoint. What says
// neither that the client is refused nor what good makes of it is VerdictUntold.
func (e *Examination) post(ctx context.Context, endpoint string, form url.Values, good func(status int, code string) Verdict) (Verdict, error) {
	p := e.relyingParty
	form.Set("client_id", p.cfg.ClientID)
	if s := p.secret.InForce(); s != "" {
		form.Set("client_secret", s.Reveal())
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return VerdictUntold, fmt.Errorf("showing the provider the client: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	resp, err := p.client.Do(r)
	if err != nil {
		return VerdictUntold, fmt.Errorf("showing the provider the client: %w", session.WithoutURL(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return VerdictUntold, fmt.Errorf("showing the provider the client: %w", err)
	}
	var said struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(body, &said) // what is no JSON says nothing
	switch {
	case said.Error == "invalid_client" || said.Error == "unauthorized_client":
		return VerdictRefused, nil
	case resp.StatusCode >= 500:
		return VerdictUntold, fmt.Errorf("%w: status %d", errAnswer, resp.StatusCode)
	}
	return good(resp.StatusCode, said.Error), nil
}

// Redirect asks for a sign-in that nobody has to answer, to see whether the
// provider would send the answer to the redirect URI. other is where it sends
// answers instead, as far as it says.
func (e *Examination) Redirect(ctx context.Context) (v Verdict, other string, err error) {
	p := e.relyingParty
	to, err := url.Parse(e.found.authURL(flow{Nonce: randomText(), Verifier: rand.Text() + rand.Text(), state: randomText()}, p.cfg.RedirectURI))
	if err != nil {
		return VerdictUntold, "", fmt.Errorf("asking for a sign-in: %w", err)
	}
	q := to.Query()
	if e.Kind == kindOIDC {
		q.Set("prompt", "none") // OpenID Connect Core §3.1.2.1: the answer comes at once
	} else {
		q.Set("response_type", "none") // which is refused at the redirect URI that is registered
	}
	to.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return VerdictUntold, "", fmt.Errorf("asking for a sign-in: %w", err)
	}
	r.Header.Set("Accept", "text/html")
	resp, err := p.client.Do(r)
	if err != nil {
		return VerdictUntold, "", fmt.Errorf("asking for a sign-in: %w", session.WithoutURL(err))
	}
	resp.Body.Close()
	where, errWhere := resp.Location()
	switch {
	case resp.StatusCode >= 500:
		return VerdictUntold, "", fmt.Errorf("asking for a sign-in: %w: status %d", errAnswer, resp.StatusCode)
	case resp.StatusCode/100 != 3 || errWhere != nil:
		return VerdictRefused, "", nil // a page: a client or an address that cannot be trusted is not redirected to
	case !where.Query().Has("error"):
		return VerdictUntold, "", nil // to a login page, and what comes after it
	}
	where.RawQuery, where.Fragment = "", ""
	registered, err := url.Parse(p.cfg.RedirectURI)
	if err != nil {
		return VerdictUntold, "", fmt.Errorf("signin.redirect_uri: %w", err)
	}
	registered.RawQuery = ""
	if where.String() == registered.String() {
		return VerdictGood, "", nil
	}
	return VerdictRefused, where.String(), nil
}

// Keys fetches the provider's keys. n is how many can verify its id_tokens; the
// built-in OAuth2 has none, and needs none.
func (e *Examination) Keys(ctx context.Context) (n int, algorithms []string, err error) {
	o, ok := e.found.(*openID)
	if !ok {
		return 0, nil, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.m.JWKSURL, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("fetching the provider's keys: %w", err)
	}
	var set jose.JSONWebKeySet
	if _, err := fetchJSON(e.relyingParty.client, r, &set); err != nil {
		return 0, nil, fmt.Errorf("fetching the provider's keys: %w", session.WithoutURL(err))
	}
	for _, k := range set.Keys {
		if k.Valid() && k.IsPublic() && (k.Use == "" || k.Use == "sig") {
			n++
		}
	}
	for _, a := range o.algs {
		algorithms = append(algorithms, string(a))
	}
	return n, algorithms, nil
}
