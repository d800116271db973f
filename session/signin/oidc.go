package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
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
	algs     []jose.SignatureAlgorithm // that it may sign with
	verifier *oidc.IDTokenVerifier
	fetching *keysContext          // of verifier's keys
	logouts  *oidc.IDTokenVerifier // the same, with keys that are fetched less readily
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
	fetching := &keysContext{Context: p.withClient(context.Background())}
	conf := &oidc.Config{
		ClientID: p.cfg.ClientID, SupportedSigningAlgs: algs,
		Now: func() time.Time { return p.o.Now().Add(-clockLeeway) }, // for exp; iat is judged by us
	}
	keys := newCalmKeys(p.client, m.JWKSURL, algs, p.o.Now)
	return &openID{
		p: p, m: m, scopes: p.scopes(m), algs: keys.algs, fetching: fetching,
		verifier: oidc.NewVerifier(m.Issuer, oidc.NewRemoteKeySet(fetching, m.JWKSURL), conf), logouts: oidc.NewVerifier(m.Issuer, datedKeys{keys}, conf),
	}, nil
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

func (o *openID) config(redirect string, secret session.Secret) *oauth2.Config {
	return &oauth2.Config{
		ClientID: o.p.cfg.ClientID, ClientSecret: secret.Reveal(), RedirectURL: redirect, Scopes: o.scopes,
		// In the body, always: Nextcloud books Basic as a failed login, and guessing asks twice.
		Endpoint: oauth2.Endpoint{AuthURL: o.m.AuthURL, TokenURL: o.m.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
	}
}

func (o *openID) authURL(f flow, redirect string) string {
	opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(f.Verifier), oidc.Nonce(f.Nonce)}
	if slices.Contains(o.scopes, oidc.ScopeOfflineAccess) {
		opts = append(opts, oauth2.SetAuthURLParam("prompt", "consent")) // OpenID Connect Core §11
	}
	return o.config(redirect, "").AuthCodeURL(f.state, opts...)
}

func (o *openID) checkIssuer(iss string, present bool) error {
	if present && iss != o.m.Issuer || !present && o.m.IssInAnswer {
		return errors.New("the answer's iss is not the provider's")
	}
	return nil
}

func (o *openID) exchange(ctx context.Context, code, redirect string, f flow) (session.Grant, error) {
	calling, done := o.p.timed(ctx, "token")
	tok, err := o.p.redeem(calling, code, f, func(s session.Secret) *oauth2.Config { return o.config(redirect, s) })
	done()
	if err != nil {
		return session.Grant{}, o.p.exchangeError(err)
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
	return session.Grant{Identity: who, Tokens: tokens, Login: loginOf(idt, claims)}, nil
}

// redeem exchanges a code.
func (p *RelyingParty) redeem(ctx context.Context, code string, f flow, conf func(session.Secret) *oauth2.Config) (tok *oauth2.Token, err error) {
	err = p.secret.Show(func(s session.Secret) (err error) {
		tok, err = conf(s).Exchange(p.withClient(ctx), code, oauth2.VerifierOption(f.Verifier))
		return err
	}, isClientRefused)
	return tok, err
}

// loginOf is what the provider calls the sign-in that an id_token is of (sid:
// Front-Channel Logout 1.0 §3).
func loginOf(idt *oidc.IDToken, claims map[string]any) session.Login {
	sid, _ := claims["sid"].(string)
	return session.Login{Issuer: idt.Issuer, Subject: idt.Subject, Session: sid}
}

// exchangeError names what a failed exchange means for the person.
func (p *RelyingParty) exchangeError(err error) error {
	code, err := p.tokenError(err)
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

func (o *openID) tokens(tok *oauth2.Token, rawID string) session.Tokens {
	return session.Tokens{
		Access: session.Secret(tok.AccessToken), Refresh: session.Secret(tok.RefreshToken), ID: session.Secret(rawID),
		Issued: o.p.o.Now(), Expiry: tok.Expiry,
	}
}
