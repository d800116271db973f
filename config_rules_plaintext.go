package main

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"anteroom/proxy"
	"anteroom/proxy/audit"
)

// plaintextWords are what may go over a network unencrypted if the operator says
// so by name, and what is meant by each.
var plaintextWords = []struct{ word, means string }{
	{"public", "the site itself, as browsers reach it"},
	{"nextcloud", "Nextcloud: sign-in, files, calendars, contacts"},
	{"application", "the upstreams, and identity.provision"},
	{"redis", "sessions in Redis"},
	{"audit", "audit lines"},
	{"telemetry", "traces"},
}

// checkPlaintext wants TLS for whatever leaves this machine.
func (l *loader) checkPlaintext() {
	c := l.cfg
	var words []string
	for _, w := range plaintextWords {
		words = append(words, w.word)
	}
	for i, word := range c.Server.AllowPlaintext {
		if err := oneOf(word, words); err != nil {
			l.breaks(entry("server.allow_plaintext", i), "%s", err)
		}
	}
	l.plain("public", "server.public_url", c.Server.PublicURL)
	if c.Server.PublicURL == "" {
		l.plain("public", "signin.redirect_uri", c.SignIn.RedirectURI)
	}
	l.plain("nextcloud", "nextcloud.url", c.Nextcloud.URL)
	scheme, _, _ := strings.Cut(c.Nextcloud.URL, "://")
	if _, _, err := net.SplitHostPort(c.Nextcloud.ConnectTo); err == nil && strings.EqualFold(scheme, "http") {
		l.plain("nextcloud", "nextcloud.connect_to", "http://"+c.Nextcloud.ConnectTo) // which is where it goes
	}
	l.plain("nextcloud", "signin.issuer", c.SignIn.Issuer)
	for key, url := range map[string]string{"webdav": c.Integrations.WebDAV.URL, "caldav": c.Integrations.CalDAV.URL, "carddav": c.Integrations.CardDAV.URL, "directory": c.Integrations.Directory.URL} {
		l.plain("nextcloud", "integrations."+key+".url", url)
	}
	l.plain("application", "upstream", c.Upstream)
	for i, r := range c.Routes {
		if r.Upstream != proxy.NoUpstream {
			l.plain("application", entry("routes", i)+".upstream", r.Upstream)
		}
	}
	l.plain("application", "identity.provision.url", c.Identity.Provision.URL)
	if c.Session.Store == "redis" {
		l.plain("redis", "session.redis.url", c.Session.Redis.URL.Reveal())
	}
	l.plain("telemetry", "telemetry.otlp_endpoint", c.Telemetry.OTLPEndpoint)
	l.plain("audit", "audit.output", c.Audit.Output)
	for i, place := range c.Audit.Copies {
		l.plain("audit", entry("audit.copies", i), place)
	}
}

// plain is one address that has to be encrypted, unless its word is said.
func (l *loader) plain(word, key, address string) {
	if slices.Contains(l.cfg.Server.AllowPlaintext, word) || !unencrypted(address) {
		return
	}
	l.breaks(key, "is not encrypted, and not on this machine: whoever is in between reads it, and can change it; use TLS, or write %s into server.allow_plaintext if nobody is", word)
}

// unencrypted reports whether an address goes to another machine as it is.
func unencrypted(address string) bool {
	scheme, _, ok := strings.Cut(address, "://")
	if !ok || audit.IsFile(address) {
		return false
	}
	switch strings.ToLower(scheme) {
	case "http", "h2c", "redis", "redis+sentinel", "redis+cluster", "syslog+tcp", "syslog+udp":
		return !onLoopback(address)
	}
	return false
}

// onLoopback reports whether all hosts of a URL are this machine, by address or
// by the names that always are (RFC 6761 §6.3).
func onLoopback(text string) bool {
	_, rest, _ := strings.Cut(text, "://")
	if i := strings.IndexAny(rest, `/?#\`); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	for _, hostport := range strings.Split(rest, ",") {
		u, err := url.Parse("x://" + hostport)
		if err != nil {
			return false
		}
		host := strings.ToLower(u.Hostname())
		ip, err := netip.ParseAddr(host)
		if host != "localhost" && !strings.HasSuffix(host, ".localhost") && (err != nil || !ip.Unmap().IsLoopback()) {
			return false
		}
	}
	return true
}
