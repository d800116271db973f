package demo

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// The policies of answers that are no page, of pages, and of the pages that
// Nextcloud's core makes when something is wrong.
const (
	closedPolicy = "default-src 'none';base-uri 'none';manifest-src 'self';frame-ancestors 'none'"
	pagePolicy   = "default-src 'none';base-uri 'none';manifest-src 'self';script-src 'self';style-src 'self' 'unsafe-inline';" +
		"img-src 'self' data: blob:;font-src 'self' data:;connect-src 'self';media-src 'self';frame-src 'self';" +
		"frame-ancestors 'self';worker-src 'self' blob:;form-action 'self'"
	corePolicy = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; frame-src *; img-src * data: blob:; " +
		"font-src 'self' data:; media-src *; connect-src *; object-src 'none'; base-uri 'self';"
)

// appHeaders are on every answer of the app framework.
func appHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "Thu, 19 Nov 1981 08:52:00 GMT")
	h.Set("X-Request-Id", alnum(20))
	h.Set("Content-Security-Policy", closedPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("X-Robots-Tag", "noindex, nofollow")
}

func htmlHeaders(w http.ResponseWriter) {
	appHeaders(w)
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
}

// seeOther is the redirect Nextcloud uses everywhere. The address is sent as it
// is: some of the real ones are not well formed.
func seeOther(w http.ResponseWriter, location string) {
	htmlHeaders(w)
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	appHeaders(w)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // a caller that went away is no concern of ours
}

// message is the app framework's JSON error.
func message(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"message": text})
}

// toLogin sends a browser to the login form and back to where it was going;
// a program is told 401.
func toLogin(w http.ResponseWriter, r *http.Request) {
	if !wantsHTML(r) {
		message(w, http.StatusUnauthorized, "Current user is not logged in")
		return
	}
	seeOther(w, loginAddress(r.URL.RequestURI()))
}

// loginAddress writes the return address as Nextcloud does: escaped, with
// slashes and question marks left bare.
func loginAddress(back string) string {
	return "/index.php/login?redirect_url=" + bare(back, "%2F", "/", "%3F", "?")
}

// bare escapes for a query, with %20 for a space, but leaves some characters as
// they are, given as pairs of escape and character.
func bare(s string, except ...string) string {
	return strings.NewReplacer(append([]string{"+", "%20"}, except...)...).Replace(url.QueryEscape(s))
}

// local reports whether a return address stays on this server.
func local(back string) bool {
	return strings.HasPrefix(back, "/") && !strings.HasPrefix(back, "//") && !strings.ContainsAny(back, "\\@\r\n\t")
}

// status is /status.php, which needs no login and knows no maintenance.
func (n *Nextcloud) status(w http.ResponseWriter, r *http.Request) {
	n.open(w, r)
	version, text := "24.0.5.1", "24.0.5"
	if n.o.Modern {
		version, text = "32.0.2.2", "32.0.2"
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(object{
		{"installed", true}, {"maintenance", n.knobs.inMaintenance()}, {"needsDbUpgrade", false},
		{"version", version}, {"versionstring", text}, {"edition", ""}, {"productname", "Nextcloud"}, {"extendedSupport", false},
	})
}

// maintenance answers in the dialect of the address.
func (n *Nextcloud) maintenance(w http.ResponseWriter, r *http.Request) {
	n.open(w, r)
	if n.o.Modern {
		w.Header().Set("X-Nextcloud-Maintenance-Mode", "1")
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/ocs/"):
		writeJSON(w, http.StatusServiceUnavailable, envelope(r, "failure", 503, "Service unavailable", nil))
	case strings.HasPrefix(r.URL.Path, "/remote.php/"):
		davError(w, http.StatusServiceUnavailable, `OCA\DAV\Exception\ServerMaintenanceMode`, "System is in maintenance mode.")
	default:
		w.Header().Set("Retry-After", "120")
		n.pages.show(w, http.StatusServiceUnavailable, "error", view{Title: "Maintenance mode",
			Message: "This Nextcloud is in maintenance mode, which may take a while. Come back in a moment."})
	}
}

// notFound is what an unknown address gets.
func (n *Nextcloud) notFound(w http.ResponseWriter, r *http.Request) {
	n.open(w, r)
	n.pages.show(w, http.StatusNotFound, "error", view{Title: "Page not found", Message: "There is nothing at this address."})
}
