package api

import (
	"net/http"
	"net/url"

	"anteroom/integrations"
	"anteroom/integrations/people"
	"anteroom/session"
)

// people are the operations on people and groups.
func (a *API) people() []*operation {
	of := func(id, path, summary string) operation {
		return operation{ID: id, Method: http.MethodGet, Path: path, Summary: summary, Section: "directory"}
	}
	return []*operation{
		operate(of("listPeople", "/people", "Who there is, by id"), (*exchange).listPeople, jsonOf[personPage](http.StatusOK)),
		operate(of("getPerson", "/people/{id}", "One person, and whether the account is enabled"), (*exchange).getPerson, jsonOf[people.Person](http.StatusOK)),
		operate(of("listGroups", "/groups", "What groups there are"), (*exchange).listGroups, jsonOf[namePage](http.StatusOK)),
		operate(of("listMembers", "/groups/{id}/people", "The ids of who is in a group"), (*exchange).listMembers, jsonOf[namePage](http.StatusOK)),
	}
}

// me is the operation that everybody has, whatever is configured.
func (a *API) me() []*operation {
	type none struct{}
	return []*operation{operate(operation{ID: "getMe", Method: http.MethodGet, Path: "/people/me", Summary: "Who is calling: as signed in, and as Nextcloud has them where it can be asked"},
		func(x *exchange, _ *none) error { return x.me() }, jsonOf[me](http.StatusOK))}
}

// me is who is calling.
type me struct {
	people.Person
	Username string `json:"username,omitempty" doc:"what they sign in as"`
	Client   bool   `json:"client" doc:"a configured program, not a person"`
}

func (x *exchange) me() error {
	who := x.c.Who
	m := me{Person: people.Person{ID: who.Subject, Name: who.Name, Email: who.Email, Groups: append([]string{}, who.Groups...)},
		Username: who.Username, Client: who.Method == session.ByClient}
	if x.a.o.Config.Directory.Username == "" || m.Client || plainID(who.Subject) != nil {
		return x.json(http.StatusOK, m)
	}
	p, err := x.directory().Person(x.ctx(), who.Subject)
	if no, ok := integrations.ProblemOf(err); ok && no.Reason == integrations.ReasonNotFound {
		return x.json(http.StatusOK, m) // known to the provider alone
	}
	if err != nil {
		return err
	}
	m.Person = p
	return x.json(http.StatusOK, m)
}

// directory is Nextcloud's, asked with the account for it.
func (x *exchange) directory() *people.Directory {
	d := &x.a.o.Config.Directory
	x.grant = integrations.Grant{Credential: d.Account(), By: integrations.ByService, File: d.File, Service: "directory", Caller: &x.c.Caller}
	x.c.As = x.grant.As()
	return people.Open(x.a.o.Access.Wire(x.a.o.Client, &x.grant), d.URL)
}

type personPage struct {
	Items []people.Person `json:"items"`
	next
}

type namePage struct {
	Items []string `json:"items"`
	next
}

type lookUp struct {
	Search string `query:"search" max:"255" doc:"a part of the id, the name or the mail address"`
	Limit  int    `query:"limit" min:"1" max:"500" default:"100" doc:"how many; Nextcloud gives so many of each of its backends of users"`
	Cursor string `query:"cursor" max:"64" doc:"from the answer before"`
}

func (in *lookUp) skip() (int, error) {
	n, _, err := readPlace(in.Cursor)
	return n, err
}

func (in *lookUp) next(skip int, more bool) next {
	if !more {
		return next{}
	}
	return next{placeOf(skip+in.Limit, "")}
}

func (x *exchange) listPeople(in *lookUp) error {
	skip, err := in.skip()
	if err != nil {
		return err
	}
	found, more, err := x.directory().People(x.ctx(), in.Search, skip, in.Limit)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, personPage{found, in.next(skip, more)})
}

type byID struct {
	ID string `path:"id" max:"255"`
}

func (x *exchange) getPerson(in *byID) error {
	if err := plainID(in.ID); err != nil {
		return err
	}
	p, err := x.directory().Person(x.ctx(), in.ID)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, p)
}

// plainID refuses ids that would be another address at Nextcloud.
func plainID(id string) error {
	if _, _, err := integrations.CleanPath("/" + url.PathEscape(id)); err != nil {
		return integrations.Invalid("id", "has slashes, dot segments or control characters, in some spelling.")
	}
	return nil
}

func (x *exchange) listGroups(in *lookUp) error {
	skip, err := in.skip()
	if err != nil {
		return err
	}
	found, more, err := x.directory().Groups(x.ctx(), in.Search, skip, in.Limit)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, namePage{found, in.next(skip, more)})
}

func (x *exchange) listMembers(in *byID) error {
	if err := plainID(in.ID); err != nil {
		return err
	}
	found, err := x.directory().Members(x.ctx(), in.ID)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, namePage{found, next{}})
}
