package signin

import (
	"errors"
	"fmt"

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

// errNoClient: another endpoint than that for tokens does not take the client's
// secret.
var errNoClient = fmt.Errorf("%w: the client is refused", errAnswer)

func isNoClient(err error) bool { return errors.Is(err, errNoClient) }

// RenewClientSecret takes a new client secret. It is used at once; where the
// provider does not know it yet, the one before is.
func (p *RelyingParty) RenewClientSecret(s session.Secret) { p.secret.Renew(s) }
