package doctor_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"anteroom/integrations"
	"anteroom/integrations/doctor"
)

// TestProbesThatTrip: a look that panics is a finding, and the others go on.
func TestProbesThatTrip(t *testing.T) {
	found := doctor.Run(t.Context(), []doctor.Probe{
		{Name: "a", Look: func(context.Context) doctor.Finding { panic("secret") }},
		{Name: "b", Needs: []string{"a"}, Look: func(context.Context) doctor.Finding { return doctor.Finding{State: doctor.OK} }},
	}, func(doctor.Finding) {})
	if len(found) != 2 || found[0].State != doctor.Unknown || found[0].Name != "a" || found[1].State != doctor.OK || strings.Contains(found[0].Detail, "secret") {
		t.Errorf("Run = %+v, want one that is not known and one in order", found)
	}
}

// TestHostileNextcloud: whatever answers in Nextcloud's place, the doctor ends
// soon, and neither says a password nor sends it anywhere else.
func TestHostileNextcloud(t *testing.T) {
	const password = "Pass-word-of-the-account"
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was asked of another server, with %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	endless := func(w io.Writer, begin, more string) {
		io.WriteString(w, begin)
		for more = strings.Repeat(more, 1000); ; {
			if _, err := io.WriteString(w, more); err != nil {
				return
			}
		}
	}
	const multistatus = `<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:a="urn:ietf:params:xml:ns:carddav">`
	status := func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/status.php") {
			io.WriteString(w, `{"installed":true,"maintenance":false,"versionstring":"1"}`)
			return true
		}
		return false
	}
	for name, answer := range map[string]http.HandlerFunc{
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"redirects but its status": func(w http.ResponseWriter, r *http.Request) {
			if !status(w, r) {
				http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			}
		},
		"what never ends": func(w http.ResponseWriter, r *http.Request) { endless(w, "", "a") },
		"a multistatus that never ends": func(w http.ResponseWriter, r *http.Request) {
			if !status(w, r) {
				w.WriteHeader(http.StatusMultiStatus)
				endless(w, multistatus, "<d:response/>")
			}
		},
		"places elsewhere": func(w http.ResponseWriter, r *http.Request) {
			if !status(w, r) {
				w.WriteHeader(http.StatusMultiStatus)
				href := "<d:href>" + elsewhere.URL + "/x/</d:href>"
				io.WriteString(w, multistatus+"<d:response>"+href+"<d:propstat><d:prop><d:current-user-principal>"+href+"</d:current-user-principal><c:calendar-home-set>"+href+"</c:calendar-home-set><a:addressbook-home-set>"+href+"</a:addressbook-home-set></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>")
			}
		},
		"what it was asked": func(w http.ResponseWriter, r *http.Request) {
			if !status(w, r) {
				user, pass, _ := r.BasicAuth()
				w.Header().Set("WWW-Authenticate", user+pass)
				w.WriteHeader(http.StatusBadRequest)
				io.WriteString(w, user+pass)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(answer)
			defer s.Close()
			dav := integrations.DAV{URL: s.URL + "/remote.php/dav", Username: "svc", Password: password, Credential: "service"}
			p := &doctor.Patient{Nextcloud: integrations.NextcloudConfig{URL: s.URL}, Client: s.Client(), Key: func(key string) string { return key }, Now: time.Now,
				Integrations: integrations.Config{WebDAV: dav, CalDAV: dav, CardDAV: dav, Directory: integrations.Directory{URL: s.URL, Username: "svc", Password: password}}}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			found := doctor.Run(ctx, append(p.Server(), p.Services()...), func(doctor.Finding) {})
			said, err := json.Marshal(found)
			if err != nil || ctx.Err() != nil || strings.Contains(string(said), password) {
				t.Errorf("%s (%v, %v)", said, err, ctx.Err())
			}
		})
	}
}
