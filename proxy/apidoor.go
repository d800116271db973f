package proxy

import (
	"errors"
	"net/http"

	"anteroom/integrations"
	"anteroom/integrations/api"
	"anteroom/proxy/audit"
	"anteroom/proxy/dav"
	"anteroom/session"
)

// openAPI makes the JSON API for programs. Content passes through a DAV service
// of its own, in which everything that is configured has a path.
func (s *Server) openAPI() error {
	cfg := s.o.Integrations
	for mount, d := range map[string]*integrations.DAV{"/webdav": &cfg.WebDAV, "/caldav": &cfg.CalDAV, "/carddav": &cfg.CardDAV} {
		if d.Mount = integrations.NoMount; d.Program() {
			d.Mount = mount
		}
	}
	content, err := dav.New(cfg, dav.Options{Client: s.o.Nextcloud, Public: originOf(s.public), Ours: s.oursIn, Access: s.access, Traced: s.tracedDAV, Log: s.o.Log})
	if err != nil {
		return err
	}
	s.api, err = api.New(api.Options{Config: s.o.Integrations, Client: s.tracedNextcloud(), Access: s.access, Content: content.Content, MailKeys: s.o.MailKeys,
		Cookie: s.o.Cookies.Name(""), Version: s.o.Version, Log: s.o.Log, Registry: s.o.Registry, Now: s.o.Now})
	return err
}

// tracedNextcloud is the client for Nextcloud, with what it does told of.
func (s *Server) tracedNextcloud() *http.Client {
	c := *s.o.Nextcloud
	if c.Transport != nil {
		c.Transport = s.o.Trace.Transport(c.Transport, "nextcloud")
	}
	return &c
}

// layAPI makes a door of the API. Who may do what is said per operation.
func (s *Server) layAPI() {
	if s.api == nil || !s.api.Served() {
		return
	}
	d := &door{name: doorAPI, refuse: refuseByProblem, streams: true, callers: s.programs, answer: s.answerAPI,
		permits: anybodyKnown, words: "Nextcloud for programs, as JSON: " + api.Prefix + "/openapi.json"}
	s.own[api.Prefix], s.own[api.Prefix+"/"] = d, d
}

// answerAPI answers a program, and writes down what was done.
func (s *Server) answerAPI(x *exchange, who *session.Identity) error {
	if x.session != nil {
		if err := s.ownPage(x, refuseByProblem); err != nil {
			return err
		}
	}
	body := &counted{ReadCloser: x.r.Body}
	if x.r.Body != nil && x.r.Body != http.NoBody {
		x.r.Body = body
	}
	c := &api.Call{Caller: s.caller(x, who)}
	var err error
	defer func() {
		s.accessed(x, audit.Event{As: c.As, Operation: c.Operation, Object: c.Object, To: c.To, Received: body.n.Load()}, err)
	}()
	err = refusedByAPI(s.api.Serve(x, x.r, c))
	var no *refusal
	if errors.As(err, &no) {
		err = x.endedHere(no)
	}
	return err
}

// refusedByAPI is a problem of the API's as a refusal.
func refusedByAPI(err error) error {
	if p, ok := integrations.ProblemOf(err); ok {
		return &refusal{status: p.Status, reason: p.Reason, text: p.Text, field: p.Field, cause: p.Err, style: refuseByProblem, after: p.RetryAfter, recorded: true}
	}
	return err
}
