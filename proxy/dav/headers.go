package dav

import (
	"net/http"
	"strings"

	"anteroom/integrations"
)

// notForServer are the headers of a request that the server never sees: who
// calls and from where is ours to say, Nextcloud's cookies would beat our
// credential, and it takes some of these for credentials or for another
// method. Lower case, - for _.
var notForServer = map[string]bool{
	"authorization": true, "xauthorization": true, "proxy-authorization": true, "cookie": true, "cookie2": true,
	"requesttoken": true, "x-requested-with": true, "x-nextcloud-federation": true,
	"authorization-app-api": true, "ex-app-id": true, "ex-app-version": true, "aa-version": true, "aa-request-id": true,
	"forwarded": true, "via": true, "x-real-ip": true, "client-ip": true, "x-client-ip": true, "true-client-ip": true,
	"cf-connecting-ip": true, "x-cluster-client-ip": true, "x-original-url": true, "x-rewrite-url": true,
	"x-http-method": true, "x-http-method-override": true, "x-method-override": true, "http-method-override": true,
	"origin": true, "referer": true, "proxy": true, "upgrade-insecure-requests": true, "traceparent": true, "tracestate": true,
}

var notForServerPrefix = []string{"x-forwarded-", "x-auth-", "x-remote-", "remote-", "sec-", "access-control-", "x-anteroom-"}

// notForClient are the headers of an answer that stay here: cookies are the
// server's, challenges ours, and the rest speaks for a whole host, which is not
// the server's here, or to a front proxy, which is not the server's either.
var notForClient = []string{
	"Set-Cookie", "Set-Cookie2", "Www-Authenticate", "Proxy-Authenticate", "Authentication-Info",
	"Strict-Transport-Security", "Public-Key-Pins", "Alt-Svc", "Clear-Site-Data", "Nel", "Report-To", "Reporting-Endpoints",
	"Service-Worker-Allowed", "Refresh", "Link", "Server", "X-Powered-By", "X-Debug-Token",
	"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods",
	"Access-Control-Allow-Headers", "Access-Control-Expose-Headers", "Access-Control-Max-Age",
	"X-Accel-Redirect", "X-Accel-Buffering", "X-Accel-Expires", "X-Accel-Charset", "X-Accel-Limit-Rate", "X-Sendfile", "X-Lighttpd-Send-File",
}

// plainMark is a letter of a header's name as servers fold them: CGI and PHP take
// every mark for the same.
func plainMark(c rune) rune {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '-'
}

// stripRequest leaves what the server may see.
func stripRequest(h http.Header) {
	for name := range h {
		plain := strings.Map(plainMark, name)
		drop := notForServer[plain]
		for _, p := range notForServerPrefix {
			drop = drop || strings.HasPrefix(plain, p)
		}
		if drop {
			delete(h, name)
		}
	}
}

// stripAnswer leaves what the client may see.
func stripAnswer(h http.Header) {
	for _, name := range notForClient {
		delete(h, name)
	}
}

// readingMethods change nothing (RFC 4918 §9.1, 3253 §3.6, 5323 §2).
var readingMethods = map[string]bool{
	http.MethodGet: true, http.MethodHead: true, http.MethodOptions: true, "PROPFIND": true, "REPORT": true, "SEARCH": true,
}

// settingMethods have bodies that give properties values.
var settingMethods = map[string]bool{"PROPPATCH": true, "MKCOL": true, "MKCALENDAR": true}

// mapHeaders maps the headers that name places, and finds where a request
// changes something besides its own place.
func (in *inward) mapHeaders(h http.Header) (to target, err error) {
	for _, name := range []string{"Destination", "If"} {
		if len(h[name]) > 1 {
			return to, integrations.ErrPath
		}
	}
	if d := h.Get("Destination"); d != "" {
		if to, err = in.other(d); err != nil {
			return to, err
		}
		h.Set("Destination", to.url())
	}
	if c := h.Get("If"); c != "" {
		if c, err = in.conditions(c); err != nil {
			return to, err
		}
		h.Set("If", c)
	}
	return to, nil
}

// mayChange reports errReadOnly for a request that would change what is only
// to be read: at its own place, or at its destination.
func mayChange(method string, at, to target) error {
	switch {
	case at.aside && method != "PROPFIND" && method != http.MethodOptions, to.aside:
		return errReadOnly
	case readingMethods[method]:
		return nil
	case to.mount != nil && to.mount.ReadOnly(), at.mount.ReadOnly() && (method != "COPY" || to.mount == nil):
		return errReadOnly
	}
	return nil
}
