package api

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"anteroom/integrations"
	"anteroom/integrations/mail"
)

// mail are the operations on mail. What a message is in is a parameter, and no
// part of the path: its name may have slashes.
func (a *API) mail() []*operation {
	of := func(id, method, path, summary string) operation {
		return operation{ID: id, Method: method, Path: "/mail" + path, Summary: summary, Section: "mail", Changes: method != http.MethodGet}
	}
	const messages, message = "/messages", "/messages/{id}"
	return []*operation{
		operate(of("listMailboxes", "GET", "/folders", "The account's folders, the inbox first"), (*exchange).listMailboxes, jsonOf[mailboxList](http.StatusOK)),
		operate(of("listMessages", "GET", messages, "The messages of a folder, newest first"), (*exchange).listMessages, jsonOf[messagePage](http.StatusOK)),
		operate(of("sendMessage", "POST", messages, "Send a message"), (*exchange).sendMessage, jsonOf[mail.Sent](http.StatusOK)),
		operate(of("getMessage", "GET", message, "One message, as text and as HTML that is safe to show; it does not count as seen by that"), (*exchange).getMessage, jsonOf[mail.Message](http.StatusOK)),
		operate(of("setMessageFlags", "PATCH", message, "Mark a message, or take marks away; what is not said stays"), (*exchange).setMessageFlags, nothing(http.StatusNoContent)),
		operate(of("deleteMessage", "DELETE", message, "Move a message to the trash; from there, or where there is none, remove it for good"), (*exchange).deleteMessage, nothing(http.StatusNoContent)),
		operate(of("moveMessage", "POST", message+"/move", "Move a message to another folder"), (*exchange).moveMessage, jsonOf[movedMessage](http.StatusOK)),
		operate(of("replyToMessage", "POST", message+"/reply", "Answer a message"), (*exchange).replyToMessage, jsonOf[mail.Sent](http.StatusOK)),
		operate(of("getRawMessage", "GET", message+"/raw", "A message as it is (RFC 5322)"), (*exchange).getRawMessage, bytesOf(http.StatusOK, "message/rfc822", "Content-Disposition")),
		operate(of("getAttachment", "GET", message+"/attachments/{part}", "A part of a message, decoded"), (*exchange).getAttachment, bytesOf(http.StatusOK, "*/*", "Content-Disposition")),
		operate(of("messageChanges", "GET", "/changes", "The messages that came, or whose marks changed, since a cursor; without one, the cursor alone"), (*exchange).messageChanges, jsonOf[messageChanges](http.StatusOK)),
	}
}

// box is the mail account, used as the service account that it is.
func (x *exchange) box() mail.Box {
	m := &x.a.o.Config.Mail
	x.c.As = m.Username
	if x.a.mailApp == nil {
		return x.a.mailbox
	}
	x.grant = integrations.Grant{Credential: m.Account(), By: integrations.ByService, File: m.File, Service: "mail", Caller: &x.c.Caller}
	return x.a.mailApp.Through(x.a.o.Access.Wire(x.a.o.Client, &x.grant))
}

// inFolder names a folder.
type inFolder struct {
	Folder string `query:"folder" default:"INBOX" min:"1" max:"1000" doc:"its name, as listMailboxes has it"`
}

// ofMessage names a message.
type ofMessage struct {
	inFolder
	ID string `path:"id" max:"64"`
}

// message is the account, and what is done is about this message.
func (x *exchange) message(in *ofMessage) (box mail.Box, folder, id string) {
	x.c.Object = in.Folder + "/" + in.ID
	return x.box(), in.Folder, in.ID
}

type mailboxList struct {
	Items []mail.Mailbox `json:"items"`
}

func (x *exchange) listMailboxes(*struct{}) error {
	all, err := x.box().Folders(x.ctx())
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, mailboxList{all})
}

type listMessages struct {
	inFolder
	Text    string    `query:"text" max:"200" doc:"a part of anything in the message"`
	From    string    `query:"from" max:"200" doc:"a part of whom it is from"`
	To      string    `query:"to" max:"200" doc:"a part of whom it is to"`
	Subject string    `query:"subject" max:"200" doc:"a part of the subject"`
	Since   time.Time `query:"since" doc:"it arrived on that day or later; the hour does not count"`
	Before  time.Time `query:"before" doc:"it arrived before that day"`
	Unseen  bool      `query:"unseen" doc:"true: only what is not seen yet"`
	Limit   int       `query:"limit" min:"1" max:"100" default:"50"`
	Cursor  string    `query:"cursor" max:"64" doc:"from the answer before"`
}

type messagePage struct {
	Items []mail.Summary `json:"items"`
	next
}

func (x *exchange) listMessages(in *listMessages) error {
	p, err := x.box().Messages(x.ctx(), in.Folder, mail.Query{Text: in.Text, From: in.From, To: in.To, Subject: in.Subject,
		Since: in.Since, Before: in.Before, Unseen: in.Unseen, Limit: in.Limit, Cursor: in.Cursor})
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, messagePage{p.Items, next{p.Cursor}})
}

func (x *exchange) getMessage(in *ofMessage) error {
	box, folder, id := x.message(in)
	m, err := box.Message(x.ctx(), folder, id)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, m)
}

type setMessageFlags struct {
	ofMessage
	Body mail.Flags `body:"json"`
}

func (x *exchange) setMessageFlags(in *setMessageFlags) error {
	box, folder, id := x.message(&in.ofMessage)
	if err := box.SetFlags(x.ctx(), folder, id, in.Body); err != nil {
		return err
	}
	return x.nothing(http.StatusNoContent)
}

func (x *exchange) deleteMessage(in *ofMessage) error {
	box, folder, id := x.message(in)
	if err := box.Delete(x.ctx(), folder, id); err != nil {
		return err
	}
	return x.nothing(http.StatusNoContent)
}

type moveMessage struct {
	ofMessage
	Body struct {
		To string `json:"to" required:"true" max:"1000" doc:"a folder, as listMailboxes has it"`
	} `body:"json"`
}

type movedMessage struct {
	ID string `json:"id,omitempty" doc:"in the folder where it is now; missing where the server does not say"`
}

func (x *exchange) moveMessage(in *moveMessage) error {
	box, folder, id := x.message(&in.ofMessage)
	x.c.To = in.Body.To
	moved, err := box.Move(x.ctx(), folder, id, in.Body.To)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, movedMessage{moved})
}

// writtenMail is what a message to be sent says. All of it is in memory: bodies
// are of 10 MiB at most, in which attachments are a third larger than they are.
type writtenMail struct {
	CC          []string       `json:"cc,omitempty" max:"100"`
	BCC         []string       `json:"bcc,omitempty" max:"100"`
	ReplyTo     string         `json:"reply_to,omitempty" max:"998"`
	Text        string         `json:"text,omitempty" lines:"true" max:"1048576"`
	HTML        string         `json:"html,omitempty" lines:"true" max:"1048576" doc:"the text as HTML, beside the text or alone"`
	Attachments []outgoingFile `json:"attachments,omitempty" max:"100" doc:"about 7 MiB in all"`
	Key         string         `json:"idempotency_key,omitempty" max:"200" doc:"makes asking twice harmless: what was sent with it within a day is not sent again"`
}

type outgoingFile struct {
	Name    string `json:"name" required:"true" max:"200"`
	Type    string `json:"type,omitempty" max:"200" doc:"media type; missing: application/octet-stream"`
	Content []byte `json:"content" max:"10485760"`
}

// draft makes a message of it. A key is its caller's: others may choose the same.
func (x *exchange) draft(w *writtenMail) mail.Draft {
	d := mail.Draft{CC: w.CC, BCC: w.BCC, ReplyTo: w.ReplyTo, Text: w.Text, HTML: w.HTML}
	for _, a := range w.Attachments {
		d.Attachments = append(d.Attachments, mail.Upload{Name: a.Name, Type: a.Type, Content: bytes.NewReader(a.Content)})
	}
	if w.Key != "" {
		d.Key = strconv.QuoteToASCII(x.c.Who.Subject) + " " + w.Key
	}
	return d
}

type sendMessage struct {
	Body struct {
		writtenMail
		To      []string `json:"to" required:"true" min:"1" max:"100" doc:"addresses, with a name or without: Ann <ann@example.com>"`
		Subject string   `json:"subject,omitempty" max:"998"`
	} `body:"json" max:"10485760"`
}

func (x *exchange) sendMessage(in *sendMessage) error {
	d := x.draft(&in.Body.writtenMail)
	d.To, d.Subject = in.Body.To, in.Body.Subject
	return x.sent(x.box().Send(x.ctx(), d))
}

type replyToMessage struct {
	ofMessage
	Body struct {
		writtenMail
		To      []string `json:"to,omitempty" max:"100" doc:"besides whom the message asks to answer"`
		Subject string   `json:"subject,omitempty" max:"998" doc:"missing: the message's, with Re: before it"`
		All     bool     `json:"all,omitempty" doc:"to all that the message went to"`
	} `body:"json" max:"10485760"`
}

func (x *exchange) replyToMessage(in *replyToMessage) error {
	box, folder, id := x.message(&in.ofMessage)
	d := x.draft(&in.Body.writtenMail)
	d.To, d.Subject = in.Body.To, in.Body.Subject
	return x.sent(box.Reply(x.ctx(), folder, id, d, in.Body.All))
}

func (x *exchange) sent(s mail.Sent, err error) error {
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, s)
}

func (x *exchange) getRawMessage(in *ofMessage) error {
	box, folder, id := x.message(in)
	return x.content(func(ctx context.Context) (*mail.Content, error) { return box.Raw(ctx, folder, id) })
}

type getAttachment struct {
	ofMessage
	Part string `path:"part" max:"100" doc:"as the message's attachments have it"`
}

func (x *exchange) getAttachment(in *getAttachment) error {
	box, folder, id := x.message(&in.ofMessage)
	return x.content(func(ctx context.Context) (*mail.Content, error) { return box.Attachment(ctx, folder, id, in.Part) })
}

// content answers with what comes from the mail server, as it comes. Whoever
// sent it chose what it says: it is something to be saved, and runs nowhere.
func (x *exchange) content(open func(context.Context) (*mail.Content, error)) error {
	c, err := open(x.ctx())
	if err != nil {
		return err
	}
	defer c.Close()
	h := x.w.Header()
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": c.Name}))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if c.Size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(c.Size, 10))
	}
	x.begin(http.StatusOK, c.Type)
	if x.r.Method == http.MethodHead {
		return nil
	}
	_, err = io.Copy(&steady{x}, c)
	return err
}

// stallTime is how long a caller may take nothing of an answer that holds a
// connection to the mail server.
const stallTime = 30 * time.Second

// steady writes to a caller who has to keep on reading.
type steady struct{ x *exchange }

// Write implements io.Writer.
func (s *steady) Write(b []byte) (int, error) {
	rc := http.NewResponseController(s.x.w)
	_ = rc.SetWriteDeadline(time.Now().Add(stallTime))
	n, err := s.x.w.Write(b)
	_ = rc.SetWriteDeadline(time.Time{})
	return n, err
}

type messageChangesOf struct {
	inFolder
	Cursor string `query:"cursor" max:"64" doc:"from the answer before; missing: begin"`
}

type messageChanges struct{ mail.Changes }

func (x *exchange) messageChanges(in *messageChangesOf) error {
	ch, err := x.box().Changes(x.ctx(), in.Folder, in.Cursor)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, messageChanges{ch})
}

// openMail opens the mail account of the configuration, if there is one.
func (a *API) openMail() (err error) {
	switch cfg, o := a.o.Config.Mail, (mail.Options{Log: a.o.Log, Now: a.o.Now, Keys: a.o.MailKeys}); {
	case cfg.Nextcloud > 0:
		a.mailApp = mail.OpenApp(cfg, o)
	case cfg.Said():
		a.mailbox, err = mail.Open(cfg, o)
	}
	return err
}
