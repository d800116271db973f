package contacts

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-vcard"

	"anteroom/integrations"
	"anteroom/integrations/contentline"
)

// Contact is somebody, or a group.
type Contact struct {
	ID   string `json:"id" doc:"its name in the address book"`
	Book string `json:"book" doc:"id of the address book"`
	UID  string `json:"uid,omitempty" doc:"the same wherever copies of the contact are"`
	Known
	Group    bool      `json:"group,omitempty" doc:"of others, not a person"`
	HasPhoto bool      `json:"has_photo,omitempty" doc:"where the server says so; lists may leave it out"`
	Updated  time.Time `json:"updated,omitzero"`
	ETag     string    `json:"etag,omitempty" doc:"for If-Match"`
}

// Known is what is known of somebody.
type Known struct {
	Name         string    `json:"name" doc:"in full, as it is shown"`
	Given        string    `json:"given,omitempty"`
	Family       string    `json:"family,omitempty"`
	Nickname     string    `json:"nickname,omitempty"`
	Emails       []Typed   `json:"emails,omitempty"`
	Phones       []Typed   `json:"phones,omitempty"`
	Addresses    []Address `json:"addresses,omitempty"`
	Organization string    `json:"organization,omitempty"`
	Department   string    `json:"department,omitempty"`
	Title        string    `json:"title,omitempty"`
	Birthday     string    `json:"birthday,omitempty" doc:"a date; --MM-DD without a year"`
	Note         string    `json:"note,omitempty" doc:"plain text, as somebody wrote it: not safe to show as HTML"`
	Categories   []string  `json:"categories,omitempty"`
	URL          string    `json:"url,omitempty" doc:"as somebody wrote it"`
}

// Typed is an address or a number, and what it is for.
type Typed struct {
	Value string `json:"value" required:"true" min:"1" max:"512"`
	Type  string `json:"type,omitempty" max:"32" doc:"home, work, cell, fax, or as somebody wrote it"`
}

// Address is where somebody lives or works.
type Address struct {
	Type       string `json:"type,omitempty" max:"32" doc:"home, work, or as somebody wrote it"`
	Street     string `json:"street,omitempty" max:"512"`
	City       string `json:"city,omitempty" max:"255"`
	Region     string `json:"region,omitempty" max:"255"`
	PostalCode string `json:"postal_code,omitempty" max:"64"`
	Country    string `json:"country,omitempty" max:"255"`
}

// maxEntries bounds how many addresses, numbers or categories of a card are
// read.
const maxEntries = 100

var errUnreadable = errors.New("it is no vCard that can be read")

// read takes a card apart. Its words for what is wrong quote nothing of it.
func read(text string) (Contact, error) {
	if len(text) > maxCard || !contentline.Modest(text) {
		return Contact{}, errUnreadable
	}
	sheet := contentline.Of(text)
	lines := make([]string, len(sheet.Lines))
	for i, line := range sheet.Lines { // in one piece each, which the library would join in the square of the time
		lines[i] = contentline.Unfolded(line)
	}
	card, err := vcard.NewDecoder(strings.NewReader(strings.ToValidUTF8(strings.Join(lines, "\n"), "\uFFFD") + "\n")).Decode()
	if err != nil {
		return Contact{}, errUnreadable
	}
	value := func(name string) string {
		for _, line := range lines {
			if contentline.Name(line) == name {
				return contentline.Value(line)
			}
		}
		return ""
	}
	textOf := func(name string) string { return contentline.Text(value(name)) }
	n, org := atLeast(5, contentline.Parts(value("N"))), atLeast(2, contentline.Parts(value("ORG")))
	c := Contact{UID: card.Value(vcard.FieldUID), Known: Known{
		Name: textOf("FN"), Family: n[0], Given: n[1], Nickname: textOf("NICKNAME"),
		Organization: org[0], Department: org[1],
		Title: textOf("TITLE"), Birthday: date(card.Value(vcard.FieldBirthday)), Note: textOf("NOTE"), URL: card.Value(vcard.FieldURL),
	}}
	c.Group = strings.EqualFold(card.Value(vcard.FieldKind), "group") || strings.EqualFold(card.Value("X-ADDRESSBOOKSERVER-KIND"), "group")
	c.HasPhoto = card.Get(vcard.FieldPhoto) != nil
	if c.Name == "" {
		c.Name = strings.TrimSpace(c.Given + " " + c.Family)
	}
	for _, line := range lines {
		switch value, name := contentline.Value(line), contentline.Name(line); {
		case name == "EMAIL" && len(c.Emails) < maxEntries:
			c.Emails = append(c.Emails, typed(line, value, "mailto:"))
		case name == "TEL" && len(c.Phones) < maxEntries:
			c.Phones = append(c.Phones, typed(line, value, "tel:"))
		case name == "ADR" && len(c.Addresses) < maxEntries:
			p := atLeast(7, contentline.Parts(value))
			c.Addresses = append(c.Addresses, Address{typeOf(line), p[2], p[3], p[4], p[5], p[6]})
		case name == "CATEGORIES" && len(c.Categories) < maxEntries:
			list := contentline.List(value)
			c.Categories = append(c.Categories, list[:min(len(list), maxEntries-len(c.Categories))]...)
		}
	}
	if at, err := card.Revision(); err == nil {
		c.Updated = at.UTC()
	} else if at, err := time.Parse(time.RFC3339, card.Value(vcard.FieldRevision)); err == nil {
		c.Updated = at.UTC()
	}
	if y := c.Updated.Year(); y < 1900 || y > 9999 { // no time that JSON could say, or none at all
		c.Updated = time.Time{}
	}
	return c, nil
}

// size is about how many bytes a contact's texts have.
func (c *Contact) size() int {
	n := len(c.UID) + len(c.Name) + len(c.Given) + len(c.Family) + len(c.Nickname) + len(c.Organization) + len(c.Department) + len(c.Title) + len(c.Birthday) + len(c.Note) + len(c.URL)
	for _, list := range [][]Typed{c.Emails, c.Phones} {
		for _, e := range list {
			n += len(e.Value) + len(e.Type)
		}
	}
	for _, a := range c.Addresses {
		n += len(a.Type) + len(a.Street) + len(a.City) + len(a.Region) + len(a.PostalCode) + len(a.Country)
	}
	for _, t := range c.Categories {
		n += len(t)
	}
	return n
}

func atLeast(n int, parts []string) []string {
	for len(parts) < n {
		parts = append(parts, "")
	}
	return parts
}

// typeOf is the type of the property on a line.
func typeOf(line string) string {
	head := strings.TrimSuffix(strings.TrimSuffix(line, contentline.Value(line)), ":")
	quoted := false
	parts := strings.FieldsFunc(head, func(c rune) bool {
		if c == '"' {
			quoted = !quoted
		}
		return c == ';' && !quoted
	})
	var types []string
	for _, part := range parts {
		if name, value, ok := strings.Cut(part, "="); ok && strings.EqualFold(name, "TYPE") {
			types = append(types, strings.Split(strings.Trim(value, `"`), ",")...)
		}
	}
	return kindOf(types)
}

// notKinds are types that say nothing of what an address is for.
var notKinds = []string{"internet", "pref", "voice", "x400", "postal", "parcel", "dom", "intl", "other"}

func kindOf(types []string) string {
	for _, t := range types {
		if t = strings.ToLower(strings.TrimSpace(t)); t != "" && !slices.Contains(notKinds, t) {
			return t
		}
	}
	return ""
}

// typed is an address or a number on a line.
func typed(line, value, scheme string) Typed {
	v := contentline.Text(value)
	if len(v) > len(scheme) && strings.EqualFold(v[:len(scheme)], scheme) { // vCard 4 may have URIs
		v = v[len(scheme):]
	}
	return Typed{v, typeOf(line)}
}

// date is a date in one form: vCard 3 and 4 have two.
func date(s string) string {
	day, _, _ := strings.Cut(s, "T")
	switch {
	case len(day) == 8 && !strings.Contains(day, "-"):
		return day[:4] + "-" + day[4:6] + "-" + day[6:]
	case len(day) == 6 && strings.HasPrefix(day, "--"):
		return "--" + day[2:4] + "-" + day[4:]
	}
	return day
}

// Fields are what programs may say of a contact. What is missing stays as it is;
// a list replaces the one that was there.
type Fields struct {
	Name         *string   `json:"name,omitempty" min:"1" max:"255" doc:"in full, as it is shown"`
	Given        *string   `json:"given,omitempty" max:"255"`
	Family       *string   `json:"family,omitempty" max:"255"`
	Nickname     *string   `json:"nickname,omitempty" max:"255"`
	Emails       []Typed   `json:"emails,omitempty" max:"50"`
	Phones       []Typed   `json:"phones,omitempty" max:"50"`
	Addresses    []Address `json:"addresses,omitempty" max:"20"`
	Organization *string   `json:"organization,omitempty" max:"255"`
	Department   *string   `json:"department,omitempty" max:"255"`
	Title        *string   `json:"title,omitempty" max:"255"`
	Birthday     *string   `json:"birthday,omitempty" max:"10" doc:"a date, such as 1980-02-29; empty: none"`
	Note         *string   `json:"note,omitempty" max:"65536" lines:"true"`
	Categories   []string  `json:"categories,omitempty" max:"50"`
	URL          *string   `json:"url,omitempty" max:"2048"`
}

// write writes the fields into a card.
func (f *Fields) write(s *contentline.Sheet, now time.Time) error {
	at, ok := s.Top()
	if !ok {
		return integrations.Unusable("The server of contacts", errUnreadable)
	}
	without := map[string]bool{"REV": true}
	lines := []string{"REV:" + now.UTC().Format("20060102T150405Z")}
	put := func(name, value string) {
		without[name] = true
		if value != "" {
			lines = append(lines, name+value)
		}
	}
	for name, value := range map[string]*string{"FN": f.Name, "NICKNAME": f.Nickname, "TITLE": f.Title, "NOTE": f.Note} {
		if value != nil && *value == "" {
			put(name, "")
		} else if value != nil {
			put(name, ":"+contentline.Escaped(*value))
		}
	}
	if f.URL != nil && *f.URL != "" { // a URI, which is not escaped
		put("URL", ":"+contentline.Inline(*f.URL))
	} else if f.URL != nil {
		put("URL", "")
	}
	structured := func(name string, n int, changes ...*string) {
		if !slices.ContainsFunc(changes, func(p *string) bool { return p != nil }) {
			return
		}
		parts := make([]string, n)
		if old, ok := s.Find(at, name); ok {
			parts = atLeast(n, contentline.Parts(contentline.Value(old)))
		}
		for i, p := range changes {
			if p != nil {
				parts[i] = *p
			}
		}
		for i := range parts {
			parts[i] = contentline.Escaped(parts[i])
		}
		put(name, ":"+strings.Join(parts, ";"))
	}
	structured("N", 5, f.Family, f.Given)
	structured("ORG", 1+map[bool]int{true: 1}[f.Department != nil], f.Organization, f.Department)
	f.lists(put)
	if err := f.birthday(s, at, put); err != nil {
		return err
	}
	s.Set(at, without, lines...)
	return nil
}

// lists write the properties of which there are several.
func (f *Fields) lists(put func(name, value string)) {
	kind := func(t string) string {
		if t == "" {
			return ":"
		}
		return ";TYPE=" + contentline.Param(t) + ":"
	}
	for name, list := range map[string][]Typed{"EMAIL": f.Emails, "TEL": f.Phones} {
		if list != nil {
			put(name, "")
		}
		for _, e := range list {
			put(name, kind(e.Type)+contentline.Escaped(e.Value))
		}
	}
	if f.Addresses != nil {
		put("ADR", "")
	}
	for _, a := range f.Addresses {
		parts := []string{"", "", a.Street, a.City, a.Region, a.PostalCode, a.Country}
		for i := range parts {
			parts[i] = contentline.Escaped(parts[i])
		}
		put("ADR", kind(a.Type)+strings.Join(parts, ";"))
	}
	if f.Categories != nil {
		put("CATEGORIES", "")
		list := make([]string, len(f.Categories))
		for i, c := range f.Categories {
			list[i] = contentline.Escaped(c)
		}
		if len(list) > 0 {
			put("CATEGORIES", ":"+strings.Join(list, ","))
		}
	}
}

// birthday writes a date as the card's version has it.
func (f *Fields) birthday(s *contentline.Sheet, at contentline.Extent, put func(name, value string)) error {
	if f.Birthday == nil {
		return nil
	}
	if *f.Birthday == "" {
		put("BDAY", "")
		return nil
	}
	day, err := time.Parse(time.DateOnly, *f.Birthday)
	if err != nil {
		return integrations.Invalid("birthday", "is no date, such as 1980-02-29.")
	}
	if version, _ := s.Find(at, "VERSION"); contentline.Value(version) == "4.0" {
		put("BDAY", ":"+day.Format("20060102"))
		return nil
	}
	put("BDAY", ";VALUE=DATE:"+day.Format(time.DateOnly))
	return nil
}
