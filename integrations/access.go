package integrations

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"anteroom/session"
)

// Caller is who asks, and what they bring that opens Nextcloud.
type Caller struct {
	Who     *session.Identity
	Own     session.Credential // that the request came with; zero for none
	Session session.Credential // that the caller's session has; zero for none

	ForwardedFor, RequestID, Traceparent string
}

// Granted has the app passwords that people granted us. Of reports false for
// somebody who granted none; an error means that nobody can tell. Forget is
// told of one that Nextcloud refuses.
type Granted interface {
	Of(ctx context.Context, subject string) (session.Credential, bool, error)
	Forget(ctx context.Context, subject string, refused session.Credential)
}

// Means is by what a request goes to a server.
type Means int

// The means, in the order in which they are looked for.
const (
	ByService    Means = iota // the configured account
	ByRequest                 // what the request itself came with
	BySession                 // the token of the caller's session
	ByConnection              // the app password that the caller granted
)

// Access finds with whose credential a caller's request goes to Nextcloud, and
// what it means when Nextcloud wants none of it. Safe for concurrent use.
type Access struct {
	Granted Granted                  // nil: nobody can grant an app password
	Refused func(session.Credential) // told of what a request came with and Nextcloud refuses, though it was good before; nil: nobody is
	Public  string                   // our origin
	Log     *slog.Logger             // nil: nothing is logged
}

// Grant is a credential for one caller's requests to one service.
type Grant struct {
	Credential session.Credential
	By         Means
	File       *SecretFile // that the service account's password is kept in; nil: in none
	Service    string      // as the configuration calls it: webdav, caldav, carddav, directory
	Caller     *Caller
}

// As is the service account's name; "" for a person's own.
func (g *Grant) As() string {
	if g.By != ByService {
		return ""
	}
	return g.Credential.User
}

// For finds the credential for a caller at a DAV service. A refusal is a
// *Problem.
func (a *Access) For(ctx context.Context, service string, d *DAV, c *Caller) (Grant, error) {
	g := Grant{Service: service, Caller: c}
	switch {
	case d.ByService():
		g.Credential, g.By, g.File = d.Account(), ByService, d.File
		return g, nil
	case !c.Own.IsZero():
		g.Credential, g.By = c.Own, ByRequest
		return g, nil
	case !c.Session.IsZero():
		g.Credential, g.By = c.Session, BySession
		return g, nil
	case a.Granted == nil, c.Who.Method == session.ByClient, c.Who.Method == session.ByToken: // a token opens what it opens itself
		return g, a.notConnected()
	}
	cred, ok, err := a.Granted.Of(ctx, c.Who.Subject)
	switch {
	case err != nil:
		return g, &Problem{Status: http.StatusServiceUnavailable, Reason: ReasonConnections, Text: "Your Nextcloud connection cannot be looked up at the moment.", RetryAfter: shortWait, Err: err}
	case !ok:
		return g, a.notConnected()
	}
	g.Credential, g.By = cred, ByConnection
	return g, nil
}

func (a *Access) notConnected() *Problem {
	return &Problem{Status: http.StatusForbidden, Reason: ReasonConnect, Text: "Connect your Nextcloud account first, at " + a.Public + "/auth/"}
}

// unauthorized is what a 401 of the server's means: never that the caller's
// password is wrong, unless it was the caller's that was refused.
func (a *Access) unauthorized(g *Grant, resp *http.Response) *Problem {
	ctx := resp.Request.Context()
	switch g.By {
	case ByService:
		if g.renewed(resp) {
			return &Problem{Status: http.StatusServiceUnavailable, Reason: ReasonBusy, Text: "The service account's password was exchanged at this moment: try again.", RetryAfter: time.Second}
		}
		a.log(g, slog.LevelError, "nextcloud refuses the service account: renew integrations."+g.Service+".password")
		return &Problem{Status: http.StatusBadGateway, Reason: ReasonService, Text: "Nextcloud refuses the service account of this gateway; its operator has to renew it. Your own password is not at fault."}
	case ByRequest:
		if a.Refused != nil {
			a.Refused(g.Caller.Own)
		}
		return &Problem{Status: http.StatusUnauthorized, Reason: ReasonOwn, Text: "Nextcloud refuses these credentials."}
	case ByConnection:
		a.Granted.Forget(ctx, g.Caller.Who.Subject, g.Credential)
		return a.notConnected()
	}
	return &Problem{Status: http.StatusBadGateway, Reason: ReasonToken, Text: "Nextcloud no longer accepts your sign-in. Sign in again at " + a.Public + "/auth/login"}
}

// MaintenanceWait is what callers are told to wait when a server is not
// available and does not say for how long: what Nextcloud says, where it does.
const MaintenanceWait = 2 * time.Minute

const (
	shortWait     = 5 * time.Second
	throttledWait = 30 * time.Second
	maxWait       = time.Hour
	maxPeek       = 4 << 10
)

// Trouble tells what is wrong between us and the server from what the server
// says to the caller; nil for an answer that is the caller's. The answer's body
// stays whole.
func (a *Access) Trouble(g *Grant, resp *http.Response) *Problem {
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		return a.unauthorized(g, resp)
	case status == http.StatusTooManyRequests:
		a.log(g, slog.LevelWarn, "nextcloud throttles our requests: let it trust this proxy, so that it counts by client (trusted_proxies)")
		return &Problem{Status: status, Reason: ReasonThrottled, Text: "Nextcloud asks to slow down.", RetryAfter: waitOf(resp, throttledWait)}
	case status == http.StatusServiceUnavailable:
		a.log(g, slog.LevelWarn, "nextcloud is not available: maintenance, or too much to do")
	case status == http.StatusInternalServerError && g.By != ByService && Peek(resp, `OC\User\LoginException`):
		return &Problem{Status: http.StatusForbidden, Reason: ReasonDisabled, Text: "Nextcloud has disabled this account."}
	case status == http.StatusBadRequest && !strings.Contains(resp.Header.Get("Content-Type"), "xml") && Peek(resp, "rusted domain"):
		a.log(g, slog.LevelWarn, "nextcloud does not trust the name it is called by: add the host of integrations."+g.Service+".url to its trusted_domains")
		return &Problem{Status: http.StatusBadGateway, Reason: ReasonUntrusted, Text: "Nextcloud does not answer to the name it is called by; the operator of this gateway has to change that."}
	}
	return nil
}

// waitOf is what an answer tells to wait.
func waitOf(resp *http.Response, unsaid time.Duration) time.Duration {
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		return min(time.Duration(n)*time.Second, maxWait)
	}
	return unsaid
}

// NotDAV is what a page in the place of a DAV server's answer means.
func (a *Access) NotDAV(g *Grant) *Problem {
	a.log(g, slog.LevelWarn, "what answers is no DAV server: integrations."+g.Service+".url should end in /remote.php/dav, or lie below it")
	return &Problem{Status: http.StatusBadGateway, Reason: ReasonNotDAV, Text: "What answers in Nextcloud's place is no DAV server."}
}

func (a *Access) log(g *Grant, level slog.Level, text string) {
	if a.Log != nil {
		a.Log.Log(context.Background(), level, text, "integration", g.Service, "request_id", g.Caller.RequestID)
	}
}

// Peek looks for a text at the start of an answer's body, which stays whole.
func Peek(resp *http.Response, texts ...string) bool {
	b := bufio.NewReaderSize(resp.Body, maxPeek)
	start, _ := b.Peek(maxPeek)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{b, resp.Body}
	for _, t := range texts {
		if bytes.Contains(start, []byte(t)) {
			return true
		}
	}
	return false
}

// Lost names what went wrong between us and the server, where it was no answer.
func Lost(err error) *Problem {
	var slow net.Error
	if p, ok := ProblemOf(err); ok {
		return p
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &Problem{Status: http.StatusBadGateway, Reason: ReasonGone, Text: "The request ended meanwhile.", Err: session.WithoutURL(err)}
	case errors.As(err, &slow) && slow.Timeout():
		return &Problem{Status: http.StatusGatewayTimeout, Reason: ReasonSlow, Text: "Nextcloud takes too long to answer.", Err: session.WithoutURL(err)}
	}
	text := session.WithoutQuoted(session.WithoutURL(err).Error())
	return &Problem{Status: http.StatusBadGateway, Reason: ReasonAway, Text: "Nextcloud does not answer.", Err: errors.New(text)}
}
