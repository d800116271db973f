package proxy

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"anteroom/proxy/audit"
	"anteroom/proxy/pages"
	"anteroom/proxy/throttle"
	"anteroom/proxy/upstream"
	"anteroom/session"
	"anteroom/session/signin"
)

// login starts a sign-in, unless the caller is signed in already and did not
// ask to switch.
func (s *Server) login(x *exchange, who *session.Identity) error {
	query := x.r.URL.Query()
	back := s.o.SignIn.ReturnTo(query.Get("return_to"))
	if who != nil && query.Get("switch") == "" {
		return s.goOn(x, back)
	}
	if err := s.o.SignIn.Start(x, x.r, back); err != nil {
		return s.signInRefusal(x, err)
	}
	return nil
}

// callback finishes a sign-in. One that comes too late, or twice, does no harm
// to a person who is signed in: they go on. One that another tab got in the way
// of starts anew. One whose session could not be kept is not redeemed: loading
// the page again finishes it.
func (s *Server) callback(x *exchange, who *session.Identity) error {
	if err := s.o.Sessions.Writable(x.r.Context()); err != nil {
		return s.beginRefusal(err)
	}
	result, err := s.o.SignIn.Finish(x.r)
	if err != nil {
		var failed *signin.Error
		if errors.As(err, &failed) && who != nil && (failed.Kind == signin.Expired || failed.Kind == signin.Invalid || failed.Kind == signin.CookieLost) {
			return s.goOn(x, s.o.SignIn.ReturnTo(cmp.Or(failed.ReturnTo, failed.Again)))
		}
		if failed != nil && failed.Again != "" && navigates(x.r) {
			err = s.o.SignIn.Start(x, x.r, failed.Again)
		}
		if err == nil {
			return nil
		}
		return s.signInRefusal(x, err)
	}
	if err := s.rated(x, s.rates.signInAccount, throttle.Account(result.Grant.Identity.Subject), refuseByPage); err != nil {
		x.who = &result.Grant.Identity                      // for the audit log
		if result.Grant.Identity.Method != session.ByOIDC { // there it could end another sign-in of the same browser
			s.returnGrant(x, result.Grant)
		}
		return err
	}
	if err := s.provision(x, &result); err != nil {
		return err
	}
	begun, err := s.o.Sessions.Begin(x, x.r, result.Grant, x.origin.client)
	if err != nil {
		return s.beginRefusal(err)
	}
	x.who = begun.Who()
	if err := s.audit(x, audit.Event{Kind: audit.SignIn, Status: http.StatusOK}.By(x.who)); err != nil {
		x.Header().Del("Set-Cookie") // nobody else knows what opens the session
		ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), signOutTimeout)
		defer cancel()
		if err := s.o.Sessions.EndOne(ctx, begun, session.EndRevoked); err != nil {
			s.o.Log.Warn("session of an unfinished sign-in not ended", "error", err, "request_id", x.hop.RequestID)
		}
		s.returnGrant(x, result.Grant)
		x.who = nil
		return &refusal{status: http.StatusServiceUnavailable, reason: reasonAudit, cause: err, style: refuseByPage, page: pages.Unavailable{What: "store", RetryAfter: retryAfter}}
	}
	if err := s.o.SignIn.Completed(x, x.r); err != nil { // without it, no loop is noticed
		s.o.Log.Warn("sign-in not noted in the browser", "error", err, "request_id", x.hop.RequestID)
	}
	return s.goOn(x, result.ReturnTo)
}

// provision tells the application who is about to come, and learns by which id
// it knows them. A person whom it does not want, or without whom it could not be
// told and has to be, does not come in; what the provider gave is given back.
func (s *Server) provision(x *exchange, result *signin.Result) error {
	if s.o.Provisioner == nil {
		return nil
	}
	who := &result.Grant.Identity
	who.AuthTime = s.o.Now()
	err := s.o.Provisioner.Tell(x.r.Context(), who)
	e := audit.Event{Kind: audit.Provisioned, Status: http.StatusOK}.By(who)
	refused := errors.Is(err, upstream.ErrProvisionRefused)
	if err != nil {
		e.Status, e.Reason = http.StatusServiceUnavailable, string(reasonProvision)
	}
	if refused {
		e.Status, e.Reason = http.StatusForbidden, string(reasonNotAllowed)
	}
	s.audit(x, e)
	switch {
	case err == nil, !refused && !s.o.Provisioner.Required():
		return nil
	}
	s.returnGrant(x, result.Grant)
	if refused {
		return &refusal{status: http.StatusForbidden, reason: reasonNotAllowed, cause: err, style: refuseByPage, page: pages.NotAllowed{Identity: who, Switch: switchURL, ByApp: true}}
	}
	return &refusal{status: http.StatusServiceUnavailable, reason: reasonProvision, cause: err, style: refuseByPage, page: pages.Unavailable{What: "provision", RetryAfter: retryAfter}}
}

// returnGrant gives back what the provider gave for a sign-in that is not finished.
func (s *Server) returnGrant(x *exchange, g session.Grant) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), signOutTimeout)
	defer cancel()
	s.o.SignIn.SignOut(ctx, g, "")
}

// goOn sends a browser to a place on this site, or on one it shares sign-in
// with. Where the redirect itself could go wrong — a SameSite=Strict cookie is
// not sent on it, and the grant page's form-action forbids another origin —
// a page goes on instead.
func (s *Server) goOn(x *exchange, to string) error {
	x.Header().Set("Cache-Control", "no-store")
	if s.o.Cookies.Strict() || !strings.HasPrefix(to, "/") {
		s.o.Pages.Render(x, x.r, http.StatusOK, pages.Continue{To: to})
		return nil
	}
	x.Header().Set("Location", to) // as it is: http.Redirect would clean the path
	x.WriteHeader(http.StatusSeeOther)
	return nil
}

// signedIn is where a sign-in in a tab of its own ends.
func (s *Server) signedIn(x *exchange, _ *session.Identity) error {
	s.o.Pages.Render(x, x.r, http.StatusOK, pages.SignedIn{})
	return nil
}

// signOutTimeout is how long the provider may take to revoke tokens; the
// person is signed out here before.
const signOutTimeout = 5 * time.Second

// logout asks on GET and signs out on POST.
func (s *Server) logout(x *exchange, who *session.Identity) error {
	switch {
	case x.r.Method != http.MethodPost && who != nil:
		s.o.Pages.Render(x, x.r, http.StatusOK, pages.SignOutAsk{Identity: who, Action: "/auth/logout", Back: "/"})
		return nil
	case x.r.Method != http.MethodPost && len(s.o.Cookies.All(x.r, s.o.Cookies.Name(""))) > 0: // not usable now, perhaps later
		s.o.Pages.Render(x, x.r, http.StatusOK, pages.SignOutAsk{Action: "/auth/logout", Back: "/"})
		return nil
	case x.r.Method != http.MethodPost:
		s.o.Pages.Render(x, x.r, http.StatusOK, pages.SignedOut{SignIn: "/auth/login", Provider: x.r.URL.Query().Get("state") != ""})
		return nil
	}
	return s.signOut(x)
}

// signOut ends every session the request's cookies open, whether or not it
// could be used at the moment: whoever reads "you are signed out" is.
func (s *Server) signOut(x *exchange) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), signOutTimeout)
	defer cancel()
	grants, err := s.o.Sessions.End(ctx, x, x.r, session.EndSignedOut)
	status := http.StatusOK
	if err != nil { // those are ended here, and elsewhere once the store can be told
		status = http.StatusServiceUnavailable
	}
	to := ""
	for _, g := range grants {
		s.audit(x, audit.Event{Kind: audit.SignOut, Status: status}.By(&g.Identity))
		to = cmp.Or(s.o.SignIn.SignOut(ctx, g, originOf(s.public)+"/auth/logout"), to)
	}
	if err != nil {
		return &refusal{status: status, reason: reasonBroken, cause: err, style: refuseByPage, page: pages.Unavailable{What: "sign_out", RetryAfter: retryAfter}}
	}
	s.o.SignIn.Forget(x)
	if to != "" {
		return s.goOn(x, to)
	}
	http.Redirect(x, x.r, "/auth/logout", http.StatusSeeOther)
	return nil
}

// signInRefusal puts a sign-in's error into a page.
func (s *Server) signInRefusal(x *exchange, err error) error {
	var e *signin.Error
	if !errors.As(err, &e) {
		return err
	}
	no := &refusal{status: http.StatusBadRequest, reason: reasonSignIn, cause: err, style: refuseByPage}
	failed := pages.SignInFailed{Cookie: e.Cookie, Why: pages.Why(e.Why), Want: s.origins.host, Got: x.origin.site, Retry: originOf(s.public) + "/auth/login?return_to=" + url.QueryEscape(s.o.SignIn.ReturnTo(e.ReturnTo))}
	switch e.Kind {
	case signin.Unavailable:
		no.status, no.reason = http.StatusServiceUnavailable, reasonProvider
		no.page = pages.Unavailable{What: "nextcloud", RetryAfter: retryAfter}
		return no
	case signin.NotAllowed:
		no.status, no.reason = http.StatusForbidden, reasonNotAllowed
		no.page = pages.NotAllowed{Identity: e.Who, Switch: switchURL}
		return no
	case signin.Refused:
		failed.Reason, failed.Detail = pages.ReasonProvider, e.Code
	case signin.Expired:
		failed.Reason = pages.ReasonExpired
	case signin.CookieLost:
		failed.Reason = pages.ReasonCookieLost
	case signin.Loop:
		failed.Reason = pages.ReasonLoop
	default:
		failed.Reason = pages.ReasonInvalid
	}
	no.page = failed
	return no
}

// beginRefusal is for a person who signed in but whose session cannot be kept.
func (s *Server) beginRefusal(err error) error {
	no := &refusal{status: http.StatusServiceUnavailable, reason: reasonBroken, cause: err, style: refuseByPage}
	if errors.Is(err, session.ErrTooLarge) {
		no.status, no.reason = http.StatusInternalServerError, reasonSignIn
		no.page = pages.SignInFailed{Reason: pages.ReasonTooLarge, Cookie: s.o.Cookies.Name(""), Retry: "/auth/login"}
	}
	return no
}
