package proxy

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"anteroom/proxy/pages"
	"anteroom/session"
)

// sessionsEnd is where forms that end sessions are posted to.
const sessionsEnd = "/auth/sessions/end"

const (
	sessionsTime = 2 * time.Second // for a store to answer
	sessionsForm = 4 << 10         // the largest form
)

// listSessions finds the sessions of the caller, the current one first.
func (s *Server) listSessions(x *exchange, who *session.Identity) ([]session.Overview, error) {
	ctx, cancel := context.WithTimeout(x.r.Context(), sessionsTime)
	defer cancel()
	list, err := s.o.Sessions.SessionsOf(ctx, who.Subject)
	if i := slices.IndexFunc(list, func(o session.Overview) bool { return current(who, o.ID) }); i > 0 {
		this := list[i]
		list = slices.Insert(slices.Delete(list, i, i+1), 0, this)
	}
	return list, err
}

// current reports whether an id is that of the session the caller came with.
func current(who *session.Identity, id string) bool { return id != "" && id == who.SessionID }

// sessionsPart is what the account page says of the caller's sessions, whether
// or not the store can be asked.
func (s *Server) sessionsPart(x *exchange, who *session.Identity) pages.Sessions {
	part := pages.Sessions{End: sessionsEnd}
	list, err := s.listSessions(x, who)
	switch {
	case errors.Is(err, session.ErrNoList):
		part.Listing = pages.Unlisted
		return part
	case err != nil:
		s.o.Log.Warn("sessions not listed", "error", err, "request_id", x.hop.RequestID)
		part.Listing = pages.Unlistable
		return part
	}
	part.Listing = pages.Listed
	for _, o := range list {
		part.List = append(part.List, pages.Session{ID: o.ID, Agent: o.Agent, Address: o.Address,
			Started: o.Started, LastSeen: o.Seen, Current: current(who, o.ID)})
	}
	return part
}

// sessionDocument is a session as programs read it.
type sessionDocument struct {
	ID       string    `json:"id"`
	Current  bool      `json:"current"`
	Device   string    `json:"device"`
	Address  string    `json:"address"`
	Started  time.Time `json:"started"`
	LastSeen time.Time `json:"last_seen"`
	Ends     time.Time `json:"ends"`
}

// sessions lists the caller's sessions for a program.
func (s *Server) sessions(x *exchange, who *session.Identity) error {
	list, err := s.listSessions(x, who)
	if err != nil {
		return sessionsRefusal(err, refuseByProblem)
	}
	out := make([]sessionDocument, 0, len(list))
	for _, o := range list {
		out = append(out, sessionDocument{ID: o.ID, Current: current(who, o.ID), Device: s.o.Pages.Device(o.Agent), Address: o.Address,
			Started: o.Started.UTC(), LastSeen: o.Seen.UTC(), Ends: o.Ends.UTC()})
	}
	return writeJSON(x, out)
}

// endSession ends one of the caller's sessions, or all but the one they came
// with. A person who ends that one, too, is signed out.
func (s *Server) endSession(x *exchange, who *session.Identity) error {
	id, others, ok := readEnding(x)
	if !ok || others && x.session == nil {
		return &refusal{status: http.StatusBadRequest, reason: reasonForm, page: pages.Error{Status: http.StatusBadRequest, RequestID: x.hop.RequestID},
			text: "Send a form with either session=<id> or others=1."}
	}
	if current(who, id) && navigates(x.r) {
		return s.signOut(x)
	}
	found, err := s.revoke(x, who, id, others)
	if err != nil {
		return sessionsRefusal(err, refuseByCaller)
	}
	x.Header().Set("Cache-Control", "no-store")
	if navigates(x.r) { // who wanted a session gone that is gone already has what they wanted
		http.Redirect(x, x.r, "/auth/", http.StatusSeeOther)
		return nil
	}
	if !found && !others {
		return &refusal{status: http.StatusNotFound, reason: reasonSession, text: "None of your sessions has that id."}
	}
	if current(who, id) {
		s.o.Cookies.Clear(x, s.o.Cookies.Name(""))
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// readEnding reads which session a form means: one by its id, or all others.
// It reports false for a form that means both, or neither.
func readEnding(x *exchange) (id string, others, ok bool) {
	x.r.Body = http.MaxBytesReader(x, x.r.Body, sessionsForm)
	if kind, _ := mediaType(x.r); kind != "application/x-www-form-urlencoded" || x.r.ParseForm() != nil {
		return "", false, false
	}
	one, rest := x.r.PostForm["session"], x.r.PostForm["others"]
	switch {
	case len(one) == 1 && len(rest) == 0:
		return one[0], false, one[0] != ""
	case len(one) == 0 && len(rest) == 1:
		return "", true, rest[0] == "1"
	}
	return "", false, false
}

// revoke ends sessions of the caller's. What has begun is not left half done
// because the client went away.
func (s *Server) revoke(x *exchange, who *session.Identity, id string, others bool) (found bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), sessionsTime)
	defer cancel()
	if others {
		n, err := s.o.Sessions.RevokeOthers(ctx, x.session, session.EndRevoked)
		return n > 0, err
	}
	return s.o.Sessions.Revoke(ctx, who.Subject, id, session.EndRevoked)
}

// sessionsRefusal is for lists that cannot be had.
func sessionsRefusal(err error, style refusalStyle) error {
	if errors.Is(err, session.ErrNoList) {
		return &refusal{status: http.StatusNotFound, reason: reasonNoList, cause: err, style: style,
			page: pages.Error{Status: http.StatusNotFound},
			text: "The sessions are kept in the browsers here, so that there is no list of them."}
	}
	return &refusal{status: http.StatusServiceUnavailable, reason: reasonBroken, cause: err, style: style}
}
