package proxy

import (
	"net/http"
	"net/url"

	"anteroom/integrations"
	"anteroom/proxy/pages"
)

// refusePage answers a person.
func (s *Server) refusePage(x *exchange, no *refusal) {
	here := s.signInURL(x)
	switch {
	case no.page != nil:
		s.render(x, no.status, no.page)
	case no.reason == reasonNobody && framed(x.r):
		s.render(x, no.status, pages.FrameSignIn{SignIn: here})
	case no.reason == reasonNobody && (x.r.Method == http.MethodGet || x.r.Method == http.MethodHead):
		http.Redirect(x, x.r, here, http.StatusFound)
	case no.reason == reasonNobody:
		s.lostForm(x, no)
	case no.reason == reasonNotAllowed:
		s.render(x, no.status, pages.Forbidden{Identity: x.who, Switch: s.ownURL(x, switchURL)})
	case no.reason == reasonBroken:
		s.render(x, no.status, pages.Unavailable{What: "store", RetryAfter: retryAfter})
	case no.reason == reasonApp, no.reason == reasonAppSlow:
		s.render(x, no.status, pages.Unavailable{What: "application", RetryAfter: retryAfter})
	case no.reason == integrations.ReasonConnect:
		s.render(x, no.status, pages.Error{Status: no.status, Text: no.text, RequestID: x.hop.RequestID, Site: originOf(s.public) + "/", Account: originOf(s.public) + "/auth/#connection"})
	default:
		s.render(x, no.status, pages.Error{Status: no.status, Text: no.text, RequestID: x.hop.RequestID, Site: originOf(s.public) + "/"})
	}
}

// render shows a page. Where a front proxy shows it on an address that is not
// ours to answer, what the page loads comes from the public origin.
func (s *Server) render(x *exchange, status int, page pages.Page) {
	p := s.o.Pages
	if x.dialect != nil && x.origin.site != s.origins.host {
		p = s.away
	}
	p.Render(x, x.r, status, page)
}

// ownURL is one of our paths as a page at the request's address names it.
func (s *Server) ownURL(x *exchange, path string) string {
	if x.origin.site == s.origins.host {
		return path
	}
	return originOf(s.public) + path
}

// signInURL is where to sign in so as to come back to what was asked for. It
// is on the public origin, whatever Host the request named.
func (s *Server) signInURL(x *exchange) string {
	back := x.r.URL.RequestURI()
	if x.origin.site != s.origins.host {
		back = s.here(x) + back
	}
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		back = "/auth/signed-in"
	}
	return originOf(s.public) + "/auth/login?return_to=" + url.QueryEscape(back)
}

// here is the origin a request came to, as its browser sees it.
func (s *Server) here(x *exchange) string {
	if x.origin.site == s.origins.host {
		return originOf(s.public)
	}
	return x.origin.proto + "://" + x.origin.site
}

// switchURL begins a sign-in although somebody is signed in.
const switchURL = "/auth/login?switch=1"
