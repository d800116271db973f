package session

import (
	"log/slog"
	"slices"
	"time"
)

// Method says how a caller proved who they are.
type Method string

// The ways a caller can come in.
const (
	ByOIDC      Method = "oidc"      // OpenID Connect sign-in
	ByNextcloud Method = "nextcloud" // Nextcloud's built-in OAuth2 sign-in

	ByAssertion   Method = "assertion"    // an identity JWT of ours, as a Bearer token
	ByToken       Method = "token"        // the provider's access token, as a Bearer token
	ByAppPassword Method = "app_password" // Basic, with a Nextcloud app password
	ByClient      Method = "client"       // a configured program, with its secret
)

// Identity is who is calling. It is immutable once built: everything that
// serves a request may share one. The zero value names nobody.
type Identity struct {
	Subject  string    `json:"sub"`                // stable id at the provider: Nextcloud's uid
	Username string    `json:"username,omitempty"` // preferred_username; Subject where the provider gives none
	Email    string    `json:"email,omitempty"`    // empty when the provider says it is not verified
	Name     string    `json:"name,omitempty"`     // display name
	Groups   []string  `json:"groups,omitempty"`   // sorted, without duplicates
	Method   Method    `json:"method"`             // how they signed in
	AuthTime time.Time `json:"auth_time"`          // when they signed in here

	// AppID is the application's own id for the person, where it was asked (the
	// JWT's sub); "" where it was not.
	AppID string `json:"app_id,omitempty"`
	// AppTold stands for what the application was told of the person last.
	AppTold string `json:"app_told,omitempty"`

	// SessionID is the public id of the session (the JWT's sid), never the
	// cookie's secret. Empty for a caller without a session.
	SessionID string `json:"sid,omitempty"`
}

// ClientSubject is the Subject of a configured program: no person's, for a
// Nextcloud uid has no colon in it. Its Username is the bare name.
func ClientSubject(name string) string { return "client:" + name }

// In reports whether the person is in any of the groups.
func (i *Identity) In(groups []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(i.Groups, g) })
}

// LogValue names the person by subject and session only: mail and names are
// personal data and stay out of logs.
func (i *Identity) LogValue() slog.Value {
	if i == nil {
		return slog.StringValue("nobody")
	}
	return slog.GroupValue(slog.String("sub", i.Subject), slog.String("sid", i.SessionID))
}
