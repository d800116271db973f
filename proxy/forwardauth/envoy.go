package forwardauth

import (
	"net/http"
	"strings"
)

const envoyPath = "/auth/forward/envoy/"

// envoy is the HTTP service of ext_authz: the client's own method and Host, and
// the client's path and query behind path_prefix. Which headers pass in either
// direction its configuration lists.
func envoy() *Dialect {
	return &Dialect{Name: "envoy", Path: envoyPath, Relays: true, Cookies: AllCookies,
		Ask: func(r *http.Request) (q Asked, err error) {
			q = Asked{Method: r.Method, Host: r.Host, Target: strings.TrimPrefix(r.RequestURI, strings.TrimSuffix(envoyPath, "/"))}
			if q.Proto, err = one(r.Header, "X-Forwarded-Proto"); err != nil {
				return q, err
			}
			return q, q.settle("the request")
		}}
}
