package signin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/oauth2"

	"anteroom/session"
)

const kindNextcloud = "nextcloud"

// builtIn is Nextcloud's built-in OAuth2: no discovery, no id_token. Who signed
// in is what OCS says to the access token, which is an app password with all
// the person's rights.
type builtIn struct {
	p    *RelyingParty
	conf oauth2.Config // without redirect URI and secret
}

func newNextcloud(p *RelyingParty) *builtIn {
	base := strings.TrimSuffix(p.o.Nextcloud.String(), "/")
	return &builtIn{p: p, conf: oauth2.Config{
		ClientID: p.cfg.ClientID,
		Endpoint: oauth2.Endpoint{
			AuthURL: base + "/index.php/apps/oauth2/authorize", TokenURL: base + "/index.php/apps/oauth2/api/v1/token",
			AuthStyle: oauth2.AuthStyleInParams,
		},
	}}
}

func (b *builtIn) kind() string { return kindNextcloud }

func (b *builtIn) config(redirect string, secret session.Secret) *oauth2.Config {
	c := b.conf
	c.RedirectURL, c.ClientSecret = redirect, secret.Reveal()
	return &c
}

func (b *builtIn) authURL(f flow, redirect string) string {
	return b.config(redirect, "").AuthCodeURL(f.state, oauth2.S256ChallengeOption(f.Verifier)) // older servers ignore PKCE, newer ones verify it
}

func (b *builtIn) checkIssuer(string, bool) error { return nil } // it never sends one

func (b *builtIn) exchange(ctx context.Context, code, redirect string, f flow) (session.Grant, error) {
	calling, done := b.p.timed(ctx, "token")
	tok, err := b.p.redeem(calling, code, f, func(s session.Secret) *oauth2.Config { return b.config(redirect, s) })
	done()
	if err != nil {
		return session.Grant{}, b.p.exchangeError(err)
	}
	g := session.Grant{Tokens: b.tokens(tok)}
	if g.Identity, err = b.who(ctx, g.Tokens.Access); err != nil {
		return session.Grant{}, whoError(err)
	}
	if uid, _ := tok.Extra("user_id").(string); uid != g.Identity.Subject {
		return session.Grant{}, &Error{Kind: Invalid, Err: errors.New("the token is not the person's that OCS names")}
	}
	g.Identity.AuthTime = b.p.o.Now()
	return g, nil
}

func (b *builtIn) tokens(tok *oauth2.Token) session.Tokens {
	return session.Tokens{Access: session.Secret(tok.AccessToken), Refresh: session.Secret(tok.RefreshToken), Issued: b.p.o.Now(), Expiry: tok.Expiry}
}

// who asks OCS. ErrGrantDead means that Nextcloud knows the token no more, or
// that the account is disabled: it answers 401, in XML for the latter.
func (b *builtIn) who(ctx context.Context, access session.Secret) (session.Identity, error) {
	return b.p.ocsUser(ctx, session.Credential{Secret: access})
}

// ocsUser is who Nextcloud's OCS says that a credential is of.
func (p *RelyingParty) ocsUser(ctx context.Context, c session.Credential) (session.Identity, error) {
	ctx, done := p.timed(ctx, "ocs_user")
	defer done()
	r, err := p.ocs(ctx, http.MethodGet, "ocs/v2.php/cloud/user", c)
	if err != nil {
		return session.Identity{}, err
	}
	r.URL.RawQuery = "format=json"
	resp, err := p.client.Do(r) // #nosec G704 -- the operator's Nextcloud
	if err != nil {
		return session.Identity{}, fmt.Errorf("asking OCS: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return session.Identity{}, fmt.Errorf("asking OCS: %w", err)
	case resp.StatusCode == http.StatusUnauthorized:
		return session.Identity{}, fmt.Errorf("OCS does not know whose credential it is: %w", session.ErrGrantDead)
	case resp.StatusCode != http.StatusOK:
		return session.Identity{}, fmt.Errorf("%w: OCS: status %d", errAnswer, resp.StatusCode)
	}
	return ocsIdentity(body)
}

// ocs makes a request of Nextcloud's own API. The scheme is matched byte for
// byte there: "Bearer" and one space.
func (p *RelyingParty) ocs(ctx context.Context, method, path string, c session.Credential) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, p.o.Nextcloud.JoinPath(path).String(), nil) // #nosec G125 G704 -- the operator's Nextcloud; paths are constants of ours
	if err != nil {
		return nil, fmt.Errorf("asking OCS: %w", err)
	}
	c.Set(r.Header)
	r.Header.Set("OCS-APIRequest", "true")
	r.Header.Set("Accept", "application/json")
	return r, nil
}

// ocsIdentity reads the answer of cloud/user.
func ocsIdentity(body []byte) (session.Identity, error) {
	envelope, err := decodeClaims(body)
	if err != nil {
		return session.Identity{}, fmt.Errorf("%w: OCS: not JSON", errAnswer)
	}
	ocs, _ := envelope["ocs"].(map[string]any)
	data, _ := ocs["data"].(map[string]any)
	if data == nil {
		return session.Identity{}, fmt.Errorf("%w: OCS: no data", errAnswer)
	}
	text := func(key string) string { s, _ := data[key].(string); return s }
	who := session.Identity{Method: session.ByNextcloud, Subject: text("id"), Username: text("id"), Name: text("display-name"), Email: text("email")}
	if who.Name == "" {
		who.Name = text("displayname")
	}
	if who.Groups, err = groupsOf(data["groups"]); err != nil {
		return who, err
	}
	return who, clean(&who)
}

// renew exchanges the refresh token, which proves nothing about the account,
// and then asks who the person is, which does.
func (b *builtIn) renew(ctx context.Context, g session.Grant) (session.Grant, error) {
	next := g
	if g.Tokens.Refresh != "" {
		tok, err := b.p.refresh(ctx, func(s session.Secret) *oauth2.Config { return b.config("", s) }, g.Tokens.Refresh)
		if err != nil {
			return g, err
		}
		next.Tokens = b.tokens(tok)
	}
	who, err := b.who(ctx, next.Tokens.Access)
	return samePerson(next, who, err)
}

// signOut deletes the app password that the access token is. There is no
// session of the provider's to end from outside.
func (b *builtIn) signOut(ctx context.Context, t session.Tokens, _ string) string {
	if t.Access == "" {
		return ""
	}
	ctx, done := b.p.timed(ctx, "revoke")
	defer done()
	r, err := b.p.ocs(ctx, http.MethodDelete, "ocs/v2.php/core/apppassword", session.Credential{Secret: t.Access})
	if err != nil {
		return ""
	}
	resp, err := b.p.client.Do(r)
	if err != nil {
		b.p.o.Log.Warn("token not revoked at sign-out", "error", err)
		return ""
	}
	resp.Body.Close()
	return ""
}
