package demo

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// component is a part of iCalendar (RFC 5545), or a vCard (RFC 6350).
type component struct {
	name  string
	props []property
	kids  []*component
}

// property is one content line.
type property struct {
	name   string
	params string // with the semicolon before each
	value  string
}

// first is a component's property of a name.
func (c *component) first(name string) (property, bool) {
	for _, p := range c.props {
		if p.name == name {
			return p, true
		}
	}
	return property{}, false
}

func (c *component) value(name string) string {
	p, _ := c.first(name)
	return p.value
}

// param is a parameter's value, without quotes.
func (p property) param(name string) string {
	for part := range strings.SplitSeq(p.params, ";") {
		if k, v, ok := strings.Cut(part, "="); ok && strings.EqualFold(k, name) {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

const notText = "This parser only supports VCARD and VCALENDAR files"

// parseText reads one component and what is in it; wrong is what sabre says of
// what is none.
func parseText(data []byte) (c *component, wrong string) {
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
	text = strings.NewReplacer("\n ", "", "\n\t", "").Replace(text)
	top := &component{}
	open := []*component{top}
	for line := range strings.SplitSeq(text, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		p := parseLine(line)
		last := open[len(open)-1]
		switch {
		case p.name == "BEGIN":
			k := &component{name: strings.ToUpper(p.value)}
			last.kids, open = append(last.kids, k), append(open, k)
		case last == top:
			return nil, notText
		case p.name == "END" && strings.EqualFold(p.value, last.name):
			open = open[:len(open)-1]
		case p.name == "END" || p.name == "":
			return nil, "Invalid line in the file"
		default:
			last.props = append(last.props, p)
		}
	}
	if len(open) != 1 || len(top.kids) != 1 || !slices.Contains([]string{"VCALENDAR", "VCARD"}, top.kids[0].name) {
		return nil, notText
	}
	return top.kids[0], ""
}

// parseLine splits NAME;PARAM=…:value. A group before the name is dropped.
func parseLine(line string) property {
	quoted := false
	for i, r := range line {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ':' && !quoted:
			name, params, _ := strings.Cut(line[:i], ";")
			if _, after, ok := strings.Cut(name, "."); ok {
				name = after
			}
			if params != "" {
				params = ";" + params
			}
			return property{strings.ToUpper(name), params, line[i+1:]}
		}
	}
	return property{}
}

// write puts a component down, its lines folded at 75 bytes.
func (c *component) write(b *strings.Builder) {
	b.WriteString("BEGIN:" + c.name + "\r\n")
	for _, p := range c.props {
		line := p.name + p.params + ":" + p.value
		for len(line) > 75 {
			at := 75
			for at > 1 && line[at]&0xc0 == 0x80 { // not within a character
				at--
			}
			b.WriteString(line[:at] + "\r\n")
			line = " " + line[at:]
		}
		b.WriteString(line + "\r\n")
	}
	for _, k := range c.kids {
		k.write(b)
	}
	b.WriteString("END:" + c.name + "\r\n")
}

func (c *component) String() string {
	var b strings.Builder
	c.write(&b)
	return b.String()
}

// unsupportedMedia is what is put that is not what the collection holds.
func unsupportedMedia(kind, wrong string) *fault {
	return refused(http.StatusUnsupportedMediaType, "This resource only supports valid "+kind+" data. Parse error: "+wrong)
}

// parseEvent reads what is to be stored in a calendar that takes some kinds of
// components, and mends what is missing.
func parseEvent(data []byte, takes []string) (*entry, string, error) {
	top, bad := parseText(data)
	if bad != "" {
		return nil, "", unsupportedMedia("iCalendar 2.0", bad)
	}
	if top.name != "VCALENDAR" {
		return nil, "", refused(http.StatusUnsupportedMediaType, "This collection can only support iCalendar objects.")
	}
	o := &entry{data: data}
	var wrong []string
	add := func(c *component, name, value, says string) {
		if c.value(name) == "" {
			c.props, wrong = append(c.props, property{name: name, value: value}), append(wrong, says)
		}
	}
	add(top, "VERSION", "2.0", "VERSION MUST appear exactly once in a VCALENDAR component")
	add(top, "PRODID", "-//Sabre//Sabre VObject 4.4.3//EN", "PRODID MUST appear exactly once in a VCALENDAR component")
	for _, k := range top.kids {
		if k.name == "VTIMEZONE" {
			continue
		}
		if o.component == "" {
			o.component = k.name
		}
		if k.name != o.component {
			return nil, "", refused(http.StatusForbidden, "A calendar object may have one kind of component only")
		}
		add(k, "UID", alnum(32), "UID MUST appear exactly once in a "+k.name+" component")
		add(k, "DTSTAMP", "19700101T000000Z", "DTSTAMP MUST appear exactly once in a "+k.name+" component")
		if o.uid == "" {
			o.uid = k.value("UID")
		}
		if k.value("UID") != o.uid {
			return nil, "", unsupportedMedia("iCalendar 2.0", "Every "+k.name+" must have the same UID")
		}
	}
	switch {
	case o.component == "":
		return nil, "", refused(http.StatusUnsupportedMediaType, "An iCalendar object must have at least 1 component.")
	case !slices.Contains(takes, o.component):
		return nil, "", &fault{status: http.StatusForbidden, exception: `Sabre\CalDAV\Exception\InvalidComponentType`,
			text: "Invalid component type. Only " + strings.Join(takes, ", ") + " are allowed", more: []element{el(nsCal, "supported-calendar-component")}}
	case len(wrong) > 0:
		o.data = []byte(top.String())
		return o, "iCalendar validation warning: " + strings.Join(wrong, ", "), nil
	}
	return o, "", nil
}

// parseCard reads what is to be stored in an address book.
func parseCard(data []byte) (*entry, string, error) {
	top, bad := parseText(data)
	if bad != "" {
		return nil, "", unsupportedMedia("vCard or jCard", bad)
	}
	if top.name != "VCARD" {
		return nil, "", refused(http.StatusUnsupportedMediaType, "This collection can only support vCard objects.")
	}
	if uid := top.value("UID"); uid != "" {
		return &entry{uid: uid, data: data}, "", nil
	}
	uid := alnum(32)
	top.props = append(top.props, property{name: "UID", value: uid})
	return &entry{uid: uid, data: []byte(top.String())}, "vCard validation warning: Adding a UID to a vCard property is recommended.", nil
}

// moment reads a DATE or DATE-TIME. Times without a zone are UTC here, and so
// are those of zones this machine does not know.
func (p property) moment() (t time.Time, day bool, ok bool) {
	zone := time.UTC
	if name := p.param("TZID"); name != "" {
		if l, err := time.LoadLocation(name); err == nil {
			zone = l
		}
	}
	v := strings.TrimSpace(p.value)
	for _, layout := range [...]string{"20060102T150405Z", "20060102T150405", "20060102"} {
		if strings.HasSuffix(layout, "Z") {
			t, err := time.Parse(layout, v)
			if err == nil {
				return t, false, true
			}
			continue
		}
		if t, err := time.ParseInLocation(layout, v, zone); err == nil {
			return t, len(layout) == 8, true
		}
	}
	return time.Time{}, false, false
}

// duration reads one like -PT15M or P1W (RFC 5545, section 3.3.6).
func duration(s string) time.Duration {
	sign, s := time.Duration(1), strings.TrimPrefix(s, "+")
	if after, ok := strings.CutPrefix(s, "-"); ok {
		sign, s = -1, after
	}
	units := map[byte]time.Duration{'W': 7 * 24 * time.Hour, 'D': 24 * time.Hour, 'H': time.Hour, 'M': time.Minute, 'S': time.Second}
	var sum time.Duration
	digits := ""
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digits += string(c)
		case units[c] != 0:
			n, _ := strconv.Atoi(digits)
			sum, digits = sum+time.Duration(n)*units[c], ""
		}
	}
	return sign * sum
}
