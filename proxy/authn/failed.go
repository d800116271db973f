package authn

import (
	"encoding/binary"
	"strings"

	"anteroom/session"
)

// Failed is an error about a credential, with what was tried. Neither is for a
// log: people type passwords where names belong.
type Failed struct {
	Account string // the name of Basic; "" for none
	Proof   uint64 // stands for the credential, in this process only; 0 for none that could be read
	Err     error
}

// Error is Err's.
func (f *Failed) Error() string { return f.Err.Error() }

// Unwrap is Err.
func (f *Failed) Unwrap() error { return f.Err }

// failed adds to an error what an Authorization tried.
func (a *Authorization) failed(value string, err error) error {
	f := &Failed{Err: err}
	scheme, rest, _ := strings.Cut(value, " ")
	rest = strings.TrimLeft(rest, " ")
	var c session.Credential
	if strings.EqualFold(scheme, "Basic") {
		user, password, err := parseBasic(rest)
		if err != nil {
			return f
		}
		c = session.Credential{User: user, Secret: session.Secret(password)}
	} else if c.Secret = session.Secret(rest); rest == "" || len(rest) > maxBearer {
		return f
	}
	sum := a.verdicts.hash(c)
	f.Account, f.Proof = c.User, binary.NativeEndian.Uint64(sum[:])
	return f
}
