package session

import (
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/sessions"
)

// Cookies makes the cookies of one site: their names and flags. Over https a
// name gets the prefix __Host- (or __Secure- where a domain shares it), which
// browsers refuse to let anyone else set (RFC 6265bis §4.1.3).
type Cookies struct {
	prefix  string
	base    string
	options sessions.Options
}

// NewCookies makes the site's cookies; secure says the site is https.
func NewCookies(cfg CookieConfig, secure bool) *Cookies {
	c := &Cookies{base: cfg.Name, options: sessions.Options{
		Path: "/", Domain: cfg.Domain, Secure: secure, HttpOnly: true, SameSite: sameSite(cfg.SameSite),
	}}
	switch {
	case secure && cfg.Domain == "":
		c.prefix = "__Host-"
	case secure:
		c.prefix = "__Secure-"
	}
	return c
}

func sameSite(s string) http.SameSite {
	switch s {
	case "strict":
		return http.SameSiteStrictMode
	case "none":
		return http.SameSiteNoneMode
	}
	return http.SameSiteLaxMode
}

// Name is the full cookie name for a suffix: "" is the session itself.
func (c *Cookies) Name(suffix string) string {
	if suffix == "" {
		return c.prefix + c.base
	}
	return c.prefix + c.base + "_" + suffix
}

// Ours reports whether a cookie name is one of this site's, with or without
// prefix, so that it can be kept from the application.
func (c *Cookies) Ours(name string) bool {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "__Host-"), "__Secure-")
	rest, ok := strings.CutPrefix(name, c.base)
	return ok && (rest == "" || rest[0] == '_')
}

// Secure reports whether the cookies are for https only.
func (c *Cookies) Secure() bool { return c.options.Secure }

// Domain is the shared domain, or "" where cookies are the site's own.
func (c *Cookies) Domain() string { return c.options.Domain }

// Strict reports whether the session cookie is SameSite=Strict, and so is
// not sent on a request that another site began.
func (c *Cookies) Strict() bool { return c.options.SameSite == http.SameSiteStrictMode }

// Set writes a cookie. A maxAge of zero lasts until the browser closes.
func (c *Cookies) Set(w http.ResponseWriter, name, value string, maxAge time.Duration) {
	o := c.options
	o.MaxAge = int(maxAge / time.Second)
	http.SetCookie(w, sessions.NewCookie(name, value, &o))
}

// SetLax writes a cookie that must come back from a navigation another site
// began (the sign-in's own), whatever the session cookie's SameSite is.
func (c *Cookies) SetLax(w http.ResponseWriter, name, value string, maxAge time.Duration) {
	o := c.options
	o.MaxAge = int(maxAge / time.Second)
	o.SameSite = http.SameSiteLaxMode
	http.SetCookie(w, sessions.NewCookie(name, value, &o))
}

// Clear removes a cookie from the browser.
func (c *Cookies) Clear(w http.ResponseWriter, name string) {
	o := c.options
	o.MaxAge = -1
	http.SetCookie(w, sessions.NewCookie(name, "", &o))
}

// Read returns the one value of a cookie. Two different values under one name
// mean that someone else set one of them: neither is believed, and tossed
// says so. It allocates nothing, for every request passes here.
func (c *Cookies) Read(r *http.Request, name string) (value string, tossed bool) {
	for _, line := range r.Header["Cookie"] {
		for rest, more := line, true; more; {
			var pair string
			pair, rest, more = strings.Cut(rest, ";")
			got, v, _ := strings.Cut(strings.TrimLeft(pair, " \t"), "=")
			if got != name {
				continue
			}
			v = strings.TrimRight(v, " \t")
			if value != "" && v != value {
				return "", true
			}
			value = v
		}
	}
	return value, false
}

// All returns every value of a cookie, also where Read believes none.
func (c *Cookies) All(r *http.Request, name string) (values []string) {
	for _, ck := range r.CookiesNamed(name) {
		values = append(values, ck.Value)
	}
	return values
}
