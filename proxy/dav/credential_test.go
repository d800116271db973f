package dav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"anteroom/integrations"
	"anteroom/session"
)

// TestUsersOwn: each person's own credential goes up, and what the server says
// of it is theirs.
func TestUsersOwn(t *testing.T) {
	status := 401
	var body string
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
	cfg := services(u.URL)
	cfg.WebDAV.Username, cfg.WebDAV.Credential = "", "user"
	var refusedCredential session.Credential
	granted := &grants{of: map[string]session.Credential{"ada": {User: "ada@example.com", Secret: "canary-app-password"}}}
	s, err := New(cfg, Options{Client: &http.Client{Transport: &http.Transport{}}, Public: "http://voice", Ours: func(string) bool { return true },
		Access: &integrations.Access{Granted: granted, Public: "http://voice", Refused: func(c session.Credential) { refusedCredential = c }}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(c Call) (int, string, string) {
		w := httptest.NewRecorder()
		c.Path = "/dav/x"
		err := s.Serve(w, httptest.NewRequest("PROPFIND", "/dav/x", nil), &c)
		header := ""
		if h := u.heard(); len(h) > 0 {
			header = h[0].h.Get("Authorization")
		}
		var no *Refusal
		if errors.As(err, &no) {
			return no.Status, no.Reason, header
		}
		return w.Code, "", header
	}
	ada := &session.Identity{Subject: "ada", Method: session.ByOIDC}
	bob := &session.Identity{Subject: "bob", Method: session.ByOIDC}
	own := session.Credential{User: "ada", Secret: "own"}
	tests := []struct {
		name       string
		call       Call
		status     int
		body       string
		want       int
		wantReason string
		wantHeader string
	}{
		{"what came with the request", Call{Caller: integrations.Caller{Who: ada, Own: own}}, 207, "", 207, "", "Basic YWRhOm93bg=="},
		{"what came with the request, refused", Call{Caller: integrations.Caller{Who: ada, Own: own}}, 401, "", 401, integrations.ReasonOwn, "Basic YWRhOm93bg=="},
		{"the session's token", Call{Caller: integrations.Caller{Who: ada, Session: session.Credential{Secret: "token"}}}, 207, "", 207, "", "Bearer token"},
		{"the session's token, refused", Call{Caller: integrations.Caller{Who: ada, Session: session.Credential{Secret: "token"}}}, 401, "", 502, integrations.ReasonToken, "Bearer token"},
		{"granted", Call{Caller: integrations.Caller{Who: ada}}, 207, "", 207, "", "Basic YWRhQGV4YW1wbGUuY29tOmNhbmFyeS1hcHAtcGFzc3dvcmQ="},
		{"disabled", Call{Caller: integrations.Caller{Who: ada}}, 500, `<s:exception>OC\User\LoginException</s:exception>`, 403, integrations.ReasonDisabled, "Basic YWRhQGV4YW1wbGUuY29tOmNhbmFyeS1hcHAtcGFzc3dvcmQ="},
		{"another fault of the server's", Call{Caller: integrations.Caller{Who: ada}}, 500, `<s:exception>Error</s:exception>`, 500, "", "Basic YWRhQGV4YW1wbGUuY29tOmNhbmFyeS1hcHAtcGFzc3dvcmQ="},
		{"granted, refused", Call{Caller: integrations.Caller{Who: ada}}, 401, "", 403, integrations.ReasonConnect, "Basic YWRhQGV4YW1wbGUuY29tOmNhbmFyeS1hcHAtcGFzc3dvcmQ="},
		{"never granted", Call{Caller: integrations.Caller{Who: bob}}, 207, "", 403, integrations.ReasonConnect, ""},
		{"a program has nothing of its own", Call{Caller: integrations.Caller{Who: &session.Identity{Subject: "client:x", Method: session.ByClient}}}, 207, "", 403, integrations.ReasonConnect, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body = tt.status, tt.body
			got, reason, header := ask(tt.call)
			if got != tt.want || reason != tt.wantReason || header != tt.wantHeader {
				t.Errorf("= %d %s with %q, want %d %s with %q", got, reason, header, tt.want, tt.wantReason, tt.wantHeader)
			}
		})
	}
	if refusedCredential != own || fmt.Sprint(granted.forgotten) != "[ada]" {
		t.Errorf("told of %v and %v, want ada's", refusedCredential.User, granted.forgotten)
	}
	granted.err = errors.New("away")
	if got, reason, _ := ask(Call{Caller: integrations.Caller{Who: ada}}); got != 503 || reason != integrations.ReasonConnections {
		t.Errorf("with the connections away = %d %s, want 503: broken is not refused", got, reason)
	}
}

type grants struct {
	of        map[string]session.Credential
	forgotten []string
	err       error
}

func (g *grants) Of(_ context.Context, subject string) (session.Credential, bool, error) {
	c, ok := g.of[subject]
	return c, ok, g.err
}

func (g *grants) Forget(_ context.Context, subject string, _ session.Credential) {
	g.forgotten = append(g.forgotten, subject)
}
