package mail

import (
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// Correspondent is one of a mail's.
type Correspondent struct {
	Name  string `json:"name,omitempty"`
	Email string `json:"email" doc:"empty where it cannot be read"`
}

// fields are the header fields that are looked at.
var fields = []string{"From", "Reply-To", "To", "Cc", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Content-Type", "Content-Disposition"}

// headerSection asks for these fields, and for so much of them and no more:
// whoever writes to us cannot make a list of messages long by a long header.
func headerSection() *imap.FetchItemBodySection {
	return &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFields: fields, Peek: true,
		Partial: &imap.SectionPartial{Size: maxHeader}}
}

const (
	maxAddresses  = 200 // of a header field, that are told
	maxReferences = 100
	maxLine       = 998 // of a name or a subject, in bytes (RFC 5322 §2.1.1)
)

// header is a message's, by canonical field name; of a field that is there
// twice, the first.
type header map[string]string

// readHeader reads what there is. It never fails: what cannot be read is left
// out, and so is a last line that was cut off.
func readHeader(b []byte) header {
	h := header{}
	last := ""
	text := string(b)
	if len(b) >= maxHeader {
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line != "" && (line[0] == ' ' || line[0] == '\t') {
			if last != "" {
				h[last] += line
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		last = ""
		if name = canonical(strings.TrimSpace(name)); ok && name != "" {
			if _, twice := h[name]; !twice {
				h[name], last = strings.TrimSpace(value), name
			}
		}
	}
	return h
}

func canonical(name string) string {
	for _, f := range fields {
		if strings.EqualFold(f, name) {
			return f
		}
	}
	return ""
}

// text is a field's text, decoded (RFC 2047), on one line.
func (h header) text(name string) string { return plainLine(decodeWords(h[name])) }

func decodeWords(s string) string {
	d, err := words.DecodeHeader(s)
	if err != nil {
		d = s
	}
	return d
}

// plainLine is a text as one line that may be shown: UTF-8 without control
// characters, of bounded length.
func plainLine(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case c == '\t', c == '\n', c == '\r':
			return ' '
		case unicode.IsControl(c), bidi(c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.TrimSpace(cut(s, maxLine))
}

// bidi reports whether a character turns the order in which others are shown:
// it can make a name look like another.
func bidi(c rune) bool {
	return c >= '\u202a' && c <= '\u202e' || c >= '\u2066' && c <= '\u2069' || c == '\u200e' || c == '\u200f' || c == '\u061c'
}

// cut is the start of a text, of so many bytes at most, of whole characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// addresses are those of a field, as far as they can be read.
func (h header) addresses(name string) []Correspondent {
	list := []Correspondent{}
	s := h[name]
	if s == "" {
		return list
	}
	p := mail.AddressParser{WordDecoder: words}
	parsed, err := p.ParseList(s)
	if err != nil {
		return append(list, unreadable(s))
	}
	for _, a := range parsed[:min(len(parsed), maxAddresses)] {
		list = append(list, Correspondent{Name: plainLine(a.Name), Email: plainLine(a.Address)})
	}
	return list
}

// unreadable is what can be said of an address field that breaks the rules: its
// text, and what stands in angle brackets if that is one address.
func unreadable(s string) Correspondent {
	before, rest, ok := strings.Cut(s, "<")
	if inner, after, closed := strings.Cut(rest, ">"); ok && closed && strings.TrimSpace(after) == "" {
		if a, err := mail.ParseAddress(inner); err == nil {
			return Correspondent{Name: plainLine(decodeWords(strings.Trim(before, `" `))), Email: plainLine(a.Address)}
		}
	}
	return Correspondent{Name: plainLine(decodeWords(s))}
}

// date is when it was written as its sender says, or else when it arrived.
func (h header) date(arrived time.Time) time.Time {
	for _, t := range []time.Time{dateOf(h["Date"]), arrived} {
		if _, err := t.MarshalText(); err == nil && !t.IsZero() { // a zone, or a year, that RFC 3339 has not
			return t
		}
	}
	return time.Unix(0, 0).UTC()
}

func dateOf(s string) time.Time {
	t, err := mail.ParseDate(s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// ids are the message ids of a field, without their brackets. Nothing need be
// between two of them, and comments may (RFC 5322 §3.6.4); one that was cut off
// takes none along that is whole.
func (h header) ids(name string) []string {
	list := []string{}
	for rest, closed := h[name], true; closed && len(list) < maxReferences; {
		var before string
		before, rest, closed = strings.Cut(rest, ">")
		if open := strings.LastIndexByte(before, '<'); closed && open >= 0 {
			if id := messageID(before[open:] + ">"); id != "" {
				list = append(list, id)
			}
		}
	}
	return list
}

// id is the first message id of a field; "" for none.
func (h header) id(name string) string {
	if all := h.ids(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

// messageID is what stands in angle brackets; "" for what can be no message id.
// There is mail whose has no @, and that threads by it all the same.
func messageID(s string) string {
	id, ok := strings.CutPrefix(strings.TrimSpace(s), "<")
	id, closed := strings.CutSuffix(id, ">")
	if !ok || !closed || id == "" || len(id) > 500 ||
		strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' || c == '<' || c == '>' }) {
		return ""
	}
	return id
}
