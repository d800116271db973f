package session

import (
	"fmt"
	"slices"
)

// Allow says who may pass: the words public or signed-in, or lists of groups,
// users and clients of whom any one is enough. The zero value is signed-in, for
// people; a client passes only where it, or a group of its, is named.
type Allow struct {
	Public   bool     `yaml:"-"`
	SignedIn bool     `yaml:"-"` // the word was said; without it and without lists nothing was
	Groups   []string `yaml:"groups" doc:"members of any of these"`
	Users    []string `yaml:"users" doc:"any of these, by stable id"`
	Clients  []string `yaml:"clients" doc:"any of these programs, by their name in clients"`
}

// UnmarshalText reads the one-word forms.
func (a *Allow) UnmarshalText(b []byte) error {
	switch string(b) {
	case "":
		*a = Allow{}
	case "public":
		*a = Allow{Public: true}
	case "signed-in":
		*a = Allow{SignedIn: true}
	default:
		return fmt.Errorf("is %q; write public, signed-in, or groups:, users: and clients: lists", b)
	}
	return nil
}

// Said reports whether anything was configured at all.
func (a *Allow) Said() bool {
	return a.Public || a.SignedIn || a.listed()
}

func (a *Allow) listed() bool { return len(a.Groups)+len(a.Users)+len(a.Clients) > 0 }

// Permits reports whether who, already known, may pass.
func (a *Allow) Permits(who *Identity) bool {
	switch {
	case a.Public:
		return true
	case who.Method == ByClient:
		return slices.Contains(a.Clients, who.Username) || who.In(a.Groups)
	case !a.listed():
		return true
	}
	return slices.Contains(a.Users, who.Subject) || who.In(a.Groups)
}
