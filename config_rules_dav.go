package main

import (
	"slices"
	"strings"

	"anteroom/integrations"
	"anteroom/integrations/api"
)

// checkDAV checks the DAV services, each alone and where they would meet.
func (l *loader) checkDAV() {
	i := l.cfg.Integrations
	mounts := map[string]string{}
	if i.WebDAV.Said() || i.CalDAV.Said() || i.CardDAV.Said() || i.Directory.Username != "" {
		l.checkShadowed("the JSON API of integrations", api.Prefix)
	}
	for _, d := range []struct {
		name, mount string
		dav         integrations.DAV
	}{{"webdav", "/dav", i.WebDAV}, {"caldav", "/calendar", i.CalDAV}, {"carddav", "/contacts", i.CardDAV}} {
		key := "integrations." + d.name
		l.checkDAVService(key, d.dav)
		if d.dav.Mount != "" {
			d.mount = strings.TrimSuffix(d.dav.Mount, "/")
		}
		if d.mount == "none" {
			continue
		}
		for other, at := range mounts {
			if d.mount == at || strings.HasPrefix(d.mount, at+"/") || strings.HasPrefix(at, d.mount+"/") {
				l.breaks(key+".mount", "is %s, which meets %s of integrations.%s; give each a path of its own", quoted(d.mount), quoted(at), other)
			}
		}
		if d.mount == api.Prefix || strings.HasPrefix(d.mount, api.Prefix+"/") {
			l.breaks(key+".mount", "is among the JSON API's addresses; write another, such as /dav")
		}
		mounts[d.name] = d.mount
		if served := d.dav.Said(); served {
			l.checkShadowed("integrations."+d.name, d.mount)
		}
	}
}

// checkShadowed wants no route where a DAV service is.
func (l *loader) checkShadowed(name, mount string) {
	for i, r := range l.cfg.Routes {
		if p := strings.TrimSuffix(r.Path, "/"); p == mount || strings.HasPrefix(p, mount+"/") {
			l.breaks(entry("routes", i)+".path", "is %s, which is never reached: %s is at %s; move one of them", quoted(r.Path), name, mount)
		}
	}
}

func (l *loader) checkDAVService(key string, d integrations.DAV) {
	if u := l.urlAt(key+".url", d.URL, "http", "https"); u != nil && (u.RawQuery != "" || u.Fragment != "") {
		l.breaks(key+".url", "has a query or a fragment; leave it out")
	}
	l.checkOwnServer(key, d)
	l.checkAccount(key, d.Username, d.Password)
	if m := d.Mount; !isNone(m) {
		switch problem := pathProblem(m); {
		case problem != "":
			l.breaks(key+".mount", "%s", problem)
		case strings.Trim(m, "/") == "":
			l.breaks(key+".mount", "is the whole site; write a path, such as /dav, or none")
		case m == "/auth" || strings.HasPrefix(m, "/auth/") || m == "/.well-known" || strings.HasPrefix(m, "/.well-known/"):
			l.breaks(key+".mount", "is among Anteroom's own addresses; write another, such as /dav")
		}
	}
	if d.Scope != "" {
		if problem := pathProblem(strings.ReplaceAll(d.Scope, "{user}", "user")); problem != "" {
			l.breaks(key+".scope", "%s", problem)
		} else if slices.ContainsFunc(strings.Split(d.Scope, "/"), func(s string) bool { return s != "{user}" && strings.ContainsAny(s, "{}") }) {
			l.breaks(key+".scope", "has braces that are not the whole segment {user}")
		}
	}
	if d.Credential == "service" && d.Username == "" {
		l.breaks(key+".username", "is not set, though credential is service; name the account, or write credential: user")
	}
	if d.Allow.Public {
		l.breaks(key+".allow", "is public: nobody is let in to Nextcloud unknown; write signed-in, or groups:, users: and clients: lists")
	}
}

// checkOwnServer wants what is used with people's own credentials on the server
// that these are for.
func (l *loader) checkOwnServer(key string, d integrations.DAV) {
	if d.URL == "" || d.Credential == "service" || d.Credential == "" && (d.Username != "" || !d.Said()) {
		return
	}
	to, err := parseURL(d.URL, "http", "https")
	nextcloud, errNextcloud := parseURL(l.cfg.Nextcloud.URL, "http", "https")
	if err == nil && errNextcloud == nil && origin(to) != origin(nextcloud) {
		l.breaks(key+".url", "is on %s, not on that of nextcloud.url: people's own credentials would go there (credential: user); use a service account", origin(to))
	}
}
