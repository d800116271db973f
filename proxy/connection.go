package proxy

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"anteroom/integrations"
	"anteroom/proxy/audit"
	"anteroom/proxy/pages"
	"anteroom/session"
)

// The doors at which people let us act for them at Nextcloud, or no longer.
const (
	connectAt    = "/auth/nextcloud/connect"
	disconnectAt = "/auth/nextcloud/disconnect"
)

// Why a connection was not made, or not wholly ended: for the audit log.
const (
	reasonOther = "another_account"
	reasonDead  = "refused_by_nextcloud"
	reasonLeft  = "left_at_nextcloud"
)

// granted is where DAV asks for people's app passwords; nil: nobody can grant one.
func (s *Server) granted() integrations.Granted {
	if s.o.Connections == nil {
		return nil
	}
	return s.o.Connections
}

// nextcloudSettings is where Nextcloud lists what a person granted.
func (s *Server) nextcloudSettings() string {
	return strings.TrimSuffix(s.o.NextcloudURL, "/") + "/index.php/settings/user/security"
}

// connectionPart is what the account page says of the caller's connection,
// whether or not anybody can tell.
func (s *Server) connectionPart(x *exchange, who *session.Identity) pages.Connection {
	if s.o.Connections == nil {
		return pages.Connection{}
	}
	part := pages.Connection{Standing: pages.Unconnected, Connect: connectAt, Disconnect: disconnectAt}
	is, found, err := s.o.Connections.Status(x.r.Context(), who.Subject)
	switch {
	case err != nil:
		s.o.Log.Warn("connection not shown", "error", err, "request_id", x.hop.RequestID)
		part.Standing = pages.Unreachable
	case found:
		part.Standing, part.Login, part.Since = pages.Connected, is.Login, is.Since
	case !sessionCredential(x.session).IsZero():
		part.Standing = pages.BySignIn
	}
	return part
}

// connect begins to connect the caller on POST, and on GET looks how far they
// have come.
func (s *Server) connect(x *exchange, who *session.Identity) error {
	c := s.o.Connections
	if c == nil {
		return notOffered()
	}
	look := c.Poll
	if x.r.Method == http.MethodPost {
		look = c.Start
	}
	p, err := look(x.r.Context(), who.Subject, who.SessionID)
	if err != nil {
		return connectionRefusal(err)
	}
	s.connecting(x, p)
	if !navigates(x.r) {
		return writeJSON(x, s.progress(p))
	}
	return s.showProgress(x, p)
}

// connecting writes down what has just come of it.
func (s *Server) connecting(x *exchange, p integrations.Progress) {
	if !p.New {
		return
	}
	e := audit.Event{Kind: audit.ConnectRefused, Status: http.StatusOK}
	switch p.State {
	case integrations.Connected:
		e.Kind = audit.Connected
	case integrations.Refused:
		e.Reason = reasonOther
	case integrations.Dead:
		e.Reason = reasonDead
	}
	s.audit(x, e)
}

// showProgress shows a person how far they have come: a page while there is
// something to do or to read, else the account page.
func (s *Server) showProgress(x *exchange, p integrations.Progress) error {
	x.Header().Set("Cache-Control", "no-store")
	stage, ok := map[integrations.State]pages.Stage{
		integrations.Pending: pages.WaitingForGrant, integrations.Checking: pages.WaitingForCheck,
		integrations.Refused: pages.GrantedByAnother, integrations.Dead: pages.NotAccepted,
	}[p.State]
	switch {
	case !ok:
		http.Redirect(x, x.r, "/auth/#connection", http.StatusSeeOther)
	case x.r.Method == http.MethodPost:
		http.Redirect(x, x.r, connectAt, http.StatusSeeOther)
	default:
		s.o.Pages.Render(x, x.r, http.StatusOK, pages.Connecting{Stage: stage, Login: p.Login, Ends: p.Ends, Away: p.Away, Left: p.Left,
			Here: connectAt, Again: connectAt, Back: "/auth/", Settings: s.nextcloudSettings()})
	}
	return nil
}

// progressDocument is how far somebody has come, as programs read it.
type progressDocument struct {
	State     integrations.State `json:"state"`
	Login     string             `json:"login,omitempty"`   // where the person grants it
	Expires   *time.Time         `json:"expires,omitempty"` // until when
	LoginName string             `json:"login_name,omitempty"`
	Since     *time.Time         `json:"since,omitempty"`
	Left      bool               `json:"left_at_nextcloud,omitempty"`
}

func (s *Server) progress(p integrations.Progress) progressDocument {
	doc := progressDocument{State: p.State, Login: p.Login, LoginName: p.Connection.Login, Left: p.Left}
	if !p.Ends.IsZero() {
		t := p.Ends.UTC()
		doc.Expires = &t
	}
	if p.State == integrations.Connected {
		t := p.Connection.Since.UTC()
		doc.Since = &t
	}
	return doc
}

// disconnect ends the caller's connection. Whoever has none has what they
// wanted.
func (s *Server) disconnect(x *exchange, who *session.Identity) error {
	if s.o.Connections == nil {
		return notOffered()
	}
	was, left, err := s.o.Connections.Revoke(x.r.Context(), who.Subject)
	if err != nil {
		return connectionRefusal(err)
	}
	if was.Login != "" {
		e := audit.Event{Kind: audit.Disconnected, Status: http.StatusOK}
		if left {
			e.Reason = reasonLeft
		}
		s.audit(x, e)
	}
	switch {
	case !navigates(x.r):
		return writeJSON(x, progressDocument{State: integrations.None, Left: left})
	case left:
		s.o.Pages.Render(x, x.r, http.StatusOK, pages.Disconnected{Settings: s.nextcloudSettings(), Back: "/auth/"})
		return nil
	}
	x.Header().Set("Cache-Control", "no-store")
	http.Redirect(x, x.r, "/auth/#connection", http.StatusSeeOther)
	return nil
}

// notOffered is for doors behind which there is nothing: nothing here uses
// people's own credentials.
func notOffered() error {
	return &refusal{status: http.StatusNotFound, reason: reasonNotOffered, page: pages.Error{Status: http.StatusNotFound}}
}

// connectionRefusal is for connections that nobody can tell of now.
func connectionRefusal(err error) error {
	no := &refusal{status: http.StatusServiceUnavailable, cause: err, page: pages.Unavailable{What: "connection", RetryAfter: retryAfter}}
	switch {
	case errors.Is(err, integrations.ErrUnkept):
		no.reason = reasonUnkept
	case errors.Is(err, integrations.ErrAway):
		no.reason = reasonProvider
	default:
		no.status, no.reason, no.page = http.StatusBadGateway, reasonAnswer, nil
	}
	return no
}
