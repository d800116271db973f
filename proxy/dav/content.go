package dav

import (
	"net/http"
	"strings"

	"anteroom/integrations"
)

// Content passes a request on for content at a path on a service's server,
// percent-encoded, whatever path the service has here. Errors are Serve's.
func (s *Service) Content(w http.ResponseWriter, r *http.Request, c *integrations.Caller, service, place string) error {
	for _, m := range s.mounts {
		if below, ok := strings.CutPrefix(place, m.raw); ok && m.Name == service {
			r = r.WithContext(r.Context())
			u := *r.URL
			u.RawQuery, u.ForceQuery = "", false // which is ours, and names the place
			r.URL = &u
			return s.Serve(w, r, &Call{Caller: *c, Path: m.Path + below})
		}
	}
	return refused(errNoMount)
}
