package signin

import (
	"errors"

	"golang.org/x/oauth2"

	"anteroom/session"
)

// isClientRefused reports whether a token endpoint refused the client itself. It
// has used up neither code nor refresh token then: the client is looked at before
// them (RFC 6749 §5.2).
func isClientRefused(err error) bool {
	var re *oauth2.RetrieveError
	return errors.As(err, &re) && (re.ErrorCode == "invalid_client" || re.ErrorCode == "unauthorized_client")
}

// RenewClientSecret takes a new client secret. It is used at once; where the
// provider does not know it yet, the one before is.
func (p *RelyingParty) RenewClientSecret(s session.Secret) { p.secret.Renew(s) }
