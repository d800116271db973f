package upstream

import (
	"crypto/rand"
	"encoding/base64"
	"slices"
	"time"

	"anteroom/session"
)

// claims is what a JWT says (RFC 7519 §4). What is known of the caller and of
// the JWT itself is never what the configuration says: fixed claims come
// first, and ours over them. Times are whole seconds.
func (a *Asserter) claims(who *session.Identity, audience string, now, expires time.Time) map[string]any {
	c := make(map[string]any, 14+len(a.cfg.JWT.Claims))
	for name, v := range a.cfg.JWT.Claims {
		c[name] = v
	}
	c["iss"], c["sub"], c["jti"] = a.issuer, who.Subject, newID()
	delete(c, NextcloudID)
	if who.AppID != "" { // by which the application knows them
		c["sub"], c[NextcloudID] = who.AppID, who.Subject
	}
	c["iat"], c["nbf"], c["exp"] = now.Unix(), now.Unix(), expires.Unix()
	c["groups"] = append([]string{}, who.Groups...)
	if audience == NoAudience {
		audience = ""
	}
	setOrDrop(c, "aud", audience)
	setOrDrop(c, "sid", who.SessionID)
	setOrDrop(c, "email", who.Email)
	setOrDrop(c, "name", who.Name)
	setOrDrop(c, "preferred_username", who.Username)
	if role := a.role(who); role != "" {
		c["role"] = role
	}
	return c
}

// NextcloudID is the claim that has Nextcloud's id where sub is the
// application's own.
const NextcloudID = "nextcloud_id"

// setOrDrop sets a claim, and leaves it out where nothing is known.
func setOrDrop(c map[string]any, name, value string) {
	if value == "" {
		delete(c, name)
		return
	}
	c[name] = value
}

// role is that of the first group, by name, which has one.
func (a *Asserter) role(who *session.Identity) string {
	if len(a.cfg.JWT.Roles) == 0 {
		return a.cfg.JWT.Role
	}
	for _, g := range slices.Sorted(slices.Values(who.Groups)) {
		if r, ok := a.cfg.JWT.Roles[g]; ok {
			return r
		}
	}
	return a.cfg.JWT.Role
}

// newID is 128 random bits.
func newID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
