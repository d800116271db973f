package proxy

import (
	"encoding/json"
	"net/http"
	"time"

	"anteroom/proxy/pages"
	"anteroom/session"
)

// account is the page about the caller.
func (s *Server) account(x *exchange, who *session.Identity) error {
	page := pages.Account{Identity: who, Provider: s.o.NextcloudURL, SignOut: "/auth/logout"}
	if x.session != nil {
		t := s.o.Sessions.Times(x.session)
		page.Started, page.LastSeen, page.Ends, page.IdleEnds = t.Started, t.LastSeen, t.Ends, t.IdleEnds
		page.Sessions = s.sessionsPart(x, who)
		page.Access = s.connectionPart(x, who)
	}
	s.o.Pages.Render(x, x.r, http.StatusOK, page)
	return nil
}

// me tells a program who its caller is.
func (s *Server) me(x *exchange, who *session.Identity) error {
	out := struct {
		Subject  string     `json:"sub"`
		AppID    string     `json:"app_id,omitempty"`
		Username string     `json:"preferred_username"`
		Name     string     `json:"name,omitempty"`
		Email    string     `json:"email,omitempty"`
		Groups   []string   `json:"groups"`
		Session  string     `json:"sid,omitempty"`
		AuthTime *time.Time `json:"auth_time,omitempty"`
		Ends     *time.Time `json:"session_ends,omitempty"`
		IdleEnds *time.Time `json:"session_idle_ends,omitempty"`
	}{Subject: who.Subject, AppID: who.AppID, Username: who.Username, Name: who.Name, Email: who.Email, Groups: who.Groups, Session: who.SessionID}
	if out.Groups == nil {
		out.Groups = []string{}
	}
	if x.session != nil {
		t := s.o.Sessions.Times(x.session)
		out.AuthTime, out.Ends, out.IdleEnds = &t.Started, &t.Ends, &t.IdleEnds
	}
	return writeJSON(x, out)
}

// token hands the caller an identity JWT of their own, for programs that
// cannot read the request headers the application gets. The parameter audience
// of the query chooses among the configured ones. With such a JWT one gets no
// other: an application could go on to the next with it.
func (s *Server) token(x *exchange, who *session.Identity) error {
	audience := s.audienceFor(x, who, x.r.URL.Query().Get("audience"))
	if audience == "" || s.o.Identity.JWT.Algorithm == "none" {
		return &refusal{status: http.StatusBadRequest, reason: reasonAudience, style: refuseByProblem}
	}
	jwt, expires, err := s.o.Asserter.Fresh(who, audience)
	if err != nil {
		return err
	}
	return writeJSON(x, map[string]any{
		"access_token": jwt, "token_type": "Bearer",
		"expires_in": int(expires.Sub(s.o.Now()).Round(time.Second) / time.Second),
	})
}

// audienceFor is the audience a caller asked for, or the first there is, if
// the caller may use a route that has it; "" if not. Who came with an
// Authorization may use those routes alone that know callers by it: else an app
// password were as good as a session.
func (s *Server) audienceFor(x *exchange, who *session.Identity, asked string) string {
	for i := range s.apps {
		allow := s.policy.Rule(i).Allow
		if (asked == "" || asked == s.audiences[i]) && (x.session != nil || len(allow.Clients) > 0) && allow.Permits(who) {
			return s.audiences[i]
		}
	}
	return ""
}

func (s *Server) keys(x *exchange, _ *session.Identity) error {
	s.o.Keys.ServeJWKS(x, x.r)
	return nil
}

func (s *Server) asset(x *exchange, _ *session.Identity) error {
	s.o.Pages.Assets().ServeHTTP(x, x.r)
	return nil
}

// writeJSON answers a program with something about its caller: for nobody
// else's eyes, and no cache's.
func writeJSON(x *exchange, v any) error {
	h := x.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	return json.NewEncoder(x).Encode(v)
}
