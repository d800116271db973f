package mail

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"

	"anteroom/integrations"
)

// outgoing is a message to be sent, as the app takes it.
type outgoing struct {
	Account    int          `json:"accountId"`
	From       string       `json:"fromEmail"`
	Subject    string       `json:"subject"`
	Body       string       `json:"body"`
	IsHTML     bool         `json:"isHtml"`
	To         []appAddress `json:"to"`
	CC         []appAddress `json:"cc"`
	BCC        []appAddress `json:"bcc"`
	References string       `json:"references,omitempty"`
}

// Send implements Box. Where there is HTML, that is sent and not the text.
func (b *appBox) Send(ctx context.Context, d Draft) (Sent, error) {
	l, err := d.checked()
	if err != nil {
		return Sent{}, err
	}
	return b.send(ctx, l)
}

func (b *appBox) send(ctx context.Context, l *letter) (Sent, error) {
	switch {
	case len(l.Attachments) > 0 || l.ReplyTo != "":
		return Sent{}, absent("attachments, and no reply_to, on what they send")
	case len(l.to) == 0:
		return Sent{}, integrations.Invalid("to", "names nobody.")
	case l.addressed() != nil:
		return Sent{}, l.addressed()
	}
	from, err := b.sender(ctx)
	if err != nil {
		return Sent{}, err
	}
	o := outgoing{Account: b.account, From: from, Subject: l.Subject, Body: l.Text, To: appAddresses(l.to), CC: appAddresses(l.cc), BCC: appAddresses(l.bcc)}
	if l.HTML != "" {
		o.Body, o.IsHTML = l.HTML, true
	}
	if l.inReplyTo != "" {
		o.References = "<" + l.inReplyTo + ">"
	}
	if l.Key != "" {
		said, _ := json.Marshal(o)
		if before, err := b.keys.begin(ctx, l.Key, sha256.Sum256(said), b.now()); err != nil || before != nil {
			if err != nil {
				return Sent{}, err
			}
			return *before, nil
		}
	}
	err = b.ask(context.WithoutCancel(ctx), http.MethodPost, "/message/send", nil, o, "account, or address to send from,", nil)
	if err != nil {
		b.keys.end(ctx, l.Key, nil)
		return Sent{}, unsure(err)
	}
	b.keys.end(ctx, l.Key, &Sent{})
	return Sent{}, nil
}

// unsure says what it means when the app has trouble in the middle of sending,
// where it tries again by itself, or when its answer does not come.
func unsure(err error) error {
	p, _ := integrations.ProblemOf(err)
	switch {
	case p == nil:
	case p.Reason == integrations.ReasonAnswer:
		return &integrations.Problem{Status: p.Status, Reason: p.Reason, Err: p.Err,
			Text: "Nextcloud's Mail app could not send the message, and may try again by itself: look into its outbox before sending it again."}
	case p.Reason == integrations.ReasonAway, p.Reason == integrations.ReasonSlow:
		return &integrations.Problem{Status: p.Status, Reason: p.Reason, Err: p.Err,
			Text: "Nextcloud did not say what became of the message: it may have been sent. Look among what was sent before sending it again."}
	}
	return err
}

func appAddresses(list []recipient) []appAddress {
	all := []appAddress{}
	for _, r := range list {
		all = append(all, appAddress{Label: r.Name, Email: r.Address.Address})
	}
	return all
}

// sender is the address of the account, where none is configured.
func (b *appBox) sender(ctx context.Context) (string, error) {
	if b.from != "" {
		return b.from, nil
	}
	var all []struct {
		ID    int    `json:"id"`
		Email string `json:"email"`
	}
	if err := b.ask(ctx, http.MethodGet, "/account/list", nil, nil, "account", &all); err != nil {
		return "", err
	}
	for _, a := range all {
		if a.ID == b.account {
			return a.Email, nil
		}
	}
	return "", integrations.NotFound("account in Nextcloud's Mail app (integrations.mail.nextcloud_account)")
}

// Reply implements Box. The app marks what was answered itself.
func (b *appBox) Reply(ctx context.Context, folder, message string, d Draft, all bool) (Sent, error) {
	l, err := d.checked()
	if err != nil {
		return Sent{}, err
	}
	to, err := b.Message(ctx, folder, message)
	if err != nil {
		return Sent{}, err
	}
	own, err := b.sender(ctx)
	if err != nil {
		return Sent{}, err
	}
	if err := l.answer(to, own, all); err != nil {
		return Sent{}, err
	}
	return b.send(ctx, l)
}

// Attachment implements Box.
func (b *appBox) Attachment(context.Context, string, string, string) (*Content, error) {
	return nil, absent("attachments")
}

// Raw implements Box.
func (b *appBox) Raw(context.Context, string, string) (*Content, error) {
	return nil, absent("messages as they are")
}

// Changes implements Box.
func (b *appBox) Changes(context.Context, string, string) (Changes, error) {
	return Changes{}, absent("changes")
}

// SetFlags implements Box.
func (b *appBox) SetFlags(context.Context, string, string, Flags) error { return absent("marks") }

// Move implements Box.
func (b *appBox) Move(context.Context, string, string, string) (string, error) {
	return "", absent("moving of messages")
}

// Delete implements Box.
func (b *appBox) Delete(context.Context, string, string) error {
	return absent("deleting of messages")
}
