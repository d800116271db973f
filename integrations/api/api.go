// Package api is Nextcloud for programs: files, calendars, contacts, mail and
// people as JSON over HTTP, described by an OpenAPI document of its own. It
// trusts nothing a caller sends, and no server to answer little, soon or in
// good form. Who the caller is has been found out before.
package api

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/integrations"
	"anteroom/integrations/mail"
	"anteroom/session"
	"anteroom/session/semaphore"
)

// Prefix is where the API is, below the site's origin.
const Prefix = "/integrations"

// Options is what an API is made of. All is required but what says otherwise.
type Options struct {
	Config    integrations.Config
	Nextcloud integrations.NextcloudConfig
	Client    *http.Client // for Nextcloud; its timeout is for short calls and not used here
	Access    *integrations.Access
	Content   Content               // passes files' content through
	MailKeys  *session.Ledger       // by which replicas tell each other of idempotency keys; nil: each goes by its own
	Cookie    string                // name of the one that a person's session has, for the OpenAPI document
	Version   string                // of the program, for the OpenAPI document
	Log       *slog.Logger          // nil: nothing is logged
	Registry  prometheus.Registerer // nil: nothing is counted
	Now       func() time.Time      // nil: time.Now
}

// API answers requests. Safe for concurrent use.
type API struct {
	o        Options
	ops      []*operation
	document []byte
	mailbox  *mail.Account // nil: there is none
	mailApp  *mail.App     // nil: there is none
	accounts memory
	large    *semaphore.Keyed // a place for each large JSON body that is in memory, by caller
	requests *prometheus.CounterVec
}

// Call is one request as the gate hands it over, and what became of it.
type Call struct {
	integrations.Caller
	As        string // on return: the account that the server saw; "" for a person's own
	Operation string // on return: the operation's id; "" for none
	Object    string // on return: what it is about, where the path does not say: a file's path
	To        string // on return: where that is moved or copied to
}

// New makes an API of what is configured; it opens no connection.
func New(o Options) (*API, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{o: o, large: semaphore.New(manyLarge, manyLarge/4), requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "anteroom_integrations_requests_total", Help: "Requests of programs, by operation and status class."}, []string{"operation", "status"})}
	if o.Registry != nil {
		o.Registry.MustRegister(a.requests)
	}
	var err error
	if err = a.openMail(); err != nil {
		return nil, err
	}
	for _, family := range a.families() {
		if family.served {
			a.ops = append(a.ops, family.ops...)
		}
	}
	if len(a.ops) > 0 {
		a.ops = append(slices.Concat(a.me(), a.describing()), a.ops...)
	}
	a.document, err = a.describe()
	return a, err
}

// family is the operations on one kind of thing, which one section of the
// configuration is about.
type family struct {
	served bool
	ops    []*operation
}

// families lists all there is.
func (a *API) families() []family {
	return []family{
		{a.o.Config.WebDAV.Program(), a.files()},
		{a.o.Config.CalDAV.Program(), a.calendars()},
		{a.o.Config.CardDAV.Program(), a.contacts()},
		{a.o.Config.Mail.Said(), a.mail()},
		{a.o.Config.Directory.Username != "" || a.o.Config.Directory.Allow.Said(), a.people()},
	}
}

// Served reports whether anything is.
func (a *API) Served() bool { return len(a.ops) > 0 }

// Serve answers one request. An error means that nothing was written; it is an
// *integrations.Problem. An answer that breaks off is cut off, by panicking
// with http.ErrAbortHandler.
func (a *API) Serve(w http.ResponseWriter, r *http.Request, c *Call) error {
	op, params, err := a.find(r)
	if err != nil {
		if p, ok := integrations.ProblemOf(err); ok && p.Status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", strings.Join(a.methods(r), ", "))
		}
		return err
	}
	c.Operation = op.ID
	x := &exchange{a: a, w: w, r: r.WithContext(mail.By(r.Context(), c.Who.Subject)), c: c, op: op, params: params}
	defer func() { // whatever becomes of the answer
		if x.release != nil {
			x.release()
		}
	}()
	err = a.answer(x)
	if x.leftOut > 0 { // by count: names are in no log
		a.o.Log.Warn("files were left out whose names can be read as another path (an escape such as %2f, a backslash, a control character): rename them in nextcloud", "left_out", x.leftOut, "operation", op.ID, "request_id", c.RequestID)
	}
	a.requests.WithLabelValues(op.ID, outcome(x, err)).Inc()
	if err == nil {
		return nil
	}
	if x.begun {
		a.o.Log.Warn("an answer broke off", "operation", op.ID, "request_id", c.RequestID, "error", err)
		panic(http.ErrAbortHandler)
	}
	return integrations.Lost(err)
}

// Permits reports whether somebody may have the operation that a request is for,
// as an *integrations.Problem where not.
func (a *API) Permits(r *http.Request, who *session.Identity) error {
	op, _, err := a.find(r)
	if err != nil {
		return err
	}
	return (&exchange{a: a, op: op, c: &Call{Caller: integrations.Caller{Who: who}}}).allowed()
}

func outcome(x *exchange, err error) string {
	status := x.status
	if p, ok := integrations.ProblemOf(err); ok {
		status = p.Status
	} else if err != nil {
		status = http.StatusBadGateway
	}
	return string('0'+byte(status/100)) + "xx"
}

func (a *API) answer(x *exchange) error {
	if err := x.allowed(); err != nil {
		return err
	}
	return x.op.serve(x)
}

// find finds the operation for a request, and the path's parameters.
func (a *API) find(r *http.Request) (*operation, map[string]string, error) {
	known := false
	for _, op := range a.ops {
		params, ok := op.match(r.URL.EscapedPath())
		if !ok {
			continue
		}
		known = true
		if op.Method == r.Method || op.Method == http.MethodGet && r.Method == http.MethodHead {
			return op, params, nil
		}
	}
	if known {
		return nil, nil, &integrations.Problem{Status: http.StatusMethodNotAllowed, Reason: "method_not_allowed", Text: "That method is not answered here."}
	}
	return nil, nil, &integrations.Problem{Status: http.StatusNotFound, Reason: integrations.ReasonUnavailable,
		Text: "There is no such operation, or its part of the configuration (integrations) is not set up. " + Prefix + "/openapi.json lists all there are."}
}

// methods are those that are answered at a path.
func (a *API) methods(r *http.Request) (methods []string) {
	for _, op := range a.ops {
		if _, ok := op.match(r.URL.EscapedPath()); ok {
			methods = append(methods, op.Method)
			if op.Method == http.MethodGet {
				methods = append(methods, http.MethodHead)
			}
		}
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}

// match holds an escaped path against the operation's, segment by segment.
func (op *operation) match(path string) (map[string]string, bool) {
	path, ok := strings.CutPrefix(path, Prefix)
	want, got := strings.Split(op.Path, "/"), strings.Split(path, "/")
	if !ok || len(want) != len(got) {
		return nil, false
	}
	var params map[string]string
	for i, w := range want {
		name, isParam := strings.CutPrefix(w, "{")
		if !isParam {
			if w != got[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(got[i])
		if err != nil || value == "" {
			return nil, false
		}
		if params == nil {
			params = map[string]string{}
		}
		params[strings.TrimSuffix(name, "}")] = value
	}
	return params, true
}
