package mail

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"anteroom/integrations"
	"anteroom/integrations/mail/mailtest"
)

func TestSending(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	a, ctx := open(t, s), context.Background()
	sent, err := a.Send(ctx, Draft{To: []string{"Jörg <joerg@example.org>"}, CC: []string{"c@example.org"}, BCC: []string{"secret@example.org"},
		ReplyTo: "office@example.com", Subject: "Grüße", Text: "Guten Tag\n.\nEnde", HTML: "<p>Guten Tag</p>",
		Attachments: []Upload{{Name: "Übersicht.pdf", Type: "application/pdf", Content: strings.NewReader("%PDF\r\n.\r\n")}}})
	if err != nil || sent.SavedTo != "Sent" || !strings.HasSuffix(sent.MessageID, "@example.com") {
		t.Fatalf("Send() = %+v, %v, want it sent and saved", sent, err)
	}
	got := s.Delivered()
	if len(got) != 1 {
		t.Fatalf("delivered = %d, want 1", len(got))
	}
	if want := []string{"joerg@example.org", "c@example.org", "secret@example.org"}; got[0].From != mailtest.User || !cmp.Equal(got[0].To, want) {
		t.Errorf("envelope = %v %v, want %v %v", got[0].From, got[0].To, mailtest.User, want)
	}
	if strings.Contains(strings.ToLower(got[0].Text), "secret@") || strings.Contains(strings.ToLower(got[0].Text), "\nbcc:") {
		t.Errorf("the message names who is in bcc:\n%s", got[0].Text)
	}
	r, err := mail.CreateReader(strings.NewReader(got[0].Text))
	if err != nil {
		t.Fatal(err)
	}
	subject, _ := r.Header.Subject()
	id, _ := r.Header.MessageID()
	to, _ := r.Header.AddressList("To")
	back, _ := r.Header.AddressList("Reply-To")
	if subject != "Grüße" || id != sent.MessageID || len(to) != 1 || to[0].Name != "Jörg" || len(back) != 1 || back[0].Address != "office@example.com" {
		t.Errorf("header = %q %q %v %v, want what was given", subject, id, to, back)
	}
	var parts []string
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(p.Body)
		parts = append(parts, string(b))
	}
	if want := []string{"Guten Tag\r\n.\r\nEnde", "<p>Guten Tag</p>", "%PDF\r\n.\r\n"}; !cmp.Equal(parts, want) {
		t.Errorf("parts = %q, want %q", parts, want)
	}
	m := only(t, a, "Sent")
	if !m.Seen || len(m.Attachments) != 1 || m.Attachments[0].Name != "Übersicht.pdf" || m.Text != "Guten Tag\n.\nEnde" {
		t.Errorf("copy = %+v, want the same, seen", m)
	}
}

func TestReplying(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	s.Put(t, "INBOX", plainMail)
	a, ctx := open(t, s), context.Background()
	m := only(t, a, "INBOX")
	if _, err := a.Reply(ctx, "INBOX", m.ID, Draft{Text: "thanks"}, true); err != nil {
		t.Fatal(err)
	}
	got := s.Delivered()[0]
	if want := []string{"joerg@example.org", "team@example.org", "boss@example.org"}; !cmp.Equal(got.To, want) {
		t.Errorf("recipients = %v, want %v", got.To, want)
	}
	r, err := mail.CreateReader(strings.NewReader(got.Text))
	if err != nil {
		t.Fatal(err)
	}
	subject, _ := r.Header.Subject()
	answers, _ := r.Header.MsgIDList("In-Reply-To")
	references, _ := r.Header.MsgIDList("References")
	if subject != "Re: Grüße from two lines" || !cmp.Equal(answers, []string{"one@example.org"}) || !cmp.Equal(references, []string{"zero@example.org", "half@example.org", "one@example.org"}) {
		t.Errorf("header = %q %v %v, want that of an answer", subject, answers, references)
	}
	if !only(t, a, "INBOX").Answered {
		t.Error("the message is not marked as answered")
	}
	if _, err := a.Reply(ctx, "INBOX", m.ID, Draft{Text: "thanks", Subject: "Re: x"}, false); err != nil {
		t.Fatal(err)
	}
	if got := s.Delivered()[1]; !cmp.Equal(got.To, []string{"joerg@example.org"}) || !strings.Contains(got.Text, "Subject: Re: x\r\n") {
		t.Errorf("answer = %v\n%s\nwant to its sender alone", got.To, got.Text)
	}
}

// TestThreads: an answer goes where the mail belongs, however that names itself
// and those before it.
func TestThreads(t *testing.T) {
	for head, want := range map[string]string{
		"Message-ID: <one@b>\nReferences: <x@y><y@z>\n":                       "<x@y> <y@z> <one@b>",
		"Message-ID: <one@b> (added by gateway@example.org)\n":                "<one@b>",
		"Message-ID: <20261129.1634>\nReferences: <x@y>,\n <20261128.0800>\n": "<x@y> <20261128.0800> <20261129.1634>",
		"Message-ID:\n <one@b>\nIn-Reply-To: mail of Monday <x@y>\n":          "<x@y> <one@b>",
		"Message-ID: <one@b>\nReferences: <x@y <y@z>\n":                       "<y@z> <one@b>",
		"Message-ID: <>\n": "",
	} {
		s := mailtest.Start(t, mailtest.Rich)
		s.Put(t, "INBOX", "From: a@example.org\n"+head+"\nx")
		a := open(t, s)
		if _, err := a.Reply(context.Background(), "INBOX", only(t, a, "INBOX").ID, Draft{Text: "x"}, false); err != nil {
			t.Fatal(err)
		}
		r, err := mail.CreateReader(strings.NewReader(s.Delivered()[0].Text))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Header.Get("References"); got != want {
			t.Errorf("%q: References: %s, want %s", head, got, want)
		}
	}
}

// TestReplyingToHostileMail answers mail whose header is made to get into ours.
func TestReplyingToHostileMail(t *testing.T) {
	for name, text := range map[string]string{
		"encoded line breaks": "From: =?utf-8?q?a=0D=0ABcc:_evil@example.org?= <a@example.org>\nSubject: =?utf-8?b?eA0KQmNjOiBldmlsQGV4YW1wbGUub3Jn?=\nMessage-ID: <a@b>\nReferences: <x@y> \r <b@c\x00d> Bcc:evil <ok@ok>\n\nx",
		"addresses":           "From: a@example.org\nReply-To: \"a>\\r\\nRCPT TO:<evil\"@example.org, a@example.org\nMessage-ID: <=?utf-8?q?=0D=0ABcc:evil?=@x>\n\nx",
	} {
		t.Run(name, func(t *testing.T) {
			s := mailtest.Start(t, mailtest.Rich)
			s.Put(t, "INBOX", text)
			a := open(t, s)
			if _, err := a.Reply(context.Background(), "INBOX", only(t, a, "INBOX").ID, Draft{Text: "x"}, true); err != nil {
				t.Fatal(err)
			}
			got := s.Delivered()[0]
			if !cmp.Equal(got.To, []string{"a@example.org"}) {
				t.Errorf("recipients = %q, want a@example.org alone", got.To)
			}
			onlyOurFields(t, got.Text)
		})
	}
}

// onlyOurFields wants no field in a message's header that we did not write.
func onlyOurFields(t *testing.T, text string) {
	t.Helper()
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "date", "message-id", "from", "to", "cc", "reply-to", "in-reply-to", "references", "subject", "mime-version", "content-type", "content-transfer-encoding":
		default:
			if line == "" || line[0] != ' ' && line[0] != '\t' || strings.ContainsAny(line, "\r\n\x00") {
				t.Errorf("header has the line %q, want only fields of ours", line)
			}
		}
	}
}

// TestHeaderInjection has every field tried with what would be another field,
// another command or another message.
func TestHeaderInjection(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	a, ctx := open(t, s), context.Background()
	good := Draft{To: []string{"a@example.org"}, Subject: "s", Text: "t"}
	set := map[string]func(*Draft, string){
		"subject":             func(d *Draft, s string) { d.Subject = "x" + s },
		"to[0]":               func(d *Draft, s string) { d.To = []string{"a@example.org" + s} },
		"cc[1]":               func(d *Draft, s string) { d.CC = []string{"a@example.org", "N" + s + " <a@example.org>"} },
		"bcc[0]":              func(d *Draft, s string) { d.BCC = []string{"<a" + s + "@example.org>"} },
		"reply_to":            func(d *Draft, s string) { d.ReplyTo = "a@example.org" + s },
		"idempotency_key":     func(d *Draft, s string) { d.Key = "k" + s },
		"attachments[0].name": func(d *Draft, s string) { d.Attachments = []Upload{{Name: "n" + s, Content: strings.NewReader("")}} },
		"attachments[0].type": func(d *Draft, s string) {
			d.Attachments = []Upload{{Name: "n", Type: "text/plain" + s, Content: strings.NewReader("")}}
		},
	}
	for _, evil := range []string{"\r\nBcc: evil@example.org", "\nBcc: evil@example.org", "\rBcc: x", "\x00", "\x0b", "\x7f", "\u0085Bcc: x", "\u2028x", "\xff\xfe", "\r\n\r\nbody", "\r\n.\r\nMAIL FROM:<x>"} {
		for field, f := range set {
			d := good
			f(&d, evil)
			_, err := a.Send(ctx, d)
			if p := wantProblem(t, field, err, http.StatusBadRequest, integrations.ReasonInvalid); p.Field != field {
				t.Errorf("Send(%s with %q) = a fault of %q, want of the field", field, evil, p.Field)
			}
		}
		if _, err := a.Send(ctx, Draft{To: good.To, Text: "x" + evil}); !utf8.ValidString(evil) || strings.ContainsAny(evil, "\x00\x0b\x7f\u0085") {
			wantProblem(t, "text", err, http.StatusBadRequest, integrations.ReasonInvalid)
		} else if err != nil {
			t.Errorf("Send(text with %q) = %v, want it sent", evil, err)
		}
	}
	for _, d := range s.Delivered() {
		onlyOurFields(t, d.Text)
		if !cmp.Equal(d.To, good.To) {
			t.Errorf("recipients = %q, want %q", d.To, good.To)
		}
	}
}

func TestDraftsThatAreRefused(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	a, ctx := open(t, s), context.Background()
	many := make([]string, maxRecipients+1)
	for i := range many {
		many[i] = "a@example.org"
	}
	file := func(name, media string) Draft {
		return Draft{To: []string{"a@example.org"}, Attachments: []Upload{{Name: name, Type: media, Content: strings.NewReader("x")}}}
	}
	for name, tc := range map[string]struct {
		d      Draft
		field  string
		reason string
	}{
		"nobody":              {Draft{}, "to", integrations.ReasonInvalid},
		"too many":            {Draft{To: many}, "to", integrations.ReasonInvalid},
		"two in one":          {Draft{To: []string{"a@example.org, b@example.org"}}, "to[0]", integrations.ReasonInvalid},
		"no domain":           {Draft{To: []string{"a"}}, "to[0]", integrations.ReasonInvalid},
		"quoted":              {Draft{To: []string{`"a b"@example.org`}}, "to[0]", integrations.ReasonInvalid},
		"an angle in quotes":  {Draft{To: []string{`"a>b"@example.org`}}, "to[0]", integrations.ReasonInvalid},
		"a domain literal":    {Draft{To: []string{`a@[127.0.0.1]`}}, "to[0]", integrations.ReasonInvalid},
		"not ASCII":           {Draft{To: []string{"ä@example.org"}}, "to[0]", integrations.ReasonInvalid},
		"encoded line break":  {Draft{To: []string{"=?utf-8?q?a=0Ab?= <a@example.org>"}}, "to[0]", integrations.ReasonInvalid},
		"a path":              {file("../x", ""), "attachments[0].name", integrations.ReasonInvalid},
		"a path of Windows":   {file(`..\x`, ""), "attachments[0].name", integrations.ReasonInvalid},
		"turned writing":      {file("x\u202efdp.exe", ""), "attachments[0].name", integrations.ReasonInvalid},
		"no name":             {file("", ""), "attachments[0].name", integrations.ReasonInvalid},
		"a multipart":         {file("x", "multipart/mixed; boundary=x"), "attachments[0].type", integrations.ReasonInvalid},
		"no media type":       {file("x", "nonsense"), "attachments[0].type", integrations.ReasonInvalid},
		"too large":           {Draft{To: []string{"a@example.org"}, Attachments: []Upload{{Name: "x", Content: io.LimitReader(zeros{}, maxContent+1)}}}, "", integrations.ReasonTooLarge},
		"too large in pieces": {Draft{To: []string{"a@example.org"}, Text: "x", Attachments: []Upload{{Name: "x", Content: io.LimitReader(zeros{}, maxContent)}}}, "", integrations.ReasonTooLarge},
	} {
		_, err := a.Send(ctx, tc.d)
		if p, ok := integrations.ProblemOf(err); !ok || p.Reason != tc.reason || p.Field != tc.field {
			t.Errorf("Send(%s) = %v, want %s of %q", name, err, tc.reason, tc.field)
		}
	}
	if got := s.Delivered(); len(got) > 0 {
		t.Errorf("delivered = %d, want none", len(got))
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestSMTPRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		rcpt, data     error
		status         int
		reason, within string
	}{
		"a recipient for good":   {rcpt: &smtp.SMTPError{Code: 550, Message: "canary b@example.org"}, status: 422, reason: "recipient_refused", within: "cc[0]"},
		"a recipient for now":    {rcpt: &smtp.SMTPError{Code: 451, Message: "canary"}, status: 503, reason: "busy"},
		"the message for good":   {data: &smtp.SMTPError{Code: 554, Message: "canary"}, status: 403, reason: "refused_by_server"},
		"the message for now":    {data: &smtp.SMTPError{Code: 452, Message: "canary"}, status: 503, reason: "busy"},
		"the message's size":     {data: &smtp.SMTPError{Code: 552, Message: "canary"}, status: 413, reason: "too_large"},
		"the message, in a loop": {data: &smtp.SMTPError{Code: 421, Message: "canary"}, status: 503, reason: "busy"},
	} {
		t.Run(name, func(t *testing.T) {
			s := mailtest.Start(t, mailtest.Rich)
			s.Rcpt = func(to string) error {
				if to == "b@example.org" {
					return tc.rcpt
				}
				return nil
			}
			s.Data = func() error { return tc.data }
			d := Draft{To: []string{"a@example.org"}, CC: []string{"b@example.org"}, Key: "once"}
			a := open(t, s)
			_, err := a.Send(context.Background(), d)
			p := wantProblem(t, "Send", err, tc.status, tc.reason)
			if !strings.Contains(p.Text, tc.within) || strings.Contains(p.Text+p.Error(), "canary") || strings.Contains(p.Text+p.Error(), "@example") {
				t.Errorf("problem = %q, %v, want it to name %q and not to quote the server", p.Text, p, tc.within)
			}
			if len(s.Delivered()) > 0 {
				t.Error("it was delivered to somebody")
			}
			s.Rcpt, s.Data = nil, nil
			if again, err := a.Send(context.Background(), d); err != nil || again.Repeated {
				t.Errorf("Send(again) = %+v, %v, want it sent: it was not before", again, err)
			}
		})
	}
}

func TestSentOnce(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	a := open(t, s, func(_ *integrations.Mail, o *Options) { o.Now = func() time.Time { return now } })
	ctx, d := context.Background(), Draft{To: []string{"a@example.org"}, Text: "x", Key: "key"}
	first, err := a.Send(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.Send(ctx, d)
	if err != nil || !again.Repeated || again.MessageID != first.MessageID || again.SavedTo != "Sent" || len(s.Delivered()) != 1 {
		t.Errorf("Send(again) = %+v, %v, want nothing sent", again, err)
	}
	d.Text = "another"
	_, err = a.Send(ctx, d)
	wantProblem(t, "the key of another message", err, http.StatusConflict, integrations.ReasonConflict)
	now = now.Add(keyTime)
	if later, err := a.Send(ctx, d); err != nil || later.Repeated || later.MessageID != first.MessageID {
		t.Errorf("Send(a day later) = %+v, %v, want it sent", later, err)
	}
	for i := range maxKeys + 5 {
		if _, err := a.keys.begin(ctx, strings.Repeat("k", i%50)+time.Duration(i).String(), [32]byte{}, now); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.keys.known); n > maxKeys {
		t.Errorf("keys = %d, want %d at most", n, maxKeys)
	}
}

// TestUnsentKeys: what was not sent takes no place of what was, though a program
// tries again and again while the mail server is away.
func TestUnsentKeys(t *testing.T) {
	k, ctx, now := newKeys(Options{}, "a"), t.Context(), time.Now()
	for _, key := range []string{"sent", "on its way"} {
		if _, err := k.begin(ctx, key, [32]byte{}, now); err != nil {
			t.Fatal(err)
		}
	}
	k.end(ctx, "sent", &Sent{})
	for range maxKeys {
		if _, err := k.begin(ctx, "refused", [32]byte{}, now); err != nil {
			t.Fatal(err)
		}
		k.end(ctx, "refused", nil)
	}
	if again, err := k.begin(ctx, "sent", [32]byte{}, now); err != nil || again == nil || !again.Repeated {
		t.Errorf("begin(what was sent) = %+v, %v, want that it was", again, err)
	}
	_, err := k.begin(ctx, "on its way", [32]byte{}, now)
	wantProblem(t, "what is on its way", err, http.StatusConflict, integrations.ReasonConflict)
}

// TestReadingAlone: an account that only reads, whose name is no address, sends
// nothing and says so.
func TestReadingAlone(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	a, err := Open(integrations.Mail{IMAP: "imaps://" + s.Addr, Username: "voice", Password: mailtest.Password, CAFile: s.File}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	_, err = a.Send(context.Background(), Draft{To: []string{"a@example.org"}})
	wantProblem(t, "Send", err, http.StatusNotFound, integrations.ReasonUnavailable)
}

func TestWhereThereIsNoSentFolder(t *testing.T) {
	s := mailtest.Start(t, imap.CapSet{imap.CapIMAP4rev1: {}})
	if err := s.Mailboxes.Delete("Sent"); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*integrations.Mail, *Options){
		"no folder": func(*integrations.Mail, *Options) {},
		"no IMAP":   func(c *integrations.Mail, _ *Options) { c.IMAP = "" },
		"IMAP away": func(c *integrations.Mail, _ *Options) { c.IMAP = "imaps://127.0.0.1:1" },
	} {
		if sent, err := open(t, s, change).Send(context.Background(), Draft{To: []string{"a@example.org"}}); err != nil || sent.SavedTo != "" {
			t.Errorf("%s: Send() = %+v, %v, want it sent and not saved", name, sent, err)
		}
	}
}

// TestSenderWhoLeaves: whoever does not wait for the end, and asks again with
// the same key, is told that it is being sent, and then that it was.
func TestSenderWhoLeaves(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	s.Put(t, "INBOX", plainMail)
	taking, goOn := make(chan struct{}), make(chan struct{})
	s.Data = func() error {
		close(taking)
		<-goOn
		return nil
	}
	a := open(t, s)
	m := only(t, a, "INBOX")
	ctx, cancel := context.WithCancel(context.Background())
	reply := func(ctx context.Context) (Sent, error) {
		return a.Reply(ctx, "INBOX", m.ID, Draft{Text: "x", Key: "key"}, false)
	}
	over := make(chan error)
	go func() { _, err := reply(ctx); over <- err }()
	<-taking
	cancel()
	_, err := reply(context.Background())
	wantProblem(t, "meanwhile", err, http.StatusConflict, integrations.ReasonConflict)
	close(goOn)
	if err := <-over; err != nil {
		t.Errorf("Reply() = %v, want it sent", err)
	}
	again, err := reply(context.Background())
	if err != nil || !again.Repeated || again.SavedTo != "Sent" || len(s.Delivered()) != 1 {
		t.Errorf("Reply(again) = %+v, %v, %d delivered; want it sent and kept once", again, err, len(s.Delivered()))
	}
	if !only(t, a, "INBOX").Answered {
		t.Error("the message is not marked as answered")
	}
}

// TestUntoldEnd: where the server does not say what became of a message, nobody
// is told to send it again.
func TestUntoldEnd(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	var last atomic.Pointer[net.Conn]
	a := open(t, s, func(_ *integrations.Mail, o *Options) {
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			last.Store(&c)
			return c, err
		}
	})
	s.Data = func() error { return (*last.Load()).Close() }
	_, err := a.Send(context.Background(), Draft{To: []string{"a@example.org"}})
	if p := wantProblem(t, "Send", err, http.StatusBadGateway, integrations.ReasonAway); !strings.Contains(p.Text, "may have been sent") || p.RetryAfter > 0 {
		t.Errorf("problem = %q after %v, want that it may have been sent", p.Text, p.RetryAfter)
	}
}

// TestWhoSendsMuch waits for themselves, and others send meanwhile.
func TestWhoSendsMuch(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	begun, goOn := make(chan struct{}, 2*maxSending), make(chan struct{})
	s.Rcpt = func(to string) error {
		if to == "slow@example.org" {
			begun <- struct{}{}
			<-goOn
		}
		return nil
	}
	a := open(t, s)
	send := func(ctx context.Context, who, to string) error {
		_, err := a.Send(By(ctx, who), Draft{To: []string{to}, Text: "x"})
		return err
	}
	var flood sync.WaitGroup
	for range 2 * maxSending {
		flood.Go(func() {
			if err := send(context.Background(), "ada", "slow@example.org"); err != nil {
				t.Errorf("Send: %v", err)
			}
		})
	}
	for range eachSending {
		<-begun
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := send(ctx, "bob", "bob@example.org"); err != nil {
		t.Errorf("Send beside who sends much: %v", err)
	}
	if n := a.sending.Held(); n != eachSending {
		t.Errorf("one caller sends %d messages at a time, want %d", n, eachSending)
	}
	close(goOn)
	flood.Wait()
	if n := a.sending.Held(); n != 0 {
		t.Errorf("%d places are taken when all is sent, want none", n)
	}
}
