package session

import (
	"encoding/base64"
	"net/http"
)

// Credential is what a request to Nextcloud is made with: Basic (RFC 7617)
// where there is a User, else Bearer (RFC 6750). The zero value is none.
type Credential struct {
	User   string // login name, for Basic; Nextcloud compares its case
	Secret Secret // app password, or access token
}

// IsZero reports whether there is none.
func (c Credential) IsZero() bool { return c.Secret == "" }

// Set sets Authorization. Nextcloud compares the scheme byte for byte.
func (c Credential) Set(h http.Header) {
	if c.User == "" {
		h.Set("Authorization", "Bearer "+c.Secret.Reveal())
		return
	}
	h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Secret.Reveal())))
}
