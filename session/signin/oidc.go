package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"anteroom/session"
)

const kindOIDC = "oidc"

// asymmetric are the signatures an id_token may have, of those the provider
// advertises. A shared secret or none is never one: whoever can talk to the
// token endpoint's client could make them.
var asymmetric = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

// openID is a provider that speaks OpenID Connect (Core 1.0).
type openID struct {
	p        *RelyingParty
	m        *metadata
	scopes   []string
	verifier *oidc.IDTokenVerifier
}

func newOIDC(p *RelyingParty, m *metadata) (*openID, error) {
	advertised := m.Algorithms
	if len(advertised) == 0 {
		advertised = []string{oidc.RS256}
	}
	var algs []string
	for _, a := range advertised {
		if slices.Contains(asymmetric, a) {
			algs = append(algs, a)
		}
	}
	if len(algs) == 0 {
		return nil, fmt.Errorf("discovery: the provider signs id_tokens with %v only; none of these can be verified by its public keys", advertised)
	}
	pc := oidc.ProviderConfig{IssuerURL: m.Issuer, AuthURL: m.AuthURL, TokenURL: m.TokenURL, UserInfoURL: m.UserInfoURL, JWKSURL: m.JWKSURL, Algorithms: algs}
	prov := pc.NewProvider(p.withClient(context.Background()))
	return &openID{p: p, m: m, scopes: p.scopes(m), verifier: prov.Verifier(&oidc.Config{
		ClientID: p.cfg.ClientID, SupportedSigningAlgs: algs,
		Now: func() time.Time { return p.o.Now().Add(-clockLeeway) }, // for exp; iat is judged by us
	})}, nil
}

// scopes are those configured or, of those we can use, what the provider has.
func (p *RelyingParty) scopes(m *metadata) []string {
	if len(p.cfg.Scopes) > 0 {
		return p.cfg.Scopes
	}
	if len(m.Scopes) == 0 {
		return []string{"openid", "profile", "email"}
	}
	out := []string{"openid"}
	for _, s := range []string{"profile", "email", "groups", "roles", "offline_access"} {
		if slices.Contains(m.Scopes, s) {
			out = append(out, s)
		}
	}
	return out
}

func (o *openID) kind() string { return kindOIDC }

func (o *openID) config(redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: o.p.cfg.ClientID, ClientSecret: o.p.cfg.ClientSecret.Reveal(), RedirectURL: redirect, Scopes: o.scopes,
		// In the body, always: Nextcloud books Basic as a failed login, and guessing asks twice.
		Endpoint: oauth2.Endpoint{AuthURL: o.m.AuthURL, TokenURL: o.m.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
	}
}

func (o *openID) authURL(f flow, redirect string) string {
	opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(f.Verifier), oidc.Nonce(f.Nonce)}
	if slices.Contains(o.scopes, oidc.ScopeOfflineAccess) {
		opts = append(opts, oauth2.SetAuthURLParam("prompt", "consent")) // OpenID Connect Core §11
	}
	return o.config(redirect).AuthCodeURL(f.state, opts...)
}

func (o *openID) checkIssuer(iss string, present bool) error {
	if present && iss != o.m.Issuer || !present && o.m.IssInAnswer {
		return errors.New("the answer's iss is not the provider's")
	}
	return nil
}

func (o *openID) exchange(ctx context.Context, code, redirect string, f flow) (session.Grant, error) {
	done := o.p.timed("token")
	tok, err := o.config(redirect).Exchange(o.p.withClient(ctx), code, oauth2.VerifierOption(f.Verifier))
	done()
	if err != nil {
		return session.Grant{}, exchangeError(err)
	}
	raw, _ := tok.Extra("id_token").(string)
	if raw == "" {
		return session.Grant{}, &Error{Kind: Invalid, Err: errors.New("the provider gave no id_token")}
	}
	idt, claims, err := o.verify(ctx, raw, tok.AccessToken)
	if err != nil {
		return session.Grant{}, verifyError(err)
	}
	if subtle.ConstantTimeCompare([]byte(idt.Nonce), []byte(f.Nonce)) != 1 {
		return session.Grant{}, &Error{Kind: Invalid, Err: errors.New("the id_token's nonce is not this sign-in's")}
	}
	tokens := o.tokens(tok, raw)
	who, err := o.who(ctx, tokens, idt.Subject, claims)
	if err != nil {
		return session.Grant{}, whoError(err)
	}
	return session.Grant{Identity: who, Tokens: tokens}, nil
}

// exchangeError names what a failed exchange means for the person.
func exchangeError(err error) error {
	code, err := tokenError(err)
	switch code {
	case "invalid_grant", "invalid_request":
		return &Error{Kind: Invalid, Code: code, Err: err} // the code was used, or is not for us
	case "":
		return &Error{Kind: Unavailable, Err: err}
	}
	return &Error{Kind: Refused, Code: code, Err: err}
}

func whoError(err error) error {
	if errors.Is(err, errClaims) || errors.Is(err, session.ErrGrantDead) {
		return &Error{Kind: Invalid, Err: err}
	}
	return &Error{Kind: Unavailable, Err: err}
}

// verifyError tells a token that is wrong from keys that cannot be had.
func verifyError(err error) error {
	if errors.Is(err, errAnswer) {
		return &Error{Kind: Unavailable, Err: err}
	}
	return &Error{Kind: Invalid, Err: err}
}

// keysError names keys that cannot be had. go-oidc says so in its text alone,
// which goes on with the whole answer.
func keysError(err error) error {
	if _, why, ok := strings.Cut(err.Error(), "fetching keys "); ok {
		return fmt.Errorf("%w: the keys: %.200s", errAnswer, why)
	}
	return err
}

func (o *openID) tokens(tok *oauth2.Token, rawID string) session.Tokens {
	return session.Tokens{
		Access: session.Secret(tok.AccessToken), Refresh: session.Secret(tok.RefreshToken), ID: session.Secret(rawID),
		Issued: o.p.o.Now(), Expiry: tok.Expiry,
	}
}

// verify checks an id_token: signature, issuer, audience and expiry by go-oidc;
// azp (Core §3.1.3.7), iat and at_hash here.
func (o *openID) verify(ctx context.Context, raw, access string) (*oidc.IDToken, map[string]any, error) {
	idt, err := o.verifier.Verify(o.p.withClient(ctx), raw)
	if err != nil {
		return nil, nil, fmt.Errorf("id_token: %w", keysError(err))
	}
	var claims map[string]any
	if err := idt.Claims(&claims); err != nil {
		return nil, nil, fmt.Errorf("id_token: %w", err)
	}
	azp, hasAZP := claims["azp"].(string)
	iat, hasIAT := claims["iat"].(float64)
	switch {
	case hasAZP && azp != o.p.cfg.ClientID, !hasAZP && len(idt.Audience) > 1:
		return nil, nil, errors.New("id_token: it was made for another client")
	case !hasIAT || iat < 0 || iat > float64(o.p.o.Now().Add(clockLeeway).Unix()): // idt's own iat wraps around where it is absurd
		return nil, nil, errors.New("id_token: it was made in the future; compare the clocks")
	}
	if idt.AccessTokenHash != "" && access != "" {
		if err := idt.VerifyAccessToken(access); err != nil {
			return nil, nil, fmt.Errorf("id_token: %w", err)
		}
	}
	return idt, claims, nil
}

// who asks userinfo, where newer Nextclouds alone say name, mail and groups.
func (o *openID) who(ctx context.Context, t session.Tokens, sub string, idClaims map[string]any) (session.Identity, error) {
	var info map[string]any
	if o.m.UserInfoURL != "" {
		var err error
		if info, err = o.userinfo(ctx, t.Access); err != nil {
			return session.Identity{}, err
		}
		if s, _ := info["sub"].(string); s != sub {
			return session.Identity{}, fmt.Errorf("userinfo is about somebody else: %w", session.ErrGrantDead)
		}
	}
	return identityOf(o.p.cfg.Claims, session.ByOIDC, idClaims, info, o.p.o.Now())
}

// userinfo fetches the claims (Core §5.3). ErrGrantDead means the provider no
// longer honours the token; Nextcloud says so with 400.
func (o *openID) userinfo(ctx context.Context, access session.Secret) (map[string]any, error) {
	defer o.p.timed("userinfo")()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.m.UserInfoURL, nil)
	if err != nil {
		return nil, fmt.Errorf("userinfo: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+access.Reveal())
	r.Header.Set("Accept", "application/json")
	resp, err := o.p.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("userinfo: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("userinfo: %w", err)
	case resp.StatusCode == http.StatusOK:
		return decodeClaims(body)
	case resp.StatusCode == http.StatusBadRequest, resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return nil, fmt.Errorf("userinfo: status %d: %w", resp.StatusCode, session.ErrGrantDead)
	}
	return nil, fmt.Errorf("%w: userinfo: status %d", errAnswer, resp.StatusCode)
}

// renew exchanges the refresh token and asks who the person is now. Without a
// refresh token it only asks, as long as the access token is good.
func (o *openID) renew(ctx context.Context, g session.Grant) (session.Grant, error) {
	if g.Tokens.Refresh == "" {
		if !g.Tokens.Expiry.IsZero() && !o.p.o.Now().Before(g.Tokens.Expiry) {
			return g, nil // nothing can be asked any more: the session lasts as long as its own clocks say
		}
		return o.refreshed(ctx, g, g.Tokens, nil)
	}
	done := o.p.timed("refresh")
	src := o.config("").TokenSource(o.p.withClient(ctx), &oauth2.Token{RefreshToken: g.Tokens.Refresh.Reveal()})
	tok, err := src.Token()
	done()
	if err != nil {
		return g, refreshError(err)
	}
	raw, _ := tok.Extra("id_token").(string)
	next := g
	next.Tokens = o.tokens(tok, g.Tokens.ID.Reveal())
	var claims map[string]any
	if raw != "" {
		var idt *oidc.IDToken
		if idt, claims, err = o.verify(ctx, raw, tok.AccessToken); err != nil {
			return next, fmt.Errorf("renewing: %w", err)
		}
		if idt.Subject != g.Identity.Subject && o.p.cfg.Claims.User == "sub" {
			return next, fmt.Errorf("renewing: the id_token is about somebody else: %w", session.ErrGrantDead)
		}
		next.Tokens.ID = session.Secret(raw)
	}
	return o.refreshed(ctx, next, next.Tokens, claims)
}

// refreshed asks who the person is with tokens that are new, or still good.
func (o *openID) refreshed(ctx context.Context, g session.Grant, t session.Tokens, idClaims map[string]any) (session.Grant, error) {
	if o.m.UserInfoURL == "" && idClaims == nil {
		return g, nil
	}
	sub, _ := idClaims["sub"].(string)
	if sub == "" && o.p.cfg.Claims.User == "sub" {
		sub = g.Identity.Subject
	}
	if sub == "" { // the stable id is another claim: userinfo's own sub has to do
		info, err := o.userinfo(ctx, t.Access)
		if err != nil {
			return g, err
		}
		who, err := identityOf(o.p.cfg.Claims, session.ByOIDC, idClaims, info, g.Identity.AuthTime)
		return o.same(g, who, err)
	}
	who, err := o.who(ctx, t, sub, idClaims)
	return o.same(g, who, err)
}

// same takes over who a person is now, if it is the same person.
func (o *openID) same(g session.Grant, who session.Identity, err error) (session.Grant, error) {
	switch {
	case err != nil:
		return g, fmt.Errorf("renewing: %w", err)
	case who.Subject != g.Identity.Subject:
		return g, fmt.Errorf("renewing: it is about somebody else: %w", session.ErrGrantDead)
	}
	who.SessionID, who.AuthTime = g.Identity.SessionID, g.Identity.AuthTime
	g.Identity = who
	return g, nil
}

// refreshError tells a dead refresh token from everything else. Nextcloud says
// invalid_request where the standard says invalid_grant (RFC 6749 §5.2).
func refreshError(err error) error {
	code, err := tokenError(err)
	if code == "invalid_grant" || code == "invalid_request" {
		return fmt.Errorf("refreshing: %w: %w", session.ErrGrantDead, err)
	}
	return fmt.Errorf("refreshing: %w", err)
}

func (o *openID) signOut(ctx context.Context, t session.Tokens, back string) string {
	if o.m.RevocationURL != "" {
		token, hint := t.Refresh, "refresh_token"
		if token == "" {
			token, hint = t.Access, "access_token"
		}
		o.revoke(ctx, token, hint)
	}
	u, err := url.Parse(o.m.EndSessionURL)
	if err != nil || u.Host == "" || t.ID == "" {
		return ""
	}
	q := u.Query() // OpenID Connect RP-Initiated Logout 1.0 §2
	q.Set("id_token_hint", t.ID.Reveal())
	q.Set("client_id", o.p.cfg.ClientID)
	q.Set("post_logout_redirect_uri", back)
	q.Set("state", randomText())
	u.RawQuery = q.Encode()
	return u.String()
}

// revoke gives a token back (RFC 7009), as far as the provider listens.
func (o *openID) revoke(ctx context.Context, token session.Secret, hint string) {
	defer o.p.timed("revoke")()
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}, "client_id": {o.p.cfg.ClientID}}
	if s := o.p.cfg.ClientSecret.Reveal(); s != "" {
		form.Set("client_secret", s)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.m.RevocationURL, strings.NewReader(form.Encode()))
	if err != nil {
		return
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := o.p.client.Do(r)
	if err != nil {
		o.p.o.Log.Warn("token not revoked at sign-out", "error", err)
		return
	}
	resp.Body.Close()
}
