// Package audit writes down what was decided: one line of JSON for every
// sign-in, refusal and sign-out. It is apart from the logs, which are about the
// program; this is about people. It holds no token, no mail address and no
// query string.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"anteroom/session"
)

// Kind is what happened; a closed set.
type Kind string

// What is written down.
const (
	SignIn         Kind = "sign_in"         // somebody signed in
	SignInFailed   Kind = "sign_in_fail"    // a sign-in came back and was not accepted
	SignOut        Kind = "sign_out"        // somebody signed out
	Provisioned    Kind = "provision"       // the application was told of somebody who signs in
	SessionEnded   Kind = "session_ended"   // a session ended by itself
	Refused        Kind = "refused"         // a request was refused
	Connected      Kind = "connect"         // somebody let us act for them at Nextcloud
	Disconnected   Kind = "disconnect"      // and no longer does, or Nextcloud does not
	ConnectRefused Kind = "connect_refused" // somebody granted that, and it is of no use
	Access         Kind = "access"          // files, calendars or contacts were read or changed, or that was tried
)

// Event is one line. Empty fields are left out.
type Event struct {
	Time      time.Time      `json:"time"`
	Kind      Kind           `json:"event"`
	Subject   string         `json:"sub,omitempty"`
	Session   string         `json:"sid,omitempty"`
	Means     session.Method `json:"by,omitempty"`     // how the person is known
	Client    string         `json:"client,omitempty"` // network address
	Method    string         `json:"method,omitempty"`
	Host      string         `json:"host,omitempty"`
	Path      string         `json:"path,omitempty"`      // escaped, without query
	Operation string         `json:"operation,omitempty"` // of the JSON API
	Object    string         `json:"object,omitempty"`    // what that is about, where the path does not say: a file's path
	To        string         `json:"to,omitempty"`        // escaped path of the destination of a copy or move
	As        string         `json:"as,omitempty"`        // service account that Nextcloud saw; empty for a person's own
	Status    int            `json:"status,omitempty"`    // of the answer
	Received  int64          `json:"received,omitempty"`  // bytes of body, from the client
	Sent      int64          `json:"sent,omitempty"`      // bytes of body, to the client
	Reason    string         `json:"reason,omitempty"`    // from a closed set
	RequestID string         `json:"request_id,omitempty"`
}

// By fills in who it is about; nil changes nothing.
func (e Event) By(who *session.Identity) Event {
	if who != nil {
		e.Subject, e.Session, e.Means = who.Subject, who.SessionID, who.Method
	}
	return e
}

// Log writes events to one place, in whole lines, in order. Safe for
// concurrent use.
type Log struct {
	now func() time.Time

	mu  sync.Mutex
	out io.Writer // guarded by mu; nil: off
	own io.Closer // what Close closes; nil: nothing
}

// Open opens the place the configuration names. now may be nil for time.Now.
func Open(cfg Config, stdout, stderr io.Writer, now func() time.Time) (*Log, error) {
	if now == nil {
		now = time.Now
	}
	l := &Log{now: now}
	switch cfg.Output {
	case "stdout":
		l.out = stdout
	case "stderr":
		l.out = stderr
	case "off":
	default:
		f, err := os.OpenFile(cfg.Output, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("opening audit log: %w", err)
		}
		l.out, l.own = f, f
	}
	return l, nil
}

// Write writes one event, with the present time where it has none.
func (l *Log) Write(e Event) error {
	if e.Time.IsZero() {
		e.Time = l.now()
	}
	e.Time = e.Time.UTC()
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding audit event: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out == nil {
		return nil
	}
	if _, err := l.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing audit event: %w", err)
	}
	return nil
}

// Close closes the file, if it is one.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = nil
	if l.own == nil {
		return nil
	}
	return errors.Join(l.own.Close())
}
