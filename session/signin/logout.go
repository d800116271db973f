package signin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"anteroom/session"
)

const (
	// logoutAge is how old a logout token may be (Back-Channel Logout 1.0 §4
	// would have it expire after two minutes).
	logoutAge = 2 * time.Minute
	// LogoutWindow is for how long after its arrival a logout token could still
	// be good, so for how long it must be remembered.
	LogoutWindow = logoutAge + 2*clockLeeway

	maxTokenID       = 256 // bytes of a jti
	maxVerifications = 32  // at once
	logoutEvent      = "http://schemas.openid.net/event/backchannel-logout"
)

// ErrNoLogout: the provider that was found has no way to end sessions from
// outside; Nextcloud's built-in OAuth2 has none.
var ErrNoLogout = errors.New("the provider speaks no OpenID Connect")

// errBusy: as many logout tokens as may be are being verified.
var errBusy = errors.New("too many logout tokens at once")

// Logout is what a logout token says: which sign-in is over.
type Logout struct {
	Login session.Login
	Token string // stands for the token wherever it is remembered; short, and holds nothing of it
}

// Issuer is the provider's issuer, or why there is none: ErrNoLogout, or an
// Error of kind Unavailable while no provider was found.
func (p *RelyingParty) Issuer() (string, error) {
	o, err := p.openID()
	if err != nil {
		return "", err
	}
	return o.m.Issuer, nil
}

func (p *RelyingParty) openID() (*openID, error) {
	switch prov := p.provider().(type) {
	case nil:
		return nil, &Error{Kind: Unavailable, Err: p.Ready()}
	case *openID:
		return prov, nil
	}
	return nil, ErrNoLogout
}

// VerifyLogout verifies a logout token that somebody sent (Back-Channel Logout
// 1.0 §2.6). Whether it comes for the second time is for the caller to find
// out. The error is ErrNoLogout or an Error: Invalid is the token's fault,
// Unavailable means that it could not be judged now.
func (p *RelyingParty) VerifyLogout(ctx context.Context, raw string) (Logout, error) {
	o, err := p.openID()
	if err != nil {
		return Logout{}, err
	}
	select {
	case p.verifying <- struct{}{}:
		defer func() { <-p.verifying }()
	default:
		return Logout{}, &Error{Kind: Unavailable, Err: errBusy}
	}
	out, err := o.verifyLogout(ctx, raw)
	if err != nil {
		return Logout{}, verifyError(fmt.Errorf("logout token: %w", err))
	}
	return out, nil
}

// verifyLogout has go-oidc check signature, algorithm, issuer, audience and
// expiry, that the event is there and nonce is not, and that jti and one of sub
// and sid are; and checks itself what go-oidc leaves to its caller: the type,
// the event's own, azp, and the age.
func (o *openID) verifyLogout(ctx context.Context, raw string) (Logout, error) {
	if err := o.checkType(raw); err != nil {
		return Logout{}, err
	}
	t, err := o.logouts.VerifyLogout(ctx, raw)
	if err != nil {
		return Logout{}, keysError(err)
	}
	var c logoutClaims
	if err := t.Claims(&c.all); err != nil {
		return Logout{}, fmt.Errorf("its claims: %w", err)
	}
	l := session.Login{Issuer: o.m.Issuer, Subject: c.text("sub"), Session: c.text("sid")}
	azp, now := c.text("azp"), o.p.o.Now()
	var iat float64
	switch noIAT := json.Unmarshal(c.all["iat"], &iat) != nil; {
	case c.err != nil:
		return Logout{}, c.err
	case l.Subject == "" && l.Session == "":
		return Logout{}, errors.New("it names nobody")
	case azp != "" && azp != o.p.cfg.ClientID:
		return Logout{}, errors.New("it was made for another client")
	case !c.isLogout():
		return Logout{}, errors.New("its event is not an object")
	case len(t.TokenID) > maxTokenID:
		return Logout{}, errors.New("its jti is too long")
	case noIAT || iat > float64(now.Add(clockLeeway).Unix()):
		return Logout{}, errors.New("it was made in the future, or nobody knows when; compare the clocks")
	case iat < float64(now.Add(-logoutAge-clockLeeway).Unix()):
		return Logout{}, errors.New("it is too old; compare the clocks")
	}
	sum := sha256.Sum256([]byte(l.Issuer + "\x00" + t.TokenID))
	return Logout{Login: l, Token: base64.RawURLEncoding.EncodeToString(sum[:])}, nil
}

// checkType judges the typ in the header (Back-Channel Logout 1.0 §2.4; RFC
// 7515 §4.1.9): explicit typing keeps tokens of other kinds out. Providers
// older than that rule write JWT or nothing.
func (o *openID) checkType(raw string) error {
	jws, err := jose.ParseSignedCompact(raw, o.algs)
	if err != nil {
		return fmt.Errorf("malformed: %.200s", err) // it quotes a header that anybody may have written
	}
	typ, ok := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]
	if !ok {
		return nil
	}
	text, _ := typ.(string)
	switch strings.TrimPrefix(strings.ToLower(text), "application/") {
	case "jwt", "logout+jwt":
		return nil
	}
	return errors.New("its typ is not that of a logout token")
}

// logoutClaims are a logout token's claims by their exact names.
type logoutClaims struct {
	all map[string]json.RawMessage
	err error // the first claim that is not what it should be
}

// text is a claim that is a text, "" if it is absent.
func (c *logoutClaims) text(name string) (s string) {
	raw, ok := c.all[name]
	if ok && (json.Unmarshal(raw, &s) != nil || s == "") && c.err == nil {
		c.err = fmt.Errorf("its claim %s is no text", name)
	}
	return s
}

// isLogout reports whether the logout event is there, as an object.
func (c *logoutClaims) isLogout() bool {
	var events map[string]json.RawMessage
	if json.Unmarshal(c.all["events"], &events) != nil {
		return false
	}
	return bytes.HasPrefix(events[logoutEvent], []byte("{"))
}

// datedKeys gives a verified logout token that names no expiry one that its iat
// sets. exp is required since errata set 1 of December 2023, and go-oidc
// requires it; providers of that time still write none.
type datedKeys struct{ *calmKeys }

// VerifySignature implements oidc.KeySet.
func (k datedKeys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.calmKeys.VerifySignature(ctx, jwt)
	if err != nil {
		return nil, err
	}
	var claims map[string]json.RawMessage
	var iat int64
	if json.Unmarshal(payload, &claims) != nil || claims["exp"] != nil || json.Unmarshal(claims["iat"], &iat) != nil {
		return payload, nil // go-oidc will say what is wrong, if anything
	}
	claims["exp"] = fmt.Append(nil, iat+int64(logoutAge/time.Second))
	return json.Marshal(claims)
}

var _ oidc.KeySet = datedKeys{}
