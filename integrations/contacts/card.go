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
			c.Addresses = append(c.Addresses, addressOn(line))
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
	Birthday     *string   `json:"birthday,omitempty" max:"10" doc:"a date, such as 1980-02-29, or --02-29 without a year; empty: none"`
	Note         *string   `json:"note,omitempty" max:"65536" lines:"true"`
	Categories   []string  `json:"categories,omitempty" max:"50"`
	URL          *string   `json:"url,omitempty" max:"2048"`
}

// write writes the fields into a card. What they do not say stays as it was
// written: further lines of a property of which we tell the first, the groups
// and parameters of lines, entries of lists that are given back unchanged.
func (f *Fields) write(s *contentline.Sheet, now time.Time) error {
	at, ok := s.Top()
	if !ok {
		return integrations.Unusable("The server of contacts", errUnreadable)
	}
	w := &writer{s: s, at: at, without: map[string]bool{"REV": true}, lines: []string{"REV:" + now.UTC().Format("20060102T150405Z")}}
	for _, p := range []struct {
		name   string
		value  *string
		encode func(string) string
	}{
		{"FN", f.Name, contentline.Escaped}, {"NICKNAME", f.Nickname, contentline.Escaped}, {"TITLE", f.Title, contentline.Escaped},
		{"NOTE", f.Note, contentline.Escaped}, {"URL", f.URL, contentline.Inline}, // a URI, which is not escaped
	} {
		if p.value != nil && *p.value == "" {
			w.none(p.name)
		} else if p.value != nil {
			w.first(p.name, p.encode(*p.value))
		}
	}
	w.structured("N", 5, f.Family, f.Given)
	w.structured("ORG", 1+map[bool]int{true: 1}[f.Department != nil], f.Organization, f.Department)
	f.lists(w)
	if err := f.birthday(w); err != nil {
		return err
	}
	s.Set(at, w.without, w.lines...)
	return nil
}

// writer gathers what becomes of a card's lines.
type writer struct {
	s       *contentline.Sheet
	at      contentline.Extent
	without map[string]bool // names of the properties that are replaced
	lines   []string        // by which
}

// none takes a property out.
func (w *writer) none(name string) { w.without[name] = true }

// add adds a line.
func (w *writer) add(line string) { w.lines = append(w.lines, line) }

// first puts a value in the place of a property's first, and keeps the others.
func (w *writer) first(name, value string) {
	w.none(name)
	all := w.s.All(w.at, name)
	if len(all) == 0 {
		w.add(name + ":" + value)
		return
	}
	head := contentline.Head(all[0])
	upper := strings.ToUpper(head)
	encoded := strings.Contains(upper, "ENCODING=") || strings.Contains(upper, "CHARSET=") || strings.Contains(upper, "QUOTED-PRINTABLE") // as the value is no more
	if encoded || strings.Count(head, `"`)%2 != 0 {
		head = name
	}
	w.add(head + ":" + value)
	w.lines = append(w.lines, all[1:]...)
}

// structured changes parts of a structured value; nil for those that stay.
func (w *writer) structured(name string, n int, changes ...*string) {
	if !slices.ContainsFunc(changes, func(p *string) bool { return p != nil }) {
		return
	}
	var parts []string
	if old, ok := w.s.Find(w.at, name); ok {
		parts = contentline.Raw(contentline.Value(old))
	}
	parts = atLeast(n, parts)
	for i, p := range changes {
		if p != nil {
			parts[i] = contentline.Escaped(*p)
		}
	}
	w.first(name, strings.Join(parts, ";"))
}

// lists write the properties of which there are several.
func (f *Fields) lists(w *writer) {
	kind := func(t string) string {
		if t == "" {
			return ":"
		}
		return ";TYPE=" + contentline.Param(t) + ":"
	}
	for name, list := range map[string][]Typed{"EMAIL": f.Emails, "TEL": f.Phones} {
		if list == nil {
			continue
		}
		w.none(name)
		scheme := map[string]string{"EMAIL": "mailto:", "TEL": "tel:"}[name]
		old := known(w.s.All(w.at, name), func(line string) Typed { return typed(line, contentline.Value(line), scheme) })
		for _, e := range list {
			w.add(old.or(e, func() string { return name + kind(e.Type) + contentline.Escaped(e.Value) }))
		}
	}
	if f.Addresses != nil {
		w.none("ADR")
		old := known(w.s.All(w.at, "ADR"), addressOn)
		for _, a := range f.Addresses {
			w.add(old.or(a, func() string {
				parts := []string{"", "", a.Street, a.City, a.Region, a.PostalCode, a.Country}
				for i := range parts {
					parts[i] = contentline.Escaped(parts[i])
				}
				return "ADR" + kind(a.Type) + strings.Join(parts, ";")
			}))
		}
	}
	if f.Categories != nil {
		w.none("CATEGORIES")
		list := make([]string, len(f.Categories))
		for i, c := range f.Categories {
			list[i] = contentline.Escaped(c)
		}
		if len(list) > 0 {
			w.add("CATEGORIES:" + strings.Join(list, ","))
		}
	}
}

// lines are those of a list, by what they say.
type lines[E comparable] map[E][]string

func known[E comparable](all []string, read func(line string) E) lines[E] {
	l := lines[E]{}
	for _, line := range all {
		e := read(contentline.Unfolded(line))
		l[e] = append(l[e], line)
	}
	return l
}

// or is the line that says an entry already, each once, or else a new one.
func (l lines[E]) or(e E, made func() string) string {
	if old := l[e]; len(old) > 0 {
		l[e] = old[1:]
		return old[0]
	}
	return made()
}

// addressOn reads the address on a line.
func addressOn(line string) Address {
	p := atLeast(7, contentline.Parts(contentline.Value(line)))
	return Address{typeOf(line), p[2], p[3], p[4], p[5], p[6]}
}

// birthday writes a date as the card's version has it.
func (f *Fields) birthday(w *writer) error {
	if f.Birthday == nil {
		return nil
	}
	if old, ok := w.s.Find(w.at, "BDAY"); ok && *f.Birthday == date(contentline.Value(old)) {
		return nil // which may have no year, or be a text
	}
	if *f.Birthday == "" {
		w.none("BDAY")
		return nil
	}
	said := *f.Birthday
	rest, yearless := strings.CutPrefix(said, "--") // RFC 6350 §4.3.1
	if yearless {
		said = "2000-" + rest // which has all days there are
	}
	day, err := time.Parse(time.DateOnly, said)
	if err != nil {
		return integrations.Invalid("birthday", "is no date, such as 1980-02-29, or --02-29 without a year.")
	}
	w.none("BDAY")
	basic, extended := day.Format("20060102"), day.Format(time.DateOnly)
	if yearless {
		basic, extended = "--"+day.Format("0102"), "--"+day.Format("01-02")
	}
	if version, _ := w.s.Find(w.at, "VERSION"); contentline.Value(version) == "4.0" {
		w.add("BDAY:" + basic)
		return nil
	}
	w.add("BDAY;VALUE=DATE:" + extended)
	return nil
}
