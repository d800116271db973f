package forwardauth

import "net/http"

// caddy is forward_auth: a GET with X-Forwarded-* of Caddy's own. The client's
// query is on our URL, too, where nothing looks at it. Of a yes only headers
// for the application are taken: no Set-Cookie reaches the client.
func caddy() *Dialect {
	return &Dialect{Name: "caddy", Path: "/auth/forward/caddy", Relays: true,
		Ask: func(r *http.Request) (Asked, error) { return forwarded(r.Header) }}
}
