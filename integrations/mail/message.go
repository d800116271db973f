package mail

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/emersion/go-imap/v2"

	"anteroom/integrations"
)

// Message is a message as it is read.
type Message struct {
	Summary
	ReplyTo     []Correspondent `json:"reply_to"`
	InReplyTo   []string        `json:"in_reply_to" doc:"message ids"`
	References  []string        `json:"references" doc:"message ids, the first first"`
	Text        string          `json:"text" doc:"the text; where it is only there as HTML, made of that"`
	HTML        string          `json:"html,omitempty" doc:"safe to show: nothing in it runs or is loaded. Where images are from is in data-src"`
	Truncated   bool            `json:"truncated,omitempty" doc:"the text, or the HTML, is longer than 1 MiB, or broken"`
	Attachments []Attachment    `json:"attachments"`
	Incomplete  bool            `json:"incomplete,omitempty" doc:"it has more parts than are looked at"`
}

const (
	maxRaw   = 3 << 20 // of a text, before it is decoded
	maxTexts = 20      // parts that together are the text
)

// Message reads a message. It does not count as seen by that.
func (a *Account) Message(ctx context.Context, folder, message string) (m *Message, err error) {
	err = a.do(ctx, func(c *conn) error {
		at, err := c.at(folder, message, false)
		if err != nil {
			return err
		}
		e, err := c.whole(at)
		if err != nil {
			return err
		}
		m, err = c.read(e, at)
		return err
	})
	return m, err
}

// whole fetches all about a message but its content.
func (c *conn) whole(at id) (envelope, error) {
	e, err := c.one(at, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{headerSection()}}, maxStructure)
	switch why := c.guard.why(); {
	case errors.Is(why, errTooDeep), errors.Is(why, errTooMuch):
		return e, bomb(why)
	case err != nil:
		return e, err
	case e.BodyStructure == nil:
		return e, integrations.Unusable("The mail server", errors.New("a message has no structure"))
	}
	return e, nil
}

// bomb is a message that is made to be too much.
func bomb(err error) *integrations.Problem {
	return &integrations.Problem{Status: http.StatusRequestEntityTooLarge, Reason: integrations.ReasonTooLarge, Err: err,
		Text: "The message has too many parts, or parts within parts, to be read; it can be had as it is (raw)."}
}

// one fetches something of one message.
func (c *conn) one(at id, o *imap.FetchOptions, most int64) (envelope, error) {
	c.guard.allow(most)
	all, err := c.Fetch(imap.UIDSetNum(at.uid), o).Collect()
	if err != nil {
		return envelope{}, err
	}
	for _, b := range all {
		if b.UID != at.uid {
			continue
		}
		e := envelope{FetchMessageBuffer: b}
		if len(b.BodySection) > 0 {
			e.header = readHeader(b.BodySection[0].Bytes)
		}
		return e, nil
	}
	return envelope{}, integrations.NotFound("message")
}

// message is what the header says.
func (e envelope) message(at id) *Message {
	return &Message{Summary: e.entry(at), ReplyTo: e.addresses("Reply-To"), InReplyTo: e.ids("In-Reply-To"), References: e.ids("References"),
		Attachments: []Attachment{}}
}

// read makes a message of what was fetched of it, and fetches its texts.
func (c *conn) read(e envelope, at id) (*Message, error) {
	p := partsOf(e.BodyStructure)
	m := e.message(at)
	m.Incomplete = p.cut
	for _, l := range p.attachments {
		m.Attachments = append(m.Attachments, l.attachment())
	}
	m.HasAttachments = len(m.Attachments) > 0
	plain, cutPlain, err := c.texts(at, p.plain)
	if err != nil {
		return nil, err
	}
	rich, cutRich, err := c.texts(at, p.html)
	if err != nil {
		return nil, err
	}
	m.Text, m.Truncated = strings.TrimRight(plainText(plain), "\n"), cutPlain || cutRich
	if rich != "" {
		m.HTML = safeHTML(rich)
	}
	if plain == "" {
		m.Text = textOf(m.HTML)
	}
	return m, nil
}

// texts are parts of a message, one after the other.
func (c *conn) texts(at id, of []leaf) (whole string, isCut bool, err error) {
	var b strings.Builder
	for i, l := range of {
		if i == maxTexts || b.Len() >= maxText {
			return b.String(), true, nil
		}
		raw, err := c.section(at, l)
		if err != nil {
			return "", false, err
		}
		s, cutHere := text(raw, l)
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(cut(s, maxText-b.Len()))
		isCut = isCut || cutHere
	}
	return b.String(), isCut, nil
}

// section fetches the start of a part.
func (c *conn) section(at id, l leaf) ([]byte, error) {
	e, err := c.one(at, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Part: l.path, Peek: true,
		Partial: &imap.SectionPartial{Size: maxRaw}}}}, maxRaw+maxHeader)
	if err != nil || len(e.BodySection) == 0 {
		return nil, err
	}
	return e.BodySection[0].Bytes, nil
}
