package signin

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"anteroom/session"
)

const (
	maxID    = 255  // bytes of a person's id
	maxText  = 1024 // of a name or address
	maxGroup = 256
	// maxGroups bounds what a person can be a member of.
	maxGroups = 2000
)

// errClaims: what the provider says of a person cannot be used.
var errClaims = errors.New("the provider's claims cannot be used")

// identityOf makes an identity of claims: those of userinfo over those of the
// id_token.
func identityOf(names Claims, how session.Method, idToken, userinfo map[string]any, now time.Time) (session.Identity, error) {
	claim := func(name string) any {
		if v, ok := userinfo[name]; ok && v != nil {
			return v
		}
		return idToken[name]
	}
	text := func(name string) string {
		s, _ := claim(name).(string)
		return s
	}
	who := session.Identity{Method: how, AuthTime: now, Subject: text(names.User), Username: text(names.Username), Name: text(names.Name), Email: text(names.Email)}
	if !verified(claim("email_verified")) {
		dropEmail(&who, names)
	}
	var err error
	if who.Groups, err = groupsOf(groupsIn(names.Groups, claim)); err != nil {
		return who, err
	}
	return who, clean(&who)
}

// groupsIn is the claim of groups; nil where there is none.
func groupsIn(name string, claim func(name string) any) any {
	groups := claim(name)
	if groups == nil && name == "groups" {
		groups = claim("roles") // Nextcloud's oidc app before 2.0 at userinfo
	}
	return groups
}

// verified reads email_verified: absent says nothing against the address.
// Some providers write the boolean as text.
func verified(v any) bool { return v == nil || v == true || v == "true" }

// dropEmail takes an address away that is not known to be the person's, also
// where it stands for their name or their id: anybody could claim it.
func dropEmail(who *session.Identity, names Claims) {
	who.Email = ""
	if names.Username == names.Email {
		who.Username = ""
	}
	if names.User == names.Email {
		who.Subject = ""
	}
}

// clean refuses what cannot be a person and drops what cannot be theirs.
func clean(who *session.Identity) error {
	if who.Subject == "" || len(who.Subject) > maxID || !sound(who.Subject) {
		return fmt.Errorf("%w: no usable user id", errClaims)
	}
	if who.Username == "" || len(who.Username) > maxID || !sound(who.Username) {
		who.Username = who.Subject
	}
	if len(who.Name) > maxText || !sound(who.Name) {
		who.Name = ""
	}
	if len(who.Email) > maxText || !sound(who.Email) || strings.Count(who.Email, "@") != 1 {
		who.Email = ""
	}
	return nil
}

// groupsOf reads groups as providers write them: names, objects with a gid, or
// one name alone. The result is sorted and without duplicates.
func groupsOf(v any) ([]string, error) {
	var out []string
	switch v := v.(type) {
	case nil:
	case string:
		out = append(out, v)
	case []any:
		for _, e := range v {
			switch e := e.(type) {
			case string:
				out = append(out, e)
			case map[string]any:
				out = append(out, groupName(e))
			}
		}
	}
	out = slices.DeleteFunc(out, func(s string) bool { return s == "" })
	if len(out) > maxGroups {
		return nil, fmt.Errorf("%w: over %d groups", errClaims, maxGroups)
	}
	for _, g := range out {
		if len(g) > maxGroup || !sound(g) {
			return nil, fmt.Errorf("%w: a group's name is too long or has control characters", errClaims)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func groupName(e map[string]any) string {
	for _, key := range []string{"gid", "id", "displayname", "displayName", "name"} {
		if s, ok := e[key].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

// sound reports whether a text is UTF-8 without control characters.
func sound(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// decodeClaims reads a JSON object of claims.
func decodeClaims(b []byte) (map[string]any, error) {
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: it is not a JSON object", errAnswer)
	}
	return m, nil
}
