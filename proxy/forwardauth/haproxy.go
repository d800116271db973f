package forwardauth

import "net/http"

// haproxy asks from Lua, with HEAD or GET, and with X-Forwarded-* that its
// configuration sets. Lua libraries join the values of a repeated header, so
// that of several Set-Cookie none is of use.
func haproxy() *Dialect {
	return &Dialect{Name: "haproxy", Path: "/auth/verify/haproxy", Cookies: 1,
		Ask: func(r *http.Request) (Asked, error) { return forwarded(r.Header) }}
}
