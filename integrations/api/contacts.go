package api

import (
	"net/http"
	"net/url"

	"anteroom/integrations/collections"
	"anteroom/integrations/contacts"
)

// contacts are the operations on address books and contacts.
func (a *API) contacts() []*operation {
	of := func(id, method, path, summary string) operation {
		return operation{ID: id, Method: method, Path: path, Summary: summary, Section: "carddav", Changes: method != http.MethodGet}
	}
	const cards, card = "/contacts/{book}/cards", "/contacts/{book}/cards/{card}"
	return []*operation{
		operate(of("listBooks", "GET", "/contacts", "The account's address books, with those that others share with it"), (*exchange).listBooks, jsonOf[bookList](http.StatusOK)),
		operate(of("listContacts", "GET", cards, "Who is in an address book, by name"), (*exchange).listContacts, jsonOf[contactPage](http.StatusOK)),
		operate(of("createContact", "POST", cards, "Make a contact"), (*exchange).createContact, jsonOf[contacts.Contact](http.StatusCreated, "ETag", "Location")),
		operate(of("getContact", "GET", card, "One contact"), (*exchange).getContact, jsonOf[contacts.Contact](http.StatusOK, "ETag"), nothing(http.StatusNotModified)),
		operate(of("updateContact", "PATCH", card, "Change a contact; what is not said stays"), (*exchange).updateContact, jsonOf[contacts.Contact](http.StatusOK, "ETag")),
		operate(of("deleteContact", "DELETE", card, "Delete a contact"), (*exchange).deleteContact, nothing(http.StatusNoContent)),
		operate(of("contactChanges", "GET", "/contacts/{book}/changes", "The contacts that changed since a cursor; without one, all there are"), (*exchange).contactChanges, jsonOf[changes](http.StatusOK)),
	}
}

// books lists the account's address books.
func (x *exchange) books() (*contacts.Contacts, []contacts.Book, error) {
	return collected(x, func(s collections.Service, home string) (*contacts.Contacts, error) {
		return contacts.Open(x.ctx(), contacts.Options{Service: s, Home: home, Now: x.a.o.Now})
	}, (*contacts.Contacts).Books)
}

// inBook names an address book.
type inBook struct {
	Book string `path:"book" max:"255" doc:"id of the address book, or the name that people see, if it is its alone"`
}

// book opens the one that is named.
func (x *exchange) book(in inBook) (*contacts.Contacts, contacts.Book, error) {
	c, all, err := x.books()
	if err != nil {
		return nil, contacts.Book{}, err
	}
	b, err := contacts.Named(all, in.Book)
	return c, b, err
}

type bookList struct {
	Items []contacts.Book `json:"items"`
}

func (x *exchange) listBooks(*struct{}) error {
	_, all, err := x.books()
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, bookList{all})
}

type listContacts struct {
	inBook
	Text   string `query:"text" max:"255" doc:"a part of a name, nickname, mail address, telephone number or organization"`
	Limit  int    `query:"limit" min:"1" max:"20000" default:"1000"`
	Cursor string `query:"cursor" max:"64" doc:"from the answer before"`
}

// contactPage is a part of who there is.
type contactPage struct {
	Items []contacts.Contact `json:"items"`
	cut
	next
}

func (x *exchange) listContacts(in *listContacts) error {
	c, b, err := x.book(in.inBook)
	if err != nil {
		return err
	}
	at, err := resume(in.Cursor, b.Version, "address book")
	if err != nil {
		return err
	}
	found, incomplete, err := c.Find(x.ctx(), b, in.Text)
	if err != nil {
		return err
	}
	return page(x, found, at, in.Limit, incomplete)
}

type createContact struct {
	inBook
	Body struct {
		contacts.Fields
		Name string `json:"name" required:"true" max:"255" doc:"in full, as it is shown"`
		UID  string `json:"uid,omitempty" max:"200" doc:"makes asking twice harmless: the second time is refused with already_exists"`
	} `body:"json"`
}

func (x *exchange) createContact(in *createContact) error {
	c, b, err := x.book(in.inBook)
	if err != nil {
		return err
	}
	f := in.Body.Fields
	f.Name = &in.Body.Name
	made, err := c.Create(x.ctx(), b, in.Body.UID, &f)
	if err != nil {
		return err
	}
	x.c.Object = b.ID + "/" + made.ID
	x.w.Header().Set("Location", Prefix+"/contacts/"+url.PathEscape(b.ID)+"/cards/"+url.PathEscape(made.ID))
	return x.versioned(http.StatusCreated, made.ETag, made)
}

// oneCard names a contact.
type oneCard struct {
	inBook
	Card string `path:"card" max:"255"`
}

func (x *exchange) card(in *oneCard) (*contacts.Contacts, contacts.Book, error) {
	if err := collections.Plain("card", in.Card); err != nil {
		return nil, contacts.Book{}, err
	}
	return x.book(in.inBook)
}

type getContact struct {
	oneCard
	IfNoneMatch string `header:"If-None-Match" doc:"an ETag: 304 while it is this one's"`
}

func (x *exchange) getContact(in *getContact) error {
	c, b, err := x.card(&in.oneCard)
	if err != nil {
		return err
	}
	one, err := c.Contact(x.ctx(), b, in.Card)
	if err != nil {
		return err
	}
	return x.versioned(http.StatusOK, one.ETag, one)
}

type changeCard struct {
	oneCard
	IfMatch string `header:"If-Match" doc:"the contact's ETag: it is changed only while it is that version; required"`
}

type updateContact struct {
	changeCard
	Body contacts.Fields `body:"json"`
}

func (x *exchange) updateContact(in *updateContact) error {
	c, b, err := x.card(&in.oneCard)
	if err != nil {
		return err
	}
	one, err := c.Update(x.ctx(), b, in.Card, &in.Body, in.IfMatch)
	if err != nil {
		return err
	}
	return x.versioned(http.StatusOK, one.ETag, one)
}

func (x *exchange) deleteContact(in *changeCard) error {
	c, b, err := x.card(&in.oneCard)
	if err != nil {
		return err
	}
	if err := c.Delete(x.ctx(), b, in.Card, in.IfMatch); err != nil {
		return err
	}
	return x.nothing(http.StatusNoContent)
}

type changesInBook struct {
	inBook
	Cursor string `query:"cursor" max:"1024" doc:"from the answer before"`
}

func (x *exchange) contactChanges(in *changesInBook) error {
	c, b, err := x.book(in.inBook)
	if err != nil {
		return err
	}
	out := x.listing()
	cursor, complete, err := c.Changes(x.ctx(), b, in.Cursor, func(e *collections.Change) error { return out.add(e) })
	if err != nil {
		return err
	}
	return out.end(changed{complete, cursor})
}
