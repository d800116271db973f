package mail

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/emersion/go-message/mail"

	"anteroom/integrations"
)

// composed is a message as it is sent, and what tells it from others that would
// say something else.
type composed struct {
	bytes  []byte
	digest [sha256.Size]byte
}

// compose writes a letter as a message (RFC 5322). Who is in BCC is nowhere in
// it.
func (l *letter) compose(from, messageID string, now time.Time) (*composed, error) {
	var h mail.Header
	h.SetDate(now)
	h.SetMessageID(messageID)
	h.SetAddressList("From", []*mail.Address{{Address: from}})
	for name, list := range map[string][]recipient{"To": l.to, "Cc": l.cc} {
		if len(list) > 0 {
			h.SetAddressList(name, addressesOf(list))
		}
	}
	if len(l.to)+len(l.cc) == 0 {
		h.Set("To", "undisclosed-recipients:;")
	}
	if l.replyTo != nil {
		h.SetAddressList("Reply-To", []*mail.Address{{Name: l.replyTo.Name, Address: l.replyTo.Address}})
	}
	if l.inReplyTo != "" {
		h.SetMsgIDList("In-Reply-To", []string{l.inReplyTo})
		h.SetMsgIDList("References", l.references)
	}
	h.SetSubject(l.Subject)
	h.Set("Mime-Version", "1.0")

	sum := sha256.New()
	for _, r := range l.recipients() {
		fmt.Fprintf(sum, "%q %q\n", r.field, r.Address.Address)
	}
	fmt.Fprintf(sum, "%q %q %q %q %q\n", l.ReplyTo, l.inReplyTo, l.Subject, l.Text, l.HTML)
	w := &writing{left: maxContent, sum: sum}
	if err := w.letter(l, h); err != nil {
		return nil, err
	}
	c := &composed{bytes: w.b.Bytes()}
	sum.Sum(c.digest[:0])
	return c, nil
}

func addressesOf(list []recipient) []*mail.Address {
	all := make([]*mail.Address, len(list))
	for i, r := range list {
		all[i] = &mail.Address{Name: r.Name, Address: r.Address.Address}
	}
	return all
}

// writing is a message in the making.
type writing struct {
	b    bytes.Buffer
	left int64     // of content, that may still come
	sum  hash.Hash // of all content
}

func (w *writing) letter(l *letter, h mail.Header) error {
	if len(l.Attachments) == 0 {
		in, err := mail.CreateInlineWriter(&w.b, h)
		if err != nil {
			return fmt.Errorf("composing a message: %w", err)
		}
		return w.texts(in, l)
	}
	m, err := mail.CreateWriter(&w.b, h)
	if err != nil {
		return fmt.Errorf("composing a message: %w", err)
	}
	in, err := m.CreateInline()
	if err != nil {
		return fmt.Errorf("composing a message: %w", err)
	}
	if err := w.texts(in, l); err != nil {
		return err
	}
	for i := range l.Attachments {
		if err := w.attachment(m, &l.Attachments[i]); err != nil {
			return err
		}
	}
	return m.Close()
}

// texts writes the text, and the HTML as its alternative.
func (w *writing) texts(in *mail.InlineWriter, l *letter) error {
	for _, t := range []struct{ media, text string }{{"text/plain", l.Text}, {"text/html", l.HTML}} {
		if t.text == "" && (t.media == "text/html" || l.HTML != "") {
			continue
		}
		var h mail.InlineHeader
		h.SetContentType(t.media, map[string]string{"charset": "utf-8"})
		h.Set("Content-Transfer-Encoding", "quoted-printable")
		p, err := in.CreatePart(h)
		if err != nil {
			return fmt.Errorf("composing a text: %w", err)
		}
		if err := w.copy(p, strings.NewReader(strings.ReplaceAll(t.text, "\r\n", "\n"))); err != nil {
			return err
		}
	}
	return in.Close()
}

func (w *writing) attachment(m *mail.Writer, u *Upload) error {
	var h mail.AttachmentHeader
	media, params, err := mime.ParseMediaType(u.Type)
	if err != nil || strings.HasPrefix(media, "message/") { // which may not be in base64 (RFC 2046 §5.2)
		media, params = "application/octet-stream", nil
	}
	h.SetContentType(media, params)
	h.SetFilename(u.Name)
	h.Set("Content-Transfer-Encoding", "base64")
	fmt.Fprintf(w.sum, "%q %q\n", u.Name, u.Type)
	p, err := m.CreateAttachment(h)
	if err != nil {
		return fmt.Errorf("composing an attachment: %w", err)
	}
	return w.copy(p, u.Content)
}

// copy writes content, as much of it as there may be.
func (w *writing) copy(to io.WriteCloser, from io.Reader) error {
	n, err := io.Copy(to, io.TeeReader(io.LimitReader(from, w.left+1), w.sum))
	fmt.Fprintf(w.sum, "\n%d\n", n)
	if w.left -= n; w.left < 0 {
		return &integrations.Problem{Status: http.StatusRequestEntityTooLarge, Reason: integrations.ReasonTooLarge,
			Text: fmt.Sprintf("The message is larger than %d MiB, all in all.", maxContent>>20)}
	}
	if err != nil {
		return &integrations.Problem{Status: http.StatusBadRequest, Reason: integrations.ReasonInvalid, Text: "The message's content broke off.", Err: err}
	}
	return to.Close()
}
