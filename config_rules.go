package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"anteroom/integrations"
	"anteroom/session"
)

// checkRules finds what is wrong between keys and in what they mean, section by
// section. It looks at what was written; derived defaults come after it. Each
// rule names the remedy.
func (l *loader) checkRules() {
	site := l.checkSite()
	l.checkServer()
	l.checkTLS(site)
	l.checkNextcloud()
	l.checkSignIn()
	l.checkSession()
	l.checkCookie(site)
	l.checkHeaders()
	l.checkJWT()
	l.checkProvision()
	l.checkRoutes(site)
	l.checkIntegrations()
	l.checkClients()
	l.checkAudit()
	l.checkPlaintext()
	l.checkWatch()
	l.checkTelemetry()
}

// checkSite finds out the site's origin: public_url's, or redirect_uri's. It
// returns nil where there is none to be had.
func (l *loader) checkSite() *url.URL {
	public := l.urlAt("server.public_url", l.cfg.Server.PublicURL, "http", "https")
	redirect := l.urlAt("signin.redirect_uri", l.cfg.SignIn.RedirectURI, "http", "https")
	if l.cfg.Server.PublicURL == "" && l.cfg.SignIn.RedirectURI == "" {
		l.breaks("server.public_url", "is required: the site as browsers see it, such as https://app.example.com (or signin.redirect_uri, NEXTCLOUD_REDIRECT_URI)")
	}
	if public != nil && public.Path != "" {
		l.breaks("server.public_url", "has a path; write the origin alone: %s", origin(public))
	}
	if redirect != nil {
		l.checkRedirect(redirect, public)
	}
	return cmp.Or(public, redirect)
}

func (l *loader) checkRedirect(redirect, public *url.URL) {
	if public != nil && origin(public) != origin(redirect) {
		l.breaks("signin.redirect_uri", "is not on server.public_url; write %s%s, and register it so at Nextcloud", origin(public), callbackPath)
	}
	switch redirect.Path { // our own pages, and the application's front page
	case "", "/auth", "/auth/login", "/auth/logout", "/auth/me", "/auth/token", "/auth/signed-in",
		"/auth/sessions", "/auth/sessions/end", "/auth/mirror", "/auth/nextcloud/connect", "/auth/nextcloud/disconnect", "/auth/backchannel-logout", "/auth/frontchannel-logout":
		l.breaks("signin.redirect_uri", "leads to a page with another purpose; write %s%s, and register it so at Nextcloud", origin(cmp.Or(public, redirect)), callbackPath)
	}
}

func (l *loader) checkServer() {
	s := l.cfg.Server
	l.checkAddress("server.listen", s.Listen)
	l.checkAddress("server.admin_listen", s.AdminListen)
	if _, port, _ := net.SplitHostPort(s.Listen); s.Listen == s.AdminListen && port != "0" {
		l.breaks("server.admin_listen", "is the address of server.listen, too; take another port")
	}
	l.checkExtAuthz(s)
	for i, h := range s.Hosts {
		if err := checkHost(h); err != nil {
			l.breaks(entry("server.hosts", i), "%v", err)
		}
	}
	for i, o := range s.AllowedOrigins {
		key := entry("server.allowed_origins", i)
		if u := l.urlAt(key, o, "http", "https"); u != nil && u.Path != "" {
			l.breaks(key, "has a path; write the origin alone: %s", origin(u))
		}
	}
	for i, p := range s.TrustedProxies {
		if err := checkNetwork(p); err != nil {
			l.breaks(entry("server.trusted_proxies", i), "%v", err)
		}
	}
	if s.HSTS < 0 {
		l.breaks("server.hsts", "is %d; write a number of seconds, or 0 for none", s.HSTS)
	}
	l.checkLimits(s)
	if s.MaxHeaderBytes < 4096 || s.MaxHeaderBytes > 1<<20 {
		l.breaks("server.max_header_bytes", "is %d; write a number from 4096 to 1048576", s.MaxHeaderBytes)
	}
}

func (l *loader) checkAddress(key, address string) {
	host, port, err := net.SplitHostPort(address)
	_, ipErr := netip.ParseAddr(host)
	if err != nil || checkPort(port) != nil || host != "" && ipErr != nil && checkHost(host) != nil {
		l.breaks(key, "is %s; write host:port, such as 127.0.0.1:8000, or :8000 for every address", quoted(address))
	}
}

func (l *loader) checkTLS(site *url.URL) {
	t := l.cfg.Server.TLS
	switch {
	case t.Cert != "" && t.Key == "":
		l.breaks("server.tls.key", "is not set, though server.tls.cert is; name the file with its private key")
	case t.Cert == "" && t.Key != "":
		l.breaks("server.tls.cert", "is not set, though server.tls.key is; name the file with its certificate")
	case t.Cert != "":
		l.checkKeyPair("server.tls.cert", t.Cert, "server.tls.key", t.Key)
		if site != nil && site.Scheme != "https" {
			l.breaks("server.tls.cert", "is set, though the site is %s; make server.public_url and signin.redirect_uri https", origin(site))
		}
	case t.ClientCA != "":
		l.breaks("server.tls.client_ca", "needs TLS here; set server.tls.cert and server.tls.key")
	}
	l.checkAuthorities("server.tls.client_ca", t.ClientCA)
}

func (l *loader) checkNextcloud() {
	n := l.cfg.Nextcloud
	u := l.urlAt("nextcloud.url", n.URL, "http", "https")
	if n.URL == "" {
		l.breaks("nextcloud.url", "is required: the address of Nextcloud, such as https://cloud.example.com (NEXTCLOUD_BASE_URL)")
	}
	if n.ConnectTo != "" {
		host, port, err := net.SplitHostPort(n.ConnectTo)
		if err != nil || host == "" || checkPort(port) != nil {
			l.breaks("nextcloud.connect_to", "is %s; write host:port, such as nextcloud:80", quoted(n.ConnectTo))
		}
	}
	l.checkAuthorities("nextcloud.ca_file", n.CAFile)
	l.checkPins(n, u)
}

func (l *loader) checkPins(n integrations.NextcloudConfig, u *url.URL) {
	for i, p := range n.Pins {
		if b, err := base64.StdEncoding.DecodeString(p); err != nil || len(b) != sha256.Size {
			l.breaks(entry("nextcloud.pins", i), "is not base64 of a SHA-256 (44 characters); make it of the certificate's public key, not of the certificate")
		} else if slices.Index(n.Pins, p) != i {
			l.breaks(entry("nextcloud.pins", i), "is there already; pin another key, kept as a backup")
		}
	}
	if len(n.Pins) == 1 {
		l.breaks("nextcloud.pins", "has a single pin; add one of a backup key, or the day that key is renewed nobody can sign in")
	}
	if len(n.Pins) > 0 && u != nil && u.Scheme != "https" {
		l.breaks("nextcloud.pins", "need https; make nextcloud.url https or take the pins out")
	}
}

func (l *loader) checkSignIn() {
	s := l.cfg.SignIn
	if s.ClientID == "" {
		l.breaks("signin.client_id", "is required: the client identifier that Nextcloud shows for this application (NEXTCLOUD_CLIENT_ID)")
	}
	l.urlAt("signin.issuer", s.Issuer, "http", "https")
	for i, scope := range s.Scopes {
		if strings.ContainsFunc(scope, notScope) {
			l.breaks(entry("signin.scopes", i), "is %s; write one scope in each item", quoted(scope))
		}
	}
	if len(s.Scopes) > 0 && !slices.Contains(s.Scopes, "openid") {
		l.breaks("signin.scopes", "leaves out openid, without which there is no OpenID Connect; add it")
	}
	for _, f := range leaves(valueOf(&l.cfg.SignIn.Claims), "signin.claims") {
		if f.value.String() == "" {
			l.breaks(f.path, "is empty; name a claim, or leave the key out for %s", f.def)
		}
	}
}

// notScope reports characters that a scope cannot have (RFC 6749 §3.3).
func notScope(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r >= 0x7f }

func (l *loader) checkSession() {
	s := l.cfg.Session
	if (s.Store == "cookie" || s.Store == "redis") && len(s.Keys) == 0 {
		l.breaks("session.keys", "is required for store: %s; make one with 'anteroom keys new'", s.Store)
	}
	l.checkRedis()
	for i, k := range s.Keys {
		if _, err := session.ParseKey(k); err != nil {
			l.breaks(entry("session.keys", i), "%v", err)
		}
	}
	if s.Lifetime < s.IdleTimeout {
		l.breaks("session.lifetime", "is %s, less than session.idle_timeout (%s); make it as long at least", brief(s.Lifetime), brief(s.IdleTimeout))
	}
}

func (l *loader) checkRedis() {
	r := l.cfg.Session.Redis
	switch {
	case l.cfg.Session.Store != "redis" && (r.URL == "" || l.isSpoilt("session.store")):
		return
	case r.URL == "":
		l.breaks("session.redis.url", "is required for store: redis; such as redis://localhost:6379")
	case l.cfg.Session.Store != "redis":
		l.breaks("session.redis.url", "is set, though session.store is %s; set session.store: redis, or take it out", l.cfg.Session.Store)
	default:
		if err := session.CheckRedisURL(r.URL); err != nil {
			l.breaks("session.redis.url", "%v", err)
		}
	}
	l.checkAuthorities("session.redis.ca_file", r.CAFile)
	if (r.CertFile == "") != (r.KeyFile == "") {
		l.breaks("session.redis.cert_file", "goes with session.redis.key_file; set both, or none")
	} else if r.CertFile != "" {
		l.checkKeyPair("session.redis.cert_file", r.CertFile, "session.redis.key_file", r.KeyFile)
	}
}

func (l *loader) checkCookie(site *url.URL) {
	c := l.cfg.Session.Cookie
	switch {
	case c.Name == "" || len(c.Name) > 64 || !isToken(c.Name):
		l.breaks("session.cookie.name", "is %s; write up to 64 letters, digits, - or _", quoted(c.Name))
	case strings.HasPrefix(c.Name, "__"):
		l.breaks("session.cookie.name", "begins with __; leave the prefix out, it is added over https")
	}
	if site == nil {
		return
	}
	if c.SameSite == "none" && site.Scheme != "https" {
		l.breaks("session.cookie.same_site", "none needs https, or browsers drop the cookie; write lax or make the site https")
	}
	if c.Domain != "" {
		l.checkCookieDomain(strings.ToLower(strings.TrimPrefix(c.Domain, ".")), site.Hostname())
	}
}

func (l *loader) checkCookieDomain(domain, host string) {
	const key = "session.cookie.domain"
	_, ip := netip.ParseAddr(domain)
	suffix, _ := publicsuffix.PublicSuffix(domain)
	switch {
	case ip == nil:
		l.breaks(key, "is an address; only a name can be shared, leave it out")
	case checkName(domain) != nil:
		l.breaks(key, "%v", checkName(domain))
	case suffix == domain:
		l.breaks(key, "%s belongs to everybody below it, and browsers refuse it; name your own domain", domain)
	case host != domain && !strings.HasSuffix(host, "."+domain):
		l.breaks(key, "does not hold the site, which is %s; write that or a domain above it", host)
	}
}

func (l *loader) checkIntegrations() {
	i := l.cfg.Integrations
	l.urlAt("integrations.directory.url", i.Directory.URL, "http", "https")
	if i.Directory.Allow.Public {
		l.breaks("integrations.directory.allow", "is public: who there is is nobody's business whom nobody knows; write signed-in, or groups:, users: and clients: lists")
	}
	l.checkAccount("integrations.directory", i.Directory.Username, i.Directory.Password)
	if i.RotateEvery > 0 && i.RotateEvery < leastRotation {
		l.breaks("integrations.rotate_every", "is %s; write %s at least, such as 720h, or 0s for never", brief(i.RotateEvery), brief(leastRotation))
	}
	l.checkDAV()
	l.checkMail()
}

// checkAccount wants a user and a password, or neither.
func (l *loader) checkAccount(key, username string, password session.Secret) {
	switch {
	case username != "" && password == "":
		l.breaks(key+".password", "is not set, though username is; set both or neither")
	case username == "" && password != "":
		l.breaks(key+".username", "is not set, though password is; set both or neither")
	}
}
