package forwardauth

import "net/http"

// nginx is auth_request: a GET with every header of the client's, and what the
// configuration sets. It knows 2xx, 401 and 403; all else is its own 500. Of
// several Set-Cookie its variables show the first.
//
// ingress-nginx sets the same two headers; original says how they differ.
func nginx() *Dialect {
	return &Dialect{Name: "nginx", Path: "/auth/verify/nginx", Cookies: 1,
		Ask: func(r *http.Request) (Asked, error) { return original(r) }}
}
