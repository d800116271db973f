package signin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"anteroom/session"
)

// Result is a sign-in that succeeded.
type Result struct {
	Grant    session.Grant
	ReturnTo string
}

// Finish judges the callback and finds out who signed in.
// The state is checked against the browser before the code is redeemed, which
// happens once.
func (p *RelyingParty) Finish(r *http.Request) (Result, error) {
	result, kind, err := p.finish(r)
	outcome := "ok"
	var e *Error
	if errors.As(err, &e) {
		outcome = string(e.Kind)
	} else if err != nil {
		outcome = string(Unavailable)
		err = &Error{Kind: Unavailable, Err: err}
	}
	p.metrics.signIns.WithLabelValues(kind, outcome).Inc()
	return result, err
}

func (p *RelyingParty) finish(r *http.Request) (res Result, kind string, err error) {
	prov := p.provider()
	if prov == nil {
		return res, "none", &Error{Kind: Unavailable, Err: p.Ready()}
	}
	kind = prov.kind()
	f, code, err := p.judge(r, prov)
	if err != nil {
		return res, kind, err
	}
	g, err := prov.exchange(r.Context(), code, p.cfg.RedirectURI, f)
	if err != nil {
		return res, kind, withReturn(err, f.ReturnTo)
	}
	if !p.MayEnter(&g.Identity) {
		p.giveBack(r.Context(), prov, g.Tokens)
		return res, kind, &Error{Kind: NotAllowed, Who: &g.Identity, ReturnTo: f.ReturnTo}
	}
	return Result{Grant: g, ReturnTo: f.ReturnTo}, kind, nil
}

// Completed notes that a sign-in of this browser ended in a session, which Start
// looks at: a browser that comes back without it, time and again, is in a loop.
func (p *RelyingParty) Completed(w http.ResponseWriter, r *http.Request) error {
	b := p.readBrowser(r)
	b.completed(p.o.Now())
	return p.writeBrowser(w, b)
}

// giveBack revokes the tokens of somebody who may not enter: Nextcloud's are
// worth a password, and nobody will use them.
func (p *RelyingParty) giveBack(ctx context.Context, prov provider, t session.Tokens) {
	ctx, cancel := context.WithTimeout(ctx, revokeTime)
	defer cancel()
	prov.signOut(ctx, t, "")
}

// revokeTime is how long a person waits for tokens to be given back.
const revokeTime = 3 * time.Second

func withReturn(err error, to string) error {
	var e *Error
	if errors.As(err, &e) {
		e.ReturnTo = to
	}
	return err
}

// Began is the traceparent of the request that began the sign-in which r, a
// callback, is to finish; "" for none. Only the browser that began is told.
func (p *RelyingParty) Began(r *http.Request) string {
	var f flow
	state := r.URL.Query().Get("state")
	if state == "" || len(state) > stateLimit || p.state.Open(state, &f) != nil || p.o.Now().Sub(f.Began) > flowTime {
		return ""
	}
	if b := p.readBrowser(r); b.ID == "" || !f.boundTo(b.ID) {
		return ""
	}
	return f.Trace
}

// judge checks everything about a callback that can be checked without asking
// the provider, and returns the code to redeem.
func (p *RelyingParty) judge(r *http.Request, prov provider) (f flow, code string, err error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(q["state"]) != 1 || len(q["code"]) > 1 || len(q["error"]) > 1 || len(q["iss"]) > 1 || len(q["code"])+len(q["error"]) != 1 {
		return f, "", &Error{Kind: Invalid, Err: errors.New("the callback's parameters are not a provider's answer")}
	}
	if err := p.state.Open(q.Get("state"), &f); err != nil {
		return f, "", &Error{Kind: Invalid, Err: err}
	}
	if err := p.judgeBrowser(r, &f); err != nil {
		return f, "", err
	}
	if f.Kind != prov.kind() {
		return f, "", &Error{Kind: Expired, ReturnTo: f.ReturnTo}
	}
	if err := prov.checkIssuer(q.Get("iss"), q.Has("iss")); err != nil {
		return f, "", &Error{Kind: Invalid, Err: err, ReturnTo: f.ReturnTo}
	}
	if q.Has("error") {
		return f, "", &Error{Kind: Refused, Code: printable(q.Get("error")), ReturnTo: f.ReturnTo}
	}
	return f, q.Get("code"), nil
}

// judgeBrowser checks that this browser began the flow, and not too long ago.
func (p *RelyingParty) judgeBrowser(r *http.Request, f *flow) error {
	name := p.o.Cookies.Name(flowCookie)
	value, tossed := p.o.Cookies.Read(r, name)
	late := p.o.Now().Sub(f.Began) > flowTime
	switch {
	case tossed:
		return &Error{Kind: CookieLost, Cookie: name, Why: Tossed, ReturnTo: f.ReturnTo}
	case value == "" && late: // the cookie has gone with time, not been lost
		return &Error{Kind: Expired, ReturnTo: f.ReturnTo}
	case value == "":
		return &Error{Kind: CookieLost, Cookie: name, Why: p.whyLost(r), ReturnTo: f.ReturnTo}
	}
	b := p.readBrowser(r)
	switch {
	case b.ID != "" && !f.boundTo(b.ID) && !late:
		return &Error{Kind: Invalid, Err: errors.New("another browser or tab began this sign-in"), Again: f.ReturnTo}
	case !f.boundTo(b.ID):
		return &Error{Kind: Invalid, Err: errors.New("another browser began this sign-in")}
	case late:
		return &Error{Kind: Expired, ReturnTo: f.ReturnTo}
	}
	return nil
}

// MayEnter asks allowed_users and allowed_groups: either suffices, none means all.
func (p *RelyingParty) MayEnter(who *session.Identity) bool {
	if len(p.cfg.AllowedGroups) == 0 && len(p.cfg.AllowedUsers) == 0 {
		return true
	}
	return slices.Contains(p.cfg.AllowedUsers, who.Subject) || who.In(p.cfg.AllowedGroups)
}

// printable keeps what is safe to show of a provider's error code.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r
		}
		return -1
	}, s)
	return s[:min(len(s), 64)]
}
