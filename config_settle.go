package main

import (
	"cmp"
	"slices"
	"strings"

	"anteroom/integrations"
	"anteroom/proxy"
	"anteroom/proxy/upstream"
)

// callbackPath is where Nextcloud sends people back to, unless redirect_uri
// says otherwise.
const callbackPath = "/auth/callback"

// settle brings a configuration without faults into its final form: values in
// one spelling, derived defaults filled in.
func settle(c *Config) {
	settleURLs(c)
	settleHeaders(c)
	settleRoutes(c)
	if f, ok := c.SecretFiles["integrations.caldav.password"]; ok && c.Integrations.CardDAV.Username == "" {
		c.SecretFiles["integrations.carddav.password"] = f
	}
	settleIntegrations(&c.Integrations, c.Nextcloud.URL)
	c.Session.Cookie.Domain = strings.ToLower(strings.TrimPrefix(c.Session.Cookie.Domain, "."))
}

// settleURLs leaves issuer and redirect_uri as they were written: both are
// compared letter by letter by somebody else.
func settleURLs(c *Config) {
	s := &c.Server
	s.PublicURL = settled(s.PublicURL)
	if s.PublicURL == "" {
		redirect, err := parseURL(c.SignIn.RedirectURI, "http", "https")
		if err == nil {
			s.PublicURL = origin(redirect)
		}
	}
	if c.SignIn.RedirectURI == "" {
		c.SignIn.RedirectURI = s.PublicURL + callbackPath
	}
	c.Nextcloud.URL = settled(c.Nextcloud.URL)
	if c.SignIn.Issuer == "" {
		c.SignIn.Issuer = c.Nextcloud.URL
	}
	for i := range s.Hosts {
		s.Hosts[i] = strings.ToLower(s.Hosts[i])
	}
	for i := range s.AllowedOrigins {
		s.AllowedOrigins[i] = settled(s.AllowedOrigins[i])
	}
}

// settled is a checked URL in its normal form; an empty one stays empty.
func settled(text string) string {
	u, err := parseURL(text, "http", "https", "h2c", "unix", "imaps", "smtps", "smtp")
	if err != nil {
		return text
	}
	return u.String()
}

// settleHeaders makes the word none the empty name.
func settleHeaders(c *Config) {
	h := &c.Identity.Headers
	for _, name := range []*string{&h.User, &h.PreferredUsername, &h.Email, &h.Name, &h.Groups} {
		if isNone(*name) {
			*name = ""
		}
	}
}

// settleRoutes gives each route its application, and a route to what none of
// them matches: for whoever is signed in.
func settleRoutes(c *Config) {
	c.Upstream = settled(c.Upstream)
	for i := range c.Routes {
		r := &c.Routes[i]
		r.Upstream = settled(r.Upstream)
		if r.Upstream == "" {
			r.Upstream = c.Upstream
		}
		if r.Path = strings.TrimSuffix(r.Path, "/"); r.Path == "" {
			r.Path = "/"
		}
	}
	last := proxy.Route{Path: "/", Upstream: c.Upstream, Sign: upstream.SignNothing}
	if c.Upstream != "" && !slices.ContainsFunc(c.Routes, func(r proxy.Route) bool { return covers(r, last) }) {
		c.Routes = append(c.Routes, last)
	}
}

// settleIntegrations derives addresses from Nextcloud's, and the account for
// contacts from the one for calendars.
func settleIntegrations(i *integrations.Config, nextcloud string) {
	if i.CardDAV.Username == "" {
		i.CardDAV.Username, i.CardDAV.Password = i.CalDAV.Username, i.CalDAV.Password
	}
	settleDAV(&i.WebDAV, nextcloud+"/remote.php/dav", "/dav")
	settleDAV(&i.CalDAV, nextcloud+"/remote.php/dav/calendars", "/calendar")
	settleDAV(&i.CardDAV, nextcloud+"/remote.php/dav/addressbooks", "/contacts")
	i.Directory.URL = cmp.Or(settled(i.Directory.URL), nextcloud)
	i.Mail.AppURL = nextcloud
	i.Mail.IMAP, i.Mail.SMTP = settled(i.Mail.IMAP), settled(i.Mail.SMTP)
}

// settleDAV fills in where a DAV service lives, where it is mounted and whose
// credential it is used with. One of which nothing is said but its address is not
// served, to nobody and at no path: its path may be the application's.
func settleDAV(d *integrations.DAV, url, mount string) {
	d.URL = strings.TrimSuffix(cmp.Or(settled(d.URL), url), "/")
	d.Scope = strings.TrimSuffix(d.Scope, "/")
	switch {
	case d.Mount == "" && d.Said():
		d.Mount = mount
	case d.Mount == "":
		d.Mount = integrations.NoMount
	}
	d.Mount = strings.TrimSuffix(d.Mount, "/")
	if d.Credential == "" && d.Said() {
		d.Credential = "user"
		if d.Username != "" {
			d.Credential = "service"
		}
	}
}
