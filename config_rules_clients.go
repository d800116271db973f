package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"anteroom/proxy/authn"
	"anteroom/session"
)

// checkClients checks the programs that call in, and that every one named in an
// allow list is among them.
func (l *loader) checkClients() {
	var names []string
	for i, c := range l.cfg.Clients {
		key := entry("clients", i)
		switch problem := clientNameProblem(c.Name); {
		case problem != "":
			l.breaks(key+".name", "%s", problem)
		case slices.Contains(names, c.Name):
			l.breaks(key+".name", "is %s, as that of another; give each its own", quoted(c.Name))
		}
		names = append(names, c.Name)
		if _, err := authn.ParseHash(c.SecretHash); err != nil {
			l.breaks(key+".secret_hash", "%v", err)
		}
	}
	i := l.cfg.Integrations
	lists := map[string]session.Allow{"integrations.webdav": i.WebDAV.Allow, "integrations.caldav": i.CalDAV.Allow, "integrations.carddav": i.CardDAV.Allow}
	for n, r := range l.cfg.Routes {
		lists[entry("routes", n)] = r.Allow
	}
	for key, a := range lists {
		for n, name := range a.Clients {
			if !slices.Contains(names, name) {
				l.breaks(entry(key+".allow.clients", n), "is %s, which is not among clients; add it there (anteroom clients new %s)", quoted(name), name)
			}
		}
	}
}

// clientNameProblem says what is wrong with a client's name, or nothing: it is
// the user name of Basic (RFC 7617 §2).
func clientNameProblem(name string) string {
	switch {
	case name == "":
		return "is not set; a client is known by its name"
	case len(name) > authn.MaxName || !utf8.ValidString(name):
		return fmt.Sprintf("is not UTF-8 of %d bytes at most", authn.MaxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r == ':' || unicode.IsControl(r) || unicode.IsSpace(r) }):
		return "is " + quoted(name) + "; write it without colons and white space"
	}
	return ""
}
