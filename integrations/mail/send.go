package mail

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/mail"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"anteroom/integrations"
)

// Sent is what became of a message that the mail server took.
type Sent struct {
	MessageID string `json:"message_id,omitempty" doc:"missing where the server does not say"`
	SavedTo   string `json:"saved_to,omitempty" doc:"the folder that has a copy; missing if there is none"`
	Repeated  bool   `json:"repeated,omitempty" doc:"it was sent before, with the same idempotency_key, and not again"`
}

// Send sends a message, and keeps a copy in the folder for what was sent if
// there is one. Once it has begun to, the end of ctx does not stop it.
func (a *Account) Send(ctx context.Context, d Draft) (Sent, error) {
	l, err := d.checked()
	if err != nil {
		return Sent{}, err
	}
	return a.send(ctx, l)
}

func (a *Account) send(ctx context.Context, l *letter) (Sent, error) {
	if a.smtp == nil {
		return Sent{}, unavailable("sending mail")
	}
	if err := l.addressed(); err != nil {
		return Sent{}, err
	}
	by := callerOf(ctx)
	if err := a.sending.Acquire(ctx, by, 0); err != nil {
		return Sent{}, a.trouble(err)
	}
	defer a.sending.Release(by)
	sent := Sent{MessageID: a.messageID(l.Key)}
	message, err := l.compose(a.from, sent.MessageID, a.o.Now())
	if err != nil {
		return Sent{}, a.trouble(err)
	}
	if l.Key != "" {
		before, err := a.keys.begin(ctx, l.Key, message.digest, a.o.Now())
		if err != nil {
			return Sent{}, err
		}
		if before != nil {
			return *before, nil
		}
	}
	ctx = context.WithoutCancel(ctx) // whoever no longer waits asks again: then it is known what became of it
	if err := a.deliver(ctx, message.bytes, l.recipients()); err != nil {
		a.keys.end(ctx, l.Key, nil)
		return Sent{}, err
	}
	a.keys.end(ctx, l.Key, &sent) // before the copy is made: it is sent, whatever comes
	kept := sent
	kept.SavedTo = a.keep(ctx, message.bytes)
	a.keys.end(ctx, l.Key, &kept)
	return kept, nil
}

// messageID is a new one; for a key, always the same.
func (a *Account) messageID(key string) string {
	var random [16]byte
	_, _ = rand.Read(random[:])
	local := random[:]
	if key != "" {
		sum := sha256.Sum256([]byte("anteroom/mail\x00" + a.from + "\x00" + key))
		local = sum[:16]
	}
	return hex.EncodeToString(local) + a.from[strings.LastIndexByte(a.from, '@'):]
}

// keep puts a copy of a sent message where such are, and returns that folder;
// "" if it cannot be done.
func (a *Account) keep(ctx context.Context, message []byte) string {
	if a.imap == nil {
		return ""
	}
	folder := ""
	err := a.do(ctx, func(c *conn) (err error) {
		if folder, err = c.withRole("sent"); err != nil || folder == "" {
			return err
		}
		c.touched = true
		return c.add(folder, message)
	})
	if err != nil {
		a.o.Log.Warn("a sent mail could not be copied to the folder for sent mail", "error", err)
		return ""
	}
	return folder
}

// add puts a message into a folder, as one that was seen.
func (c *conn) add(folder string, message []byte) error {
	c.guard.allow(maxHeader)
	w := c.Append(folder, int64(len(message)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen}})
	_, err := w.Write(message)
	if closing := w.Close(); err == nil {
		err = closing
	}
	if _, failed := w.Wait(); failed != nil {
		return failed
	}
	return err
}

// Reply answers a message: to whom it asks for, or to all that it went to. What
// the draft has in To, CC and BCC is added; its Subject, if empty, is the
// message's. The message is marked as answered.
func (a *Account) Reply(ctx context.Context, folder, message string, d Draft, all bool) (Sent, error) {
	l, err := d.checked()
	if err != nil {
		return Sent{}, err
	}
	var to *Message
	err = a.do(ctx, func(c *conn) error {
		at, err := c.at(folder, message, false)
		if err != nil {
			return err
		}
		e, err := c.one(at, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{headerSection()}}, 2*maxHeader)
		if err == nil {
			to = e.message(at)
		}
		return err
	})
	if err != nil {
		return Sent{}, err
	}
	if err := l.answer(to, a.from, all); err != nil {
		return Sent{}, err
	}
	sent, err := a.send(ctx, l)
	if err == nil && !sent.Repeated {
		yes := true
		if err := a.SetFlags(context.WithoutCancel(ctx), folder, message, Flags{Answered: &yes}); err != nil {
			a.o.Log.Warn("a message that was answered could not be marked so", "error", err)
		}
	}
	return sent, err
}

// answer makes a letter the answer to a message (RFC 5322 §3.6.4).
func (l *letter) answer(to *Message, own string, all bool) error {
	back := to.ReplyTo
	if len(back) == 0 {
		back = to.From
	}
	if l.add(&l.to, back, own); len(l.to) == 0 { // it is our own
		l.add(&l.to, to.To, own)
	}
	if len(l.to) == 0 {
		return &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Text: "The message names nobody whom it can be answered to; name them (to)."}
	}
	if all {
		l.add(&l.cc, slices.Concat(to.To, to.CC), own)
	}
	if l.Subject == "" {
		l.Subject = cut(to.Subject, maxLine-4)
		if len(l.Subject) < 3 || !strings.EqualFold(l.Subject[:3], "re:") {
			l.Subject = "Re: " + l.Subject
		}
	}
	if l.inReplyTo = to.MessageID; l.inReplyTo == "" {
		return nil
	}
	if l.references = to.References; len(l.references) == 0 {
		l.references = to.InReplyTo
	}
	if most := 50; len(l.references) > most { // the first is what the thread goes by
		l.references = append(l.references[:1:1], l.references[len(l.references)-most+1:]...)
	}
	l.references = append(l.references[:len(l.references):len(l.references)], l.inReplyTo)
	return nil
}

// add adds the addresses of a message that can be written to, but for our own
// and those that are there.
func (l *letter) add(list *[]recipient, more []Correspondent, own string) {
	for _, m := range more {
		a := &mail.Address{Name: m.Name, Address: m.Email}
		there := slices.ContainsFunc(l.recipients(), func(r recipient) bool { return strings.EqualFold(r.Address.Address, a.Address) })
		if there || strings.EqualFold(a.Address, own) || !plainAddress.MatchString(a.Address) || len(a.Address) > 254 {
			continue
		}
		*list = append(*list, recipient{"the message's sender", a})
	}
}
