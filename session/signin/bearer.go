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

	"anteroom/session"
)

// ByPassword is the person whose Nextcloud login name and app password these
// are. ErrGrantDead and ErrNotAllowed of package session refuse; any other
// error means that Nextcloud gave no answer to go by.
func (p *RelyingParty) ByPassword(ctx context.Context, user string, password session.Secret) (session.Identity, error) {
	return p.entering(p.ocsUser(ctx, session.Credential{User: user, Secret: password}))
}

// ByToken is the person whom the provider gave an access token for. opens says
// that the token opens Nextcloud's services, too: of its built-in OAuth2 alone.
// Errors are as with ByPassword.
func (p *RelyingParty) ByToken(ctx context.Context, token session.Secret) (who session.Identity, opens bool, err error) {
	prov := p.provider()
	switch {
	case p.cfg.AccessTokens == "none":
		return who, false, fmt.Errorf("signin.access_tokens is none: %w", session.ErrGrantDead)
	case prov == nil:
		return who, false, cmp.Or(p.Ready(), errNotYet) // it may have been found since
	}
	o, ok := prov.(*openID)
	if !ok {
		who, err = p.entering(p.ocsUser(ctx, session.Credential{Secret: token}))
		return who, true, err
	}
	if p.cfg.AccessTokens == "own" {
		if err := o.givenToUs(ctx, token); err != nil {
			return who, false, err
		}
	}
	who, err = p.entering(o.ofToken(ctx, token))
	return who, false, err
}

// errNotYet: who gives access tokens was not known when one was to be judged.
var errNotYet = errors.New("the provider was not found yet")

// entering refuses who may not enter.
func (p *RelyingParty) entering(who session.Identity, err error) (session.Identity, error) {
	if err == nil && !p.MayEnter(&who) {
		err = session.ErrNotAllowed
	}
	return who, err
}

// ofToken is whom userinfo names.
func (o *openID) ofToken(ctx context.Context, token session.Secret) (session.Identity, error) {
	if o.m.UserInfoURL == "" {
		return session.Identity{}, fmt.Errorf("the provider has no userinfo: %w", session.ErrGrantDead)
	}
	info, err := o.userinfo(ctx, token)
	if err != nil {
		return session.Identity{}, err
	}
	return identityOf(o.p.cfg.Claims, session.ByOIDC, nil, info, o.p.o.Now())
}

// givenToUs asks the provider whether it gave a token to this client
// (RFC 7662): one given to another application, which could come with it, is
// not its person's word here.
func (o *openID) givenToUs(ctx context.Context, token session.Secret) error {
	if o.m.Introspection == "" {
		return fmt.Errorf("the provider offers no introspection, so that whom the token was given to is unknown (signin.access_tokens: any would take it): %w", session.ErrGrantDead)
	}
	ctx, done := o.p.timed(ctx, "introspection")
	defer done()
	return o.p.secret.Show(func(s session.Secret) error { return o.introspect(ctx, token, s) }, isNoClient)
}

func (o *openID) introspect(ctx context.Context, token, secret session.Secret) error {
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {"access_token"}, "client_id": {o.p.cfg.ClientID}, "client_secret": {secret.Reveal()}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.m.Introspection, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("introspection: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	resp, err := o.p.client.Do(r)
	if err != nil {
		return fmt.Errorf("introspection: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("introspection: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("introspection: %w: status %d", errNoClient, resp.StatusCode)
	default:
		return fmt.Errorf("%w: introspection: status %d", errAnswer, resp.StatusCode)
	}
	said, err := decodeClaims(body)
	if err != nil {
		return err
	}
	if said["active"] != true {
		return fmt.Errorf("introspection: the token is not active: %w", session.ErrGrantDead)
	}
	if said["client_id"] != o.p.cfg.ClientID {
		return errors.Join(errors.New("introspection: the token was given to another client"), session.ErrGrantDead)
	}
	return nil
}
