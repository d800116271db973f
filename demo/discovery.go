package demo

import (
	"encoding/base64"
	"math/big"
	"net/http"
	"strings"
)

const wellKnown = "/.well-known/openid-configuration"

// wellKnown is discovery at the two places the specification has in mind. The
// web server leads the outer one to the inner one, whether or not there is an
// oidc app.
func (n *Nextcloud) wellKnown(w http.ResponseWriter, r *http.Request) {
	switch {
	case !strings.HasPrefix(r.URL.Path, "/index.php/"):
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Location", "/index.php"+wellKnown)
		w.WriteHeader(http.StatusMovedPermanently)
	case n.o.OIDC == NoOIDC:
		message(w, http.StatusNotFound, "openid-configuration not supported")
	default:
		n.discovery(w, r)
	}
}

// discovery is the document of OpenID Connect Discovery 1.0, section 3. The
// issuer is whatever host the caller used.
func (n *Nextcloud) discovery(w http.ResponseWriter, r *http.Request) {
	base := n.base(r)
	app := base + "/index.php/apps/oidc"
	scopes := []string{"openid", "profile", "email", "roles", "groups"}
	claims := []string{"iss", "sub", "aud", "exp", "auth_time", "iat", "acr", "azp", "preferred_username", "scope", "nbf", "jti", "roles", "name", "updated_at", "email", "email_verified"}
	styles := []string{"client_secret_post"}
	var newer object
	if n.o.OIDC == OIDC20 {
		scopes, claims, styles = append(scopes, "offline_access"), append(claims, "groups"), append(styles, "client_secret_basic")
		newer = object{{"introspection_endpoint", app + "/introspect"}, {"code_challenge_methods_supported", []string{"S256", "plain"}}}
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	writeJSON(w, http.StatusOK, append(object{
		{"issuer", base},
		{"authorization_endpoint", app + "/authorize"},
		{"token_endpoint", app + "/token"},
		{"userinfo_endpoint", app + "/userinfo"},
		{"jwks_uri", app + "/jwks"},
		{"scopes_supported", scopes},
		{"response_types_supported", []string{"code", "code id_token", "id_token"}},
		{"response_modes_supported", []string{"query"}},
		{"grant_types_supported", []string{"authorization_code", "implicit"}},
		{"acr_values_supported", []string{"0"}},
		{"subject_types_supported", []string{"public"}},
		{"id_token_signing_alg_values_supported", []string{"RS256", "HS256"}},
		{"token_endpoint_auth_methods_supported", styles},
		{"display_values_supported", []string{"page"}},
		{"claim_types_supported", []string{"normal"}},
		{"claims_supported", claims},
		{"end_session_endpoint", app + "/logout"},
	}, newer...))
}

// jwks is the key set: one RSA key (RFC 7517).
func (n *Nextcloud) jwks(w http.ResponseWriter, r *http.Request) {
	key, id, err := n.keys.get()
	if err != nil {
		http.Error(w, "no key", http.StatusInternalServerError)
		return
	}
	b64 := base64.RawURLEncoding
	writeJSON(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "key_ops": []string{"verify"}, "alg": "RS256", "kid": id,
		"n": b64.EncodeToString(key.N.Bytes()), "e": b64.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}}})
}
