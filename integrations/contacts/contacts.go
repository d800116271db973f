// Package contacts is the address books of one account at a CardDAV server
// (RFC 6352), for programs: contacts found by what is in them, changed only if
// nobody else did meanwhile. It trusts no server to answer little or in good
// form, and no card to be harmless: text stays text.
package contacts

import (
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-webdav"
	"github.com/emersion/go-webdav/carddav"

	"anteroom/integrations"
	"anteroom/integrations/collections"
	"anteroom/integrations/contentline"
	"anteroom/integrations/multistatus"
)

// Options is what Contacts are made of.
type Options struct {
	collections.Service
	Home string // path of the home that Home found before; "": it is looked for
	Now  func() time.Time
}

// Contacts are one account's. Safe for concurrent use.
type Contacts struct {
	o    Options
	home string // path, with a slash at its end
	sure bool   // the server said so
}

// Open finds the account's home of address books (RFC 6352 §7.1.1).
func Open(ctx context.Context, o Options) (*Contacts, error) {
	o.Name, o.Kind = "The server of contacts", "contact"
	c := &Contacts{o: o, home: o.Home, sure: true}
	if c.home != "" {
		return c, nil
	}
	var err error
	c.home, c.sure, err = o.Service.Home(ctx, func(ctx context.Context, client webdav.HTTPClient, endpoint, principal string) (string, error) {
		w, err := carddav.NewClient(client, endpoint)
		if err != nil {
			return "", err
		}
		return w.FindAddressBookHomeSet(ctx, principal)
	})
	return c, err
}

// Home is the path of the home, to be given to Open the next time; "" if it is
// better looked for again.
func (c *Contacts) Home() string {
	if !c.sure {
		return ""
	}
	return c.home
}

// Book is an address book.
type Book struct {
	ID          string `json:"id" doc:"its name in URLs"`
	Name        string `json:"name" doc:"what people see"`
	Description string `json:"description,omitempty"`
	ReadOnly    bool   `json:"read_only"`
	Version     string `json:"version,omitempty" doc:"changes with anything in it"`

	place string // path on the server, with a slash at its end
}

type bookProp struct {
	Type struct {
		Book *struct{} `xml:"urn:ietf:params:xml:ns:carddav addressbook"`
	} `xml:"DAV: resourcetype"`
	Name        string                  `xml:"DAV: displayname"`
	Description string                  `xml:"urn:ietf:params:xml:ns:carddav addressbook-description"`
	Tag         string                  `xml:"http://calendarserver.org/ns/ getctag"`
	Token       string                  `xml:"DAV: sync-token"`
	Privileges  *collections.Privileges `xml:"DAV: current-user-privilege-set"`
}

const (
	bookProps = `<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav" xmlns:s="http://calendarserver.org/ns/"><d:prop><d:resourcetype/><d:displayname/><c:addressbook-description/><s:getctag/><d:sync-token/><d:current-user-privilege-set/></d:prop></d:propfind>`
	maxBooks  = 1000
	maxHome   = 4 << 20         // bytes of a server's answer
	maxFound  = 20_000          // contacts in one answer
	maxCard   = 4 << 20         // bytes, with its photo
	maxTexts  = 16 << 20        // bytes of what is known of all in one answer
	maxAsked  = 128 << 20       // bytes of a server's answer: it may have photos
	maxSpent  = 2 * time.Second // on reading cards
	mediaType = "text/vcard; charset=utf-8"
)

// Books lists the account's address books, those that others share with it
// among them.
func (c *Contacts) Books(ctx context.Context) ([]Book, error) {
	all := []Book{}
	_, err := multistatus.Ask(ctx, c.o.HTTP, multistatus.Request{Method: "PROPFIND", URL: c.o.At(c.home), Depth: "1", Body: bookProps, What: "home of address books", Most: maxHome},
		func(r *multistatus.Response[bookProp]) error {
			p := r.Found()
			place, ok := c.o.Place(r.Href)
			if p.Type.Book == nil || !ok || len(all) == maxBooks {
				return nil
			}
			b := Book{ID: path.Base(place), Name: p.Name, Description: p.Description, ReadOnly: p.Privileges.ReadOnly(), Version: p.Tag, place: place}
			if b.Name == "" {
				b.Name = b.ID
			}
			if b.Version == "" {
				b.Version = p.Token
			}
			all = append(all, b)
			return nil
		})
	return all, err
}

// Named is the address book with an id, or, if there is none, with the name
// that people see, which has to be its alone.
func Named(all []Book, name string) (Book, error) {
	return collections.Named(all, func(b *Book) (string, string) { return b.ID, b.Name }, "address book", name)
}

type cardProp struct {
	ETag string `xml:"DAV: getetag"`
	Data string `xml:"urn:ietf:params:xml:ns:carddav address-data"`
}

// searched are the properties that a search looks at.
var searched = []string{"FN", "NICKNAME", "EMAIL", "TEL", "ORG"}

// shown are the properties that a list needs: not photos, where the server can
// leave them out.
var shown = []string{"VERSION", "UID", "FN", "N", "NICKNAME", "EMAIL", "TEL", "ADR", "ORG", "TITLE", "BDAY", "NOTE", "CATEGORIES", "URL", "REV", "KIND", "X-ADDRESSBOOKSERVER-KIND"}

// errFull ends a search that found as many as one answer has.
var errFull = errors.New("the answer is full")

// Find gives the contacts that have a text in their name, mail addresses,
// telephone numbers or organization, letter case aside; all for "". They come
// by name. cut reports that there are more than are looked at, or can be read.
func (c *Contacts) Find(ctx context.Context, b Book, text string) (found []Contact, cut bool, err error) {
	var q strings.Builder
	q.WriteString(`<?xml version="1.0"?><c:addressbook-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:prop><d:getetag/><c:address-data>`)
	for _, name := range shown {
		q.WriteString(`<c:prop name="` + name + `"/>`)
	}
	q.WriteString(`</c:address-data></d:prop>`)
	if text == "" {
		q.WriteString(`<c:filter><c:prop-filter name="FN"/></c:filter>`)
	} else {
		q.WriteString(`<c:filter test="anyof">`)
		for _, name := range searched {
			q.WriteString(`<c:prop-filter name="` + name + `"><c:text-match collation="i;unicode-casemap" match-type="contains">`)
			_ = xml.EscapeText(&q, []byte(text))
			q.WriteString(`</c:text-match></c:prop-filter>`)
		}
		q.WriteString(`</c:filter>`)
	}
	q.WriteString(`</c:addressbook-query>`)
	texts, looked, spent, unread := 0, 0, time.Duration(0), false
	request := multistatus.Request{Method: "REPORT", URL: c.o.At(b.place), Depth: "1", Body: q.String(), What: "address book", Largest: 2 * maxCard, Most: maxAsked}
	_, err = multistatus.Ask(ctx, c.o.HTTP, request, func(r *multistatus.Response[cardProp]) error {
		begun := c.o.Now()
		defer func() { spent += c.o.Now().Sub(begun) }()
		p := r.Found()
		id, ok := collections.ID(r.Href)
		card, err := read(p.Data)
		if looked++; looked > 2*maxFound {
			return errFull
		}
		if !ok || err != nil { // one that cannot be read keeps no other from being
			unread = unread || !r.Gone()
			return nil
		}
		if texts += card.size(); texts > maxTexts || len(found) == maxFound || spent > maxSpent {
			return errFull
		}
		card.ID, card.ETag, card.Book = id, p.ETag, b.ID
		found = append(found, card)
		return nil
	})
	if cut = errors.Is(err, errFull) || errors.Is(err, multistatus.ErrMost); err != nil && !cut {
		return nil, false, err
	}
	cut = cut || unread
	slices.SortStableFunc(found, func(a, b Contact) int {
		if d := strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return found, cut, nil
}

// Contact is one by its id.
func (c *Contacts) Contact(ctx context.Context, b Book, id string) (Contact, error) {
	text, etag, err := c.o.Get(ctx, b.place+id, maxCard)
	if err != nil {
		return Contact{}, err
	}
	return c.read(b, id, text, etag)
}

func (c *Contacts) read(b Book, id, text, etag string) (Contact, error) {
	card, err := read(text)
	if err != nil {
		return Contact{}, integrations.Unusable(c.o.Name, err)
	}
	card.ID, card.ETag, card.Book = id, etag, b.ID
	return card, nil
}

// Create makes a contact, and gives it as it is then. A uid that is given names
// it, so that asking twice does not make two.
func (c *Contacts) Create(ctx context.Context, b Book, uid string, f *Fields) (Contact, error) {
	if uid == "" {
		uid = collections.NewUID()
	}
	id := uid + ".vcf"
	if err := collections.Plain("uid", id); err != nil {
		return Contact{}, err
	}
	s := contentline.Of("BEGIN:VCARD\r\nVERSION:3.0\r\nPRODID:-//Anteroom//Contacts//EN\r\nUID:" + contentline.Escaped(uid) + "\r\nN:;;;;\r\nEND:VCARD\r\n")
	if err := f.write(s, c.o.Now()); err != nil {
		return Contact{}, err
	}
	etag, err := c.o.Make(ctx, b.place+id, mediaType, s.String())
	return c.stored(ctx, b, id, s.String(), etag, err)
}

// stored is what a contact is after it was put there. A server that changed
// what it was given is asked what it has.
func (c *Contacts) stored(ctx context.Context, b Book, id, text, etag string, err error) (Contact, error) {
	switch {
	case err != nil:
		return Contact{}, err
	case etag == "":
		return c.Contact(ctx, b, id)
	}
	return c.read(b, id, text, etag)
}

// Update changes what the fields say, and leaves all else as it is.
func (c *Contacts) Update(ctx context.Context, b Book, id string, f *Fields, ifMatch string) (now Contact, err error) {
	err = collections.Again(ifMatch, func() (err error) {
		now, err = c.update(ctx, b, id, f, ifMatch)
		return err
	})
	return now, err
}

func (c *Contacts) update(ctx context.Context, b Book, id string, f *Fields, ifMatch string) (Contact, error) {
	text, version, err := c.o.Held(ctx, b.place+id, ifMatch, maxCard)
	if err != nil {
		return Contact{}, err
	}
	if _, err := c.read(b, id, text, version); err != nil {
		return Contact{}, err
	}
	s := contentline.Of(text)
	if err := f.write(s, c.o.Now()); err != nil {
		return Contact{}, err
	}
	etag, err := c.o.Put(ctx, b.place+id, mediaType, s.String(), http.Header{"If-Match": {version}})
	return c.stored(ctx, b, id, s.String(), etag, err)
}

// Delete deletes a contact.
func (c *Contacts) Delete(ctx context.Context, b Book, id, ifMatch string) error {
	return collections.Again(ifMatch, func() error {
		_, version, err := c.o.Held(ctx, b.place+id, ifMatch, maxCard)
		if err != nil {
			return err
		}
		return c.o.Delete(ctx, b.place+id, version)
	})
}

// Changes are the contacts of an address book that changed since a cursor.
func (c *Contacts) Changes(ctx context.Context, b Book, cursor string, each func(*collections.Change) error) (next string, complete bool, err error) {
	return c.o.Changes(ctx, b.place, cursor, each)
}
