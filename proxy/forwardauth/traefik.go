package forwardauth

import "net/http"

// traefik is ForwardAuth: a GET, or the client's method, with X-Forwarded-* of
// Traefik's own. What is not 2xx goes to the client, and so does Set-Cookie of a
// yes for the names in addAuthCookiesToResponse.
func traefik() *Dialect {
	return &Dialect{Name: "traefik", Path: "/auth/forward/traefik", Relays: true, Cookies: AllCookies,
		Ask: func(r *http.Request) (Asked, error) { return forwarded(r.Header) }}
}
