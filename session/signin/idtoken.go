package signin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"

	"anteroom/session"
)

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

// verify checks an id_token: signature, issuer, audience and expiry by go-oidc;
// azp (Core §3.1.3.7), iat and at_hash here.
func (o *openID) verify(ctx context.Context, raw, access string) (*oidc.IDToken, map[string]any, error) {
	over := o.fetching.during(o.p.leg(ctx, "keys"))
	idt, err := o.verifier.Verify(o.p.withClient(ctx), raw)
	over()
	if err != nil {
		return nil, nil, fmt.Errorf("id_token: %w", keysError(err))
	}
	var claims map[string]any
	if err := idt.Claims(&claims); err != nil {
		return nil, nil, fmt.Errorf("id_token: %w", err)
	}
	azp, hasAZP := claims["azp"]
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
	ctx, done := o.p.timed(ctx, "userinfo")
	defer done()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.m.UserInfoURL, nil) // #nosec G704 -- from the discovery of the operator's issuer
	if err != nil {
		return nil, fmt.Errorf("userinfo: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+access.Reveal())
	r.Header.Set("Accept", "application/json")
	resp, err := o.p.client.Do(r) // #nosec G704 -- from the discovery of the operator's issuer
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
