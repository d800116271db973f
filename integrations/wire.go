package integrations

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// Wire is an HTTP client for the requests of one caller at one service: each
// carries the credential and says whom it is for. It follows no redirect, and
// what is wrong between us and the server comes as a *Problem, whichever
// library asks. The base client's timeout is not used: requests end with their
// context.
func (a *Access) Wire(base *http.Client, g *Grant) *http.Client {
	return &http.Client{Transport: &wire{a, g, base}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

type wire struct {
	a    *Access
	g    *Grant
	base *http.Client
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	r = r.Clone(ctx)
	cred := w.g.Credential
	if w.g.By == ByService && w.g.File != nil {
		cred.Secret = w.g.File.Secret() // one operation may be many requests
	}
	cred.Set(r.Header)
	c := w.g.Caller
	for name, value := range map[string]string{"X-Forwarded-For": c.ForwardedFor, "X-Request-Id": c.RequestID, "Traceparent": c.Traceparent} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header.Set("User-Agent", "Anteroom")
	}
	t := w.base.Transport
	if t == nil {
		t = http.DefaultTransport
	}
	resp, err := w.g.Send(t, r)
	if err != nil {
		cancel()
		return nil, Lost(err)
	}
	resp.Body = &watched{ReadCloser: resp.Body, cancel: cancel}
	if p := w.judge(resp); p != nil {
		resp.Body.Close()
		return nil, p
	}
	resp.Header.Del("Set-Cookie")
	return resp, nil
}

// stallTime is how long a server may be silent within an answer. How long its
// caller takes with what is there does not count.
const stallTime = 30 * time.Second

// watched is an answer's body that a server's silence ends.
type watched struct {
	io.ReadCloser
	cancel func() // of the request
	timer  *time.Timer
	silent atomic.Bool
}

// Read implements io.Reader.
func (b *watched) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(stallTime, func() {
			b.silent.Store(true)
			b.cancel()
		})
	} else {
		b.timer.Reset(stallTime)
	}
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && b.silent.Load() {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// Close implements io.Closer.
func (b *watched) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// judge is what an answer means that is not the caller's.
func (w *wire) judge(resp *http.Response) *Problem {
	if p := w.a.Trouble(w.g, resp); p != nil {
		return p
	}
	switch status := resp.StatusCode; {
	case status == http.StatusServiceUnavailable:
		return &Problem{Status: status, Reason: ReasonMaintenance, Text: "Nextcloud is in maintenance, or has too much to do.", RetryAfter: waitOf(resp, MaintenanceWait)}
	case status/100 == 3 && status != http.StatusNotModified:
		return &Problem{Status: http.StatusBadGateway, Reason: ReasonRedirect, Text: "Nextcloud redirects to another place; that is not followed.", Err: errors.New("to " + whereTo(resp))}
	}
	return nil
}

// whereTo is the scheme and host of a redirect, for the log.
func whereTo(resp *http.Response) string {
	u, err := resp.Location()
	if err != nil {
		return "nowhere"
	}
	return u.Scheme + "://" + u.Host
}

// Answered is the problem that a server's refusal of an operation is; nil for
// an answer that is none. what is what was asked for, in the caller's words,
// such as "file" or "calendar".
func Answered(resp *http.Response, what string) *Problem {
	switch status := resp.StatusCode; {
	case status < 300 || status == http.StatusNotModified:
		return nil
	case status == http.StatusNotFound:
		return NotFound(what)
	case status == http.StatusPreconditionFailed:
		return &Problem{Status: status, Reason: ReasonChanged, Text: "The " + what + " is not as If-Match or If-None-Match want it."}
	case status == http.StatusForbidden:
		return &Problem{Status: status, Reason: ReasonForbidden, Text: "Nextcloud does not let this account do that."}
	case status == http.StatusConflict:
		return &Problem{Status: status, Reason: ReasonConflict, Text: "The folder that it would lie in does not exist."}
	case status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented:
		return &Problem{Status: http.StatusConflict, Reason: ReasonConflict, Text: "That cannot be done with this " + what + "."}
	case status == http.StatusLocked:
		return &Problem{Status: status, Reason: ReasonLocked, Text: "The " + what + " is locked."}
	case status == http.StatusInsufficientStorage:
		return &Problem{Status: status, Reason: ReasonQuota, Text: "There is no room for that: the account's quota, or the server, has none left."}
	case status == http.StatusRequestEntityTooLarge:
		return &Problem{Status: status, Reason: ReasonTooLarge, Text: "The server takes nothing as large."}
	case status == http.StatusUnsupportedMediaType:
		return &Problem{Status: status, Reason: ReasonMediaType, Text: "The server does not take this for a " + what + "."}
	case status == http.StatusRequestedRangeNotSatisfiable:
		return &Problem{Status: status, Reason: ReasonRange, Text: "The " + what + " has no such range."}
	case status == http.StatusBadRequest:
		return &Problem{Status: status, Reason: ReasonInvalid, Text: "The server does not understand the request for this " + what + "."}
	default:
		return &Problem{Status: http.StatusBadGateway, Reason: ReasonAnswer, Text: "The server answers with an error.", Err: fmt.Errorf("it answers %d", status)}
	}
}
