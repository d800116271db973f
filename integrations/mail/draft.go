package mail

import (
	"io"
	"mime"
	"net/mail"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"anteroom/integrations"
)

// Draft is a message to be sent.
type Draft struct {
	To, CC, BCC []string // addresses, with or without a name: Ann <ann@example.com>
	ReplyTo     string   // "" for none
	Subject     string
	Text, HTML  string
	Attachments []Upload
	Key         string // of the caller's: the same one sends nothing a second time within a day; "" for none
}

// Upload is an attachment to be sent.
type Upload struct {
	Name    string
	Type    string // "" for application/octet-stream
	Content io.Reader
}

// recipient is an address and the field by which the caller gave it.
type recipient struct {
	field string
	*mail.Address
}

// letter is a draft that may be sent.
type letter struct {
	*Draft
	to, cc, bcc []recipient
	replyTo     *mail.Address
	inReplyTo   string
	references  []string
}

func (l *letter) recipients() (all []recipient) {
	return append(append(append(all, l.to...), l.cc...), l.bcc...)
}

// checked refuses what cannot be sent, or would be more than it seems: no field
// of the header can hold another.
func (d *Draft) checked() (*letter, error) {
	l := &letter{Draft: d}
	for _, f := range []struct {
		name string
		from []string
		to   *[]recipient
	}{{"to", d.To, &l.to}, {"cc", d.CC, &l.cc}, {"bcc", d.BCC, &l.bcc}} {
		for i, s := range f.from {
			field := f.name + "[" + strconv.Itoa(i) + "]"
			a, err := address(field, s)
			if err != nil {
				return nil, err
			}
			*f.to = append(*f.to, recipient{field, a})
		}
	}
	if d.ReplyTo != "" {
		var err error
		if l.replyTo, err = address("reply_to", d.ReplyTo); err != nil {
			return nil, err
		}
	}
	if err := singleLine("subject", d.Subject); err != nil {
		return nil, err
	}
	if err := singleLine("idempotency_key", d.Key); err != nil {
		return nil, err
	}
	for name, s := range map[string]string{"text": d.Text, "html": d.HTML} {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\r' && c != '\t' }) {
			return nil, integrations.Invalid(name, "has control characters, or is not UTF-8.")
		}
	}
	return l, d.checkAttachments()
}

// addressed refuses a letter to nobody, or to too many.
func (l *letter) addressed() error {
	switch n := len(l.recipients()); {
	case n == 0:
		return integrations.Invalid("to", "names nobody.")
	case n > maxRecipients:
		return integrations.Invalid("to", "is, with cc and bcc, %d addresses; want %d at most.", n, maxRecipients)
	}
	return nil
}

// plainAddress is an address as nearly all are: what else the rules allow is
// understood in several ways on its way.
var plainAddress = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$")

// address reads one address.
func address(field, s string) (*mail.Address, error) {
	if err := singleLine(field, s); err != nil {
		return nil, err
	}
	a, err := mail.ParseAddress(s)
	if err != nil || len(a.Address) > 254 || !plainAddress.MatchString(a.Address) {
		return nil, integrations.Invalid(field, "is no mail address of the form name@example.com or Name <name@example.com>.")
	}
	return a, singleLine(field, a.Name) // the name may have been encoded
}

// singleLine refuses what is no text of one line.
func singleLine(field, s string) error {
	switch {
	case len(s) > maxLine:
		return integrations.Invalid(field, "is longer than %d bytes.", maxLine)
	case !utf8.ValidString(s):
		return integrations.Invalid(field, "is not UTF-8.")
	case strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) || c == '\u2028' || c == '\u2029' }):
		return integrations.Invalid(field, "has line breaks or other control characters.")
	}
	return nil
}

func (d *Draft) checkAttachments() error {
	if len(d.Attachments) > 100 {
		return integrations.Invalid("attachments", "are %d; want 100 at most.", len(d.Attachments))
	}
	for i, u := range d.Attachments {
		field := "attachments[" + strconv.Itoa(i) + "]"
		if err := singleLine(field+".name", u.Name); err != nil {
			return err
		}
		if u.Name == "" || plainName(u.Name) != u.Name {
			return integrations.Invalid(field+".name", "is no plain file name.")
		}
		if err := singleLine(field+".type", u.Type); err != nil {
			return err
		}
		if u.Type == "" {
			continue
		}
		if media, params, err := mime.ParseMediaType(u.Type); err != nil || len(u.Type) > 200 || len(params) > 5 || !strings.Contains(media, "/") ||
			strings.HasPrefix(media, "multipart/") || mime.FormatMediaType(media, params) == "" {
			return integrations.Invalid(field+".type", "is no media type of a single file, such as application/pdf.")
		}
	}
	return nil
}
