// Package pages is everything people see of Anteroom: the account page,
// sign-out, and what a browser is shown when something stands in the way. The
// templates, texts, style and script are part of the program; nothing is
// loaded from anywhere else.
//
// It trusts nobody with markup: each value reaches a page through
// html/template, and a link that is not http, https or a path leads nowhere.
// Callers vouch for where links lead; this package for that they cannot run.
package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed templates/*.html
var templateFiles embed.FS

// Pages writes the pages. It is immutable and may be used by any number of
// requests at once. The zero value is of no use; see New.
type Pages struct {
	templates map[string]*template.Template // by Page.name
	languages *languages
	assets    *assets
	paths     assetPaths
	source    string // where assets come from, as CSP names it
	now       func() time.Time
}

// New parses everything that is embedded. An error means the program was built
// wrong: a template that does not parse, or a text that lacks a language.
func New() (*Pages, error) {
	p := &Pages{templates: make(map[string]*template.Template), now: time.Now}
	var err error
	if p.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("loading assets: %w", err)
	}
	p.paths, p.source = p.assets.paths, "'self'"
	if p.languages, err = loadLanguages(); err != nil {
		return nil, fmt.Errorf("loading texts: %w", err)
	}
	base, err := template.ParseFS(templateFiles, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("parsing layout: %w", err)
	}
	for _, page := range kinds() {
		t, err := template.Must(base.Clone()).ParseFS(templateFiles, "templates/"+page.name()+".html")
		if err != nil {
			return nil, fmt.Errorf("parsing page %s: %w", page.name(), err)
		}
		p.templates[page.name()] = t
	}
	return p, nil
}

// From makes pages that are shown on other sites' addresses: their assets come
// from this origin (scheme://host[:port]).
func (p *Pages) From(origin string) *Pages {
	away := *p
	away.source = origin
	away.paths = assetPaths{Style: origin + p.paths.Style, Script: origin + p.paths.Script, Icon: origin + p.paths.Icon}
	return &away
}

// Render writes one page in the language the browser asks for. Every page is
// for one person's eyes: no cache keeps it and nothing in it but our own style
// and script may load or run. HEAD gets the headers alone. A positive
// RetryAfter of Unavailable becomes Retry-After (RFC 9110 §10.2.3) unless the
// caller has set one.
func (p *Pages) Render(w http.ResponseWriter, r *http.Request, status int, page Page) {
	words := p.languages.choose(r.Header.Get("Accept-Language"))
	v := &view{
		Page:    page,
		Assets:  p.paths,
		Ref:     reference(page, w.Header()),
		Posted:  r.Method != http.MethodGet && r.Method != http.MethodHead,
		catalog: words,
		now:     p.now(),
	}
	var body bytes.Buffer
	if err := p.templates[page.name()].ExecuteTemplate(&body, "layout", v); err != nil {
		// Tests render every page in every language; a person gets one sentence
		// rather than half a page.
		http.Error(w, http.StatusText(status), status)
		return
	}
	setHeaders(w.Header(), page, p.source)
	w.Header().Set("Content-Language", words.code)
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body.Bytes())
	}
}

// setHeaders says what a browser may do with a page, whose assets come from a
// source. The policy is CSP Level 3.
func setHeaders(h http.Header, page Page, source string) {
	formAction, ancestors, options := "'self'", "'none'", "DENY"
	connect := ""
	switch page := page.(type) {
	case LostForm:
		// The application's answer to the form may lead to another site, and
		// browsers hold form-action against that redirect too: stopped there,
		// the form would seem unsent and be sent twice. The form may have been
		// in a frame of the site's own.
		formAction, ancestors, options = "'self' https: http:", "'self'", "SAMEORIGIN"
	case FrameSignIn:
		// Shown in frames or not at all. It holds one link and nothing private.
		ancestors, options = "*", ""
	case Connecting:
		connect = "; connect-src 'self'" // it looks what has come of it
	case Unavailable:
		if page.RetryAfter > 0 && h.Get("Retry-After") == "" {
			h.Set("Retry-After", strconv.Itoa(int((page.RetryAfter+time.Second-1)/time.Second)))
		}
	}
	h.Set("Content-Security-Policy", strings.Join([]string{
		"default-src 'none'", "style-src " + source, "script-src " + source, "img-src " + source,
		"form-action " + formAction, "frame-ancestors " + ancestors, "base-uri 'none'",
	}, "; ")+connect)
	h.Del("X-Frame-Options")
	if options != "" {
		h.Set("X-Frame-Options", options)
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
	if ancestors != "*" { // the one that is shown in others' frames
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
	}
}

// reference is the request id a person can quote: on pages that tell of a
// fault, the page's own or else the one already on the reply.
func reference(page Page, h http.Header) string {
	id := h.Get("X-Request-Id")
	switch page := page.(type) {
	case Error:
		return first(page.RequestID, id)
	case SignInFailed:
		return first(page.RequestID, id)
	case Unavailable, Forbidden, NotAllowed:
		return id
	}
	return ""
}

// first returns the first string that is not empty.
func first(of ...string) string {
	for _, s := range of {
		if s != "" {
			return s
		}
	}
	return ""
}
