package signin

import (
	"net/url"
	"slices"
	"strings"
)

// ReturnTo is the one judge of where a sign-in may lead: a path of this site,
// or an address on an allowed host. Anything else, and anything that a browser
// might read in another way, is "/".
func (p *RelyingParty) ReturnTo(raw string) string {
	if raw == "" || len(raw) > returnLimit || strings.ContainsFunc(raw, oddInURL) {
		return "/"
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Opaque != "" {
		return "/"
	}
	if u.Scheme == "" && u.Host == "" {
		if !strings.HasPrefix(raw, "/") || strings.HasPrefix(raw, "//") || climbs(u.Path) {
			return "/"
		}
		return raw
	}
	if u.Scheme == p.o.Public.Scheme && strings.EqualFold(u.Host, p.o.Public.Host) {
		return p.ReturnTo(u.RequestURI())
	}
	if (u.Scheme == "https" || u.Scheme == p.o.Public.Scheme && u.Scheme == "http") && p.returnHost(u) && !strings.HasPrefix(u.Path, "//") {
		return u.String()
	}
	return "/"
}

// climbs reports whether resolving a path's dots could make it begin with two
// slashes, and so a host.
func climbs(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// oddInURL reports characters that browsers drop, or read as a slash.
func oddInURL(r rune) bool { return r <= ' ' || r == '\\' || r >= 0x7f }

// returnHost reports whether a URL's host is among those allowed, at a dot's
// boundary.
func (p *RelyingParty) returnHost(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != p.o.Public.Port() || strings.HasSuffix(u.Host, ":") {
		return false
	}
	if host == "" || strings.ContainsFunc(host, oddInURL) { // by percent signs; a browser may make a slash of what is here a letter
		return false
	}
	return slices.ContainsFunc(p.o.ReturnHosts, func(allowed string) bool {
		if strings.HasPrefix(allowed, ".") {
			return strings.HasSuffix(host, allowed) && len(host) > len(allowed)
		}
		return host == allowed
	})
}
