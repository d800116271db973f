package signin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"anteroom/session"
)

// renew exchanges the refresh token and asks who the person is now. Without a
// refresh token it only asks, as long as the access token is good.
func (o *openID) renew(ctx context.Context, g session.Grant) (session.Grant, error) {
	if g.Tokens.Refresh == "" {
		if !g.Tokens.Expiry.IsZero() && !o.p.o.Now().Before(g.Tokens.Expiry) {
			return g, nil // nothing can be asked any more: the session lasts as long as its own clocks say
		}
		return o.refreshed(ctx, g, g.Tokens, nil)
	}
	tok, err := o.p.refresh(ctx, func(s session.Secret) *oauth2.Config { return o.config("", s) }, g.Tokens.Refresh)
	if err != nil {
		return g, err
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
		if otherSubject(g, idt.Subject, o.p.cfg.Claims.User) {
			return next, fmt.Errorf("renewing: the id_token is about somebody else: %w", session.ErrGrantDead)
		}
		next.Tokens.ID = session.Secret(raw)
	}
	return o.refreshed(ctx, next, next.Tokens, claims)
}

// otherSubject reports whether a renewed id_token is about somebody else (Core
// §12.2). A session from before logins were kept tells it by its person, where
// those are told apart by sub.
func otherSubject(g session.Grant, sub, userClaim string) bool {
	if g.Login.Subject != "" {
		return sub != g.Login.Subject
	}
	return userClaim == "sub" && sub != g.Identity.Subject
}

// refreshed asks who the person is with tokens that are new, or still good.
func (o *openID) refreshed(ctx context.Context, g session.Grant, t session.Tokens, idClaims map[string]any) (session.Grant, error) {
	if o.m.UserInfoURL == "" && idClaims == nil {
		return g, nil
	}
	if sub, _ := idClaims["sub"].(string); sub != "" {
		who, err := o.who(ctx, t, sub, idClaims)
		return samePerson(g, who, err)
	}
	info, err := o.userinfo(ctx, t.Access)
	if err != nil {
		return g, fmt.Errorf("renewing: %w", err)
	}
	who, err := identityOf(o.p.cfg.Claims, session.ByOIDC, nil, info, g.Identity.AuthTime)
	return samePerson(g, asBefore(g.Identity, who, info, o.p.cfg.Claims.Groups), err)
}

// asBefore keeps what an answer without a new id_token cannot tell: whether
// the address is verified, and the groups, where userinfo says neither.
func asBefore(before, now session.Identity, info map[string]any, groups string) session.Identity {
	if _, ok := info["email_verified"]; !ok {
		now.Email = before.Email
	}
	if groupsIn(groups, func(name string) any { return info[name] }) == nil {
		now.Groups = before.Groups
	}
	return now
}

// refreshError tells a dead refresh token from everything else. Nextcloud says
// invalid_request where the standard says invalid_grant (RFC 6749 §5.2).
func (p *RelyingParty) refreshError(err error) error {
	code, err := p.tokenError(err)
	if code == "invalid_grant" || code == "invalid_request" {
		return fmt.Errorf("refreshing: %w: %w", session.ErrGrantDead, err)
	}
	return fmt.Errorf("refreshing: %w", err)
}

func (o *openID) signOut(ctx context.Context, t session.Tokens, back string) string {
	token, hint := t.Refresh, "refresh_token"
	if token == "" {
		token, hint = t.Access, "access_token"
	}
	if o.m.RevocationURL != "" && token != "" {
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
	ctx, done := o.p.timed(ctx, "revoke")
	defer done()
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}, "client_id": {o.p.cfg.ClientID}}
	err := o.p.secret.Show(func(s session.Secret) error { return cmp.Or(o.revokeAs(ctx, form, s), errRevoked) }, isNoClient)
	if !errors.Is(err, errRevoked) {
		o.p.o.Log.Warn("token not revoked at sign-out", "error", err)
	}
}

// errRevoked is no failure: a token was revoked, which proves nothing of the
// secret that stood beside it, for some providers do so for whoever has the token.
var errRevoked = errors.New("revoked")

// revokeAs does so with a client secret, if there is one.
func (o *openID) revokeAs(ctx context.Context, form url.Values, secret session.Secret) error {
	if secret != "" {
		form.Set("client_secret", secret.Reveal())
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.m.RevocationURL, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := o.p.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK { // also for a token that it does not know
		return nil
	}
	body, _ := io.ReadAll(resp.Body)
	if said, _ := decodeClaims(body); said["error"] == "invalid_client" { // RFC 7009 §2.2.1
		return errNoClient
	}
	return fmt.Errorf("%w: status %d", errAnswer, resp.StatusCode)
}
