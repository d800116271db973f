package main

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"anteroom/proxy"
)

// maxRoutes bounds the list of routes: every request walks along it.
const maxRoutes = 500

func (l *loader) checkRoutes(site *url.URL) {
	l.upstreamAt("upstream", l.cfg.Upstream)
	routes := l.cfg.Routes
	if len(routes) > maxRoutes {
		l.breaks("routes", "has %d entries; %d is the most", len(routes), maxRoutes)
		return
	}
	if len(routes) == 0 && l.cfg.Upstream == "" {
		l.breaks("upstream", "is required: where the application listens, such as http://localhost:8001 (ANTEROOM_UPSTREAM), or a route with an upstream; or none, where front proxies ask and forward requests themselves")
	}
	asked := l.cfg.Upstream == proxy.NoUpstream || slices.ContainsFunc(routes, func(r proxy.Route) bool { return r.Upstream == proxy.NoUpstream })
	if asked && len(l.cfg.Server.TrustedProxies) == 0 {
		l.breaks("server.trusted_proxies", "is required where upstream is none: nobody else may ask; name the front proxy's network, such as 10.0.0.0/8")
	}
	for i, r := range routes {
		key := entry("routes", i)
		l.checkRoute(key, r, site)
		for k := range i {
			if before := entry("routes", k); !l.isSpoilt(before) && covers(routes[k], r) {
				l.checkCovered(key, before, routes[k], r)
				break
			}
		}
	}
}

func (l *loader) checkRoute(key string, r proxy.Route, site *url.URL) {
	if problem := pathProblem(r.Path); problem != "" {
		l.breaks(key+".path", "%s", problem)
	}
	l.checkRouteHost(key+".host", r.Host, site)
	for i, m := range r.Methods {
		if !isMethod(m) {
			l.breaks(entry(key+".methods", i), "is %s; write a method in capitals, such as GET", quoted(m))
		}
	}
	l.upstreamAt(key+".upstream", r.Upstream)
	if r.Upstream == "" && l.cfg.Upstream == "" && !l.isSpoilt("upstream") {
		l.breaks(key+".upstream", "is not set, and neither is the top-level upstream; set one of them")
	}
	if r.Sign != "none" && l.cfg.Identity.JWT.Algorithm == "none" {
		l.breaks(key+".sign", "needs a key, and identity.jwt.algorithm is none; choose an algorithm or take it out")
	}
	if r.Sign != "none" && (r.Upstream == proxy.NoUpstream || r.Upstream == "" && l.cfg.Upstream == proxy.NoUpstream) {
		l.breaks(key+".sign", "is of requests that go through here, and upstream is none; leave it out")
	}
	if r.JWTInQuery && l.cfg.Identity.JWT.Algorithm == "none" {
		l.breaks(key+".jwt_in_query", "needs a JWT, and identity.jwt.algorithm is none; choose an algorithm or take it out")
	}
}

// checkRouteHost wants a Host that is answered to at all.
func (l *loader) checkRouteHost(key, host string, site *url.URL) {
	if host == "" {
		return
	}
	if err := checkHost(host); err != nil {
		l.breaks(key, "%v", err)
		return
	}
	if host != strings.ToLower(host) {
		l.breaks(key, "is %s; write it in lower case", quoted(host))
		return
	}
	if bare(host) != host {
		l.breaks(key, "has a port; leave it out")
		return
	}
	if site == nil || l.isSpoilt("server.hosts") || l.isSpoilt("session.cookie.domain") {
		return
	}
	domain := strings.ToLower(strings.TrimPrefix(l.cfg.Session.Cookie.Domain, "."))
	ours := host == site.Hostname() || domain != "" && (host == domain || strings.HasSuffix(host, "."+domain))
	if !ours && !slices.ContainsFunc(l.cfg.Server.Hosts, func(h string) bool { return bare(strings.ToLower(h)) == host }) {
		l.breaks(key, "is not a host of this site, which refuses it; add it to server.hosts")
	}
}

func (l *loader) checkCovered(key, before string, first, second proxy.Route) {
	if covers(second, first) {
		l.breaks(key, "is for the same requests as %s; keep one", before)
		return
	}
	l.breaks(key, "is never reached: %s comes first and takes all of it; put this one above", before)
}

// covers reports whether every request that b matches is matched by a.
func covers(a, b proxy.Route) bool {
	if a.Host != "" && a.Host != b.Host {
		return false
	}
	if len(a.Methods) > 0 && (len(b.Methods) == 0 || slices.ContainsFunc(b.Methods, func(m string) bool { return !slices.Contains(a.Methods, m) })) {
		return false
	}
	prefix := strings.TrimSuffix(a.Path, "/")
	rest, ok := strings.CutPrefix(strings.TrimSuffix(b.Path, "/"), prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// pathProblem says what is wrong with a route's path, or nothing. A route's
// path is compared with the normal form of a request's, so it has to be one.
func pathProblem(p string) string {
	trimmed := strings.TrimSuffix(p, "/")
	switch {
	case !strings.HasPrefix(p, "/"):
		return "is " + quoted(p) + "; begin it with /"
	case strings.HasSuffix(p, "/*"), strings.HasSuffix(p, "/**"):
		return "is " + quoted(p) + "; leave the * out, a path stands for everything below it"
	case strings.ContainsAny(p, `*?#%;\`), strings.ContainsFunc(p, unicode.IsControl):
		return "is " + quoted(p) + "; write a plain path, decoded, without * ? # % ; or \\"
	}
	for segment := range strings.SplitSeq(strings.TrimPrefix(trimmed, "/"), "/") {
		if segment == "." || segment == ".." || segment == "" && trimmed != "" {
			return "is " + quoted(p) + "; write it without empty, . and .. segments"
		}
	}
	return ""
}

// isMethod wants capitals: methods are compared letter by letter (RFC 9110 §9.1).
func isMethod(m string) bool {
	return isToken(m) && m == strings.ToUpper(m)
}

// upstreamAt reads where an application listens.
func (l *loader) upstreamAt(key, text string) {
	if text == proxy.NoUpstream {
		return
	}
	u := l.urlAt(key, text, "http", "https", "h2c", "unix")
	switch {
	case u == nil:
	case u.Scheme != "unix" && u.Path != "":
		l.breaks(key, "has a path; write the origin alone, %s: paths reach the application as they came", origin(u))
	default:
		l.checkNotOurs(key, u)
	}
}

// checkNotOurs refuses an upstream that is a listener of ours: requests would go
// round in a circle.
func (l *loader) checkNotOurs(key string, u *url.URL) {
	s := l.cfg.Server
	for _, our := range []struct{ key, address string }{{"server.listen", s.Listen}, {"server.admin_listen", s.AdminListen}} {
		if leadsTo(u, our.address) {
			l.breaks(key, "is where Anteroom itself listens (%s is %s); write where the application does, or give %s another port", our.key, our.address, our.key)
		}
	}
}

// leadsTo reports whether a URL leads, on this machine, to what listens at an
// address, as far as that shows in the two alone.
func leadsTo(u *url.URL, listen string) bool {
	at, port, err := net.SplitHostPort(listen)
	if err != nil || port != cmp.Or(u.Port(), map[string]string{"http": "80", "h2c": "80", "https": "443"}[u.Scheme]) {
		return false
	}
	to := strings.ToLower(u.Hostname())
	at = strings.ToLower(at)
	if to == "localhost" || at == "localhost" || isUnspecified(to) || isUnspecified(at) {
		return isLocal(to) && isLocal(at)
	}
	return to == at
}

// isUnspecified is of every address of this machine.
func isUnspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// isLocal is of a host that reaches no farther than this machine, or of every
// address of it.
func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || isUnspecified(host) || err == nil && ip.IsLoopback()
}

// checkExtAuthz checks where Envoy asks.
func (l *loader) checkExtAuthz(s proxy.Config) {
	const key = "server.ext_authz_listen"
	if s.ExtAuthzListen == "" {
		return
	}
	l.checkAddress(key, s.ExtAuthzListen)
	for other, address := range map[string]string{"server.listen": s.Listen, "server.admin_listen": s.AdminListen} {
		if _, port, _ := net.SplitHostPort(address); s.ExtAuthzListen == address && port != "0" {
			l.breaks(key, "is the address of %s, too; take another port", other)
		}
	}
	if len(s.TrustedProxies) == 0 {
		l.breaks(key, "is set, though server.trusted_proxies is not: nobody may ask there; name Envoy's network, such as 10.0.0.0/8")
	}
}
