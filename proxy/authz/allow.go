package authz

import (
	"fmt"

	"anteroom/session"
)

// Allow says who may pass a rule: the words public or signed-in, or a list of
// groups and users of whom any one is enough. The zero value is signed-in.
type Allow struct {
	Public bool     `yaml:"-"`
	Groups []string `yaml:"groups" doc:"members of any of these"`
	Users  []string `yaml:"users" doc:"any of these, by stable id"`
}

// UnmarshalText reads the one-word forms.
func (a *Allow) UnmarshalText(b []byte) error {
	switch string(b) {
	case "public":
		*a = Allow{Public: true}
	case "signed-in":
		*a = Allow{}
	default:
		return fmt.Errorf("is %q; write public, signed-in, or groups: and users: lists", b)
	}
	return nil
}

// Permits reports whether who, already known to be signed in, may pass.
func (a *Allow) Permits(who *session.Identity) bool {
	if a.Public || len(a.Groups) == 0 && len(a.Users) == 0 {
		return true
	}
	for _, u := range a.Users {
		if u == who.Subject {
			return true
		}
	}
	return who.In(a.Groups)
}
