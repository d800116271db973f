package dav

import (
	"context"
	"net/http"

	"anteroom/session"
)

// Connections has the app passwords that people granted us. Of reports false
// for somebody who granted none; an error means that nobody can tell. Forget is
// told of one that Nextcloud refuses.
type Connections interface {
	Of(ctx context.Context, subject string) (session.Credential, bool, error)
	Forget(ctx context.Context, subject string, refused session.Credential)
}

// means is by what a request goes to the server.
type means int

const (
	byService    means = iota // the configured account
	byRequest                 // what the request itself came with
	bySession                 // the token of the caller's session
	byConnection              // the app password that the caller granted
)

// credential finds what a call goes to the server with.
func (s *Service) credential(ctx context.Context, m *Mount, c *Call) (session.Credential, means, error) {
	switch {
	case m.ByService():
		return m.cfg.Account(), byService, nil
	case !c.Own.IsZero():
		return c.Own, byRequest, nil
	case !c.Session.IsZero():
		return c.Session, bySession, nil
	case s.o.Connections == nil, c.Who.Method == session.ByClient, c.Who.Method == session.ByToken: // a token opens what it opens itself
		return session.Credential{}, 0, s.notConnected()
	}
	cred, ok, err := s.o.Connections.Of(ctx, c.Who.Subject)
	switch {
	case err != nil:
		return cred, 0, &Refusal{Status: http.StatusServiceUnavailable, Reason: reasonConnection, Text: "Your Nextcloud connection cannot be looked up at the moment.", RetryAfter: shortWait, Err: err}
	case !ok:
		return cred, 0, s.notConnected()
	}
	return cred, byConnection, nil
}

func (s *Service) notConnected() *Refusal {
	return &Refusal{Status: http.StatusForbidden, Reason: reasonConnect, Text: "Connect your Nextcloud account first, at " + s.o.Public + "/auth/"}
}

// unauthorized is what a 401 of the server's means: never that the client's
// password is wrong, unless it was the client's that was refused.
func (s *Service) unauthorized(ctx context.Context, x *call) *Refusal {
	switch x.by {
	case byService:
		s.o.Log.Error("nextcloud refuses the service account: renew integrations."+x.mount.Name+".password", "integration", x.mount.Name, "request_id", x.c.RequestID)
		return &Refusal{Status: http.StatusBadGateway, Reason: reasonService, Text: "Nextcloud refuses the service account of this gateway; its operator has to renew it. Your own password is not at fault."}
	case byRequest:
		if s.o.Refused != nil {
			s.o.Refused(x.c.Own)
		}
		return &Refusal{Status: http.StatusUnauthorized, Reason: reasonOwn, Text: "Nextcloud refuses these credentials.", Challenge: true}
	case byConnection:
		s.o.Connections.Forget(ctx, x.c.Who.Subject, x.cred)
		return s.notConnected()
	}
	return &Refusal{Status: http.StatusBadGateway, Reason: reasonToken, Text: "Nextcloud no longer accepts your sign-in. Sign in again at " + s.o.Public + "/auth/login"}
}
