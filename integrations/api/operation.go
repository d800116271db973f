package api

import (
	"fmt"
	"net/http"
	"reflect"

	"anteroom/integrations"
	"anteroom/session"
)

// operation is one thing that can be asked for: what the router goes by, and
// what the OpenAPI document says.
type operation struct {
	ID      string // lowerCamelCase, unique
	Method  string
	Path    string // below Prefix, with {name} for whole segments
	Summary string
	Section string // of "integrations", whose settings hold for it; "" for none
	Changes bool   // it is refused where the section is read_only

	in      reflect.Type // a struct: see input.go
	answers []answer
	serve   func(*exchange) error
}

// answer is what an operation answers when it is done.
type answer struct {
	status  int
	media   string       // "" for no body
	body    reflect.Type // of JSON; nil for other media
	headers []string
}

// jsonOf is an answer in JSON of a type.
func jsonOf[T any](status int, headers ...string) answer {
	return answer{status, "application/json", reflect.TypeFor[T](), headers}
}

// nothing is an answer without a body.
func nothing(status int, headers ...string) answer { return answer{status: status, headers: headers} }

// bytesOf is an answer that is not JSON.
func bytesOf(status int, media string, headers ...string) answer {
	return answer{status, media, nil, headers}
}

// operate gives an operation what answers it. What is decoded into In is
// described there, by tags: see input.go.
func operate[In any](op operation, do func(*exchange, *In) error, answers ...answer) *operation {
	op.in, op.answers = reflect.TypeFor[In](), answers
	op.serve = func(x *exchange) error {
		in := new(In)
		if err := x.decode(reflect.ValueOf(in).Elem()); err != nil {
			return err
		}
		return do(x, in)
	}
	return &op
}

// settings are what the configuration says of the operation's section.
func (x *exchange) settings() (allow *session.Allow, dav *integrations.DAV, readOnly bool) {
	switch c := &x.a.o.Config; x.op.Section {
	case "webdav":
		return &c.WebDAV.Allow, &c.WebDAV, c.WebDAV.ReadOnly
	case "caldav":
		return &c.CalDAV.Allow, &c.CalDAV, c.CalDAV.ReadOnly
	case "carddav":
		return &c.CardDAV.Allow, &c.CardDAV, c.CardDAV.ReadOnly
	case "mail":
		return &c.Mail.Allow, nil, c.Mail.ReadOnly
	case "directory":
		return &c.Directory.Allow, nil, true
	}
	return nil, nil, false
}

// allowed asks whether the caller may have the operation.
func (x *exchange) allowed() error {
	if x.op.Section == "" {
		return nil
	}
	allow, dav, readOnly := x.settings()
	ok := false
	switch {
	case dav != nil:
		ok = dav.Allows(x.c.Who)
	case allow.Said():
		ok = allow.Permits(x.c.Who)
	default: // what uses an account of ours is for programs until people are named
		ok = x.c.Who.Method == session.ByClient
	}
	if !ok {
		return &integrations.Problem{Status: http.StatusForbidden, Reason: integrations.ReasonNotAllowed,
			Text: fmt.Sprintf("You are known here, but integrations.%s.allow does not let you use this.", x.op.Section)}
	}
	if x.op.Changes && readOnly {
		return &integrations.Problem{Status: http.StatusForbidden, Reason: integrations.ReasonReadOnly,
			Text: fmt.Sprintf("Nothing may be changed here (integrations.%s.read_only).", x.op.Section)}
	}
	return nil
}
