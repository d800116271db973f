package mail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"anteroom/integrations"
	"anteroom/integrations/mail/mailtest"
)

// open opens the account of the servers.
func open(t testing.TB, s *mailtest.Servers, change ...func(*integrations.Mail, *Options)) *Account {
	t.Helper()
	cfg, o := s.Config(), Options{}
	for _, f := range change {
		f(&cfg, &o)
	}
	a, err := Open(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// only reads the one message of a folder.
func only(t testing.TB, a *Account, folder string) *Message {
	t.Helper()
	p, err := a.Messages(context.Background(), folder, Query{})
	if err != nil || len(p.Items) != 1 {
		t.Fatalf("Messages(%s) = %d, %v, want one", folder, len(p.Items), err)
	}
	m, err := a.Message(context.Background(), folder, p.Items[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wantProblem(t testing.TB, what string, err error, status int, reason string) *integrations.Problem {
	t.Helper()
	p := new(integrations.Problem)
	if !errors.As(err, &p) || p.Status != status || p.Reason != reason {
		t.Errorf("%s: error = %v, want %d %s", what, err, status, reason)
		return &integrations.Problem{}
	}
	if strings.Contains(p.Error()+p.Text, mailtest.Password) {
		t.Errorf("%s: the error shows the password: %v", what, p)
	}
	return p
}

const plainMail = `From: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>
To: voice@example.com, "Team, all" <team@example.org>
Cc: boss@example.org
Subject: =?iso-8859-1?Q?Gr=FC=DFe?= from
 two lines
Date: Sun, 1 Mar 2026 10:30:00 +0100
Message-ID: <one@example.org>
References: <zero@example.org> <half@example.org>
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Sch=F6nen Tag
`

const mixedMail = `From: a@example.org
To: voice@example.com
Subject: mixed
Date: Sun, 1 Mar 2026 11:30:00 +0100
Message-ID: <two@example.org>
Mime-Version: 1.0
Content-Type: multipart/mixed; boundary=m

--m
Content-Type: multipart/alternative; boundary=a

--a
Content-Type: text/plain; charset=utf-8

the text
--a
Content-Type: text/html; charset=utf-8

<p>the <b>text</b><script>alert(1)</script><img src="http://evil.example/x.png" onerror="alert(2)"></p>
--a--
--m
Content-Type: application/pdf; name="=?utf-8?q?=C3=9Cbersicht.pdf?="
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename*=utf-8''%C3%9Cbersicht.pdf

aGVsbG8sIHdvcmxk
--m--
`

// TestReading reads an account on a server with many extensions and on one with
// none.
func TestReading(t *testing.T) {
	for name, caps := range map[string]imap.CapSet{"extensions": mailtest.Rich, "IMAP4rev1": {imap.CapIMAP4rev1: {}}} {
		t.Run(name, func(t *testing.T) {
			s := mailtest.Start(t, caps)
			s.Put(t, "INBOX", plainMail)
			s.Put(t, "INBOX", mixedMail, imap.FlagSeen)
			a, ctx := open(t, s), context.Background()

			folders, err := a.Folders(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range folders {
				names = append(names, f.Name+" "+f.Role)
			}
			if want := []string{"INBOX inbox", "Größe/Übersicht ", "Sent sent", "Trash trash"}; !cmp.Equal(names, want) {
				t.Errorf("Folders() = %q, want %q", names, want)
			}
			if f := folders[0]; f.Messages == nil || *f.Messages != 2 || f.Unseen == nil || *f.Unseen != 1 {
				t.Errorf("INBOX has messages %v, unseen %v, want 2 and 1", f.Messages, f.Unseen)
			}

			p, err := a.Messages(ctx, "INBOX", Query{Limit: 1})
			if err != nil || len(p.Items) != 1 || p.Cursor == "" {
				t.Fatalf("Messages() = %v, %v, want one and a cursor", p, err)
			}
			if e := p.Items[0]; e.Subject != "mixed" || !e.Seen || !e.HasAttachments {
				t.Errorf("first = %+v, want the newest, seen and with an attachment", e)
			}
			p, err = a.Messages(ctx, "INBOX", Query{Limit: 1, Cursor: p.Cursor})
			if err != nil || len(p.Items) != 1 || p.Cursor != "" {
				t.Fatalf("Messages(cursor) = %v, %v, want the last", p, err)
			}
			e := p.Items[0]
			if got := e.Date.Format("2006-01-02T15:04:05Z07:00"); e.Subject != "Grüße from two lines" || got != "2026-03-01T10:30:00+01:00" || e.Seen || e.HasAttachments || e.MessageID != "one@example.org" {
				t.Errorf("second = %+v, want that of Jörg", e)
			}
			if want := []Correspondent{{"Jörg", "joerg@example.org"}}; !cmp.Equal(e.From, want) {
				t.Errorf("From = %v, want %v", e.From, want)
			}
			if want := []Correspondent{{"", "voice@example.com"}, {"Team, all", "team@example.org"}}; !cmp.Equal(e.To, want) {
				t.Errorf("To = %v, want %v", e.To, want)
			}
			m, err := a.Message(ctx, "INBOX", e.ID)
			if err != nil {
				t.Fatal(err)
			}
			if m.Text != "Schönen Tag" || m.HTML != "" || m.Truncated || !cmp.Equal(m.References, []string{"zero@example.org", "half@example.org"}) {
				t.Errorf("Message() = %+v, want its text and references", m)
			}
			if p, err = a.Messages(ctx, "INBOX", Query{Unseen: true}); err != nil || len(p.Items) != 1 {
				t.Errorf("unseen after reading = %d, %v, want it still", len(p.Items), err)
			}
		})
	}
}

func TestAttachments(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	s.Put(t, "INBOX", mixedMail)
	a, ctx := open(t, s), context.Background()
	m := only(t, a, "INBOX")
	if want := `<p>the <b>text</b><img data-src="http://evil.example/x.png"></p>`; strings.TrimSpace(m.HTML) != want {
		t.Errorf("HTML = %q, want %q", m.HTML, want)
	}
	want := []Attachment{{Part: "2", Name: "Übersicht.pdf", Type: "application/pdf", Size: 11}}
	if diff := cmp.Diff(want, m.Attachments); diff != "" {
		t.Fatalf("Attachments (-want +got):\n%s", diff)
	}
	for range 6 { // more than there are connections
		c, err := a.Attachment(ctx, "INBOX", m.ID, "2")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if err != nil || string(b) != "hello, world" || c.Name != "Übersicht.pdf" || c.Size != -1 {
			t.Errorf("Attachment() = %q, %v, %+v, want its content", b, err, c)
		}
		c.Close()
	}
	if n := len(a.pool.free); n != 1 {
		t.Errorf("idle connections = %d, want 1: it is used again", n)
	}
	raw, err := a.Raw(ctx, "INBOX", m.ID)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(raw)
	if err != nil || int64(len(b)) != raw.Size || !strings.HasPrefix(string(b), "From: a@example.org\r\n") {
		t.Errorf("Raw() = %d bytes, %v, want %d", len(b), err, raw.Size)
	}
	raw.Close()
	_, err = a.Attachment(ctx, "INBOX", m.ID, "9")
	wantProblem(t, "an attachment that is not there", err, 404, "not_found")
}

func TestSearching(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	for i := range 120 {
		s.Put(t, "INBOX", fmt.Sprintf("From: sender%d@example.org\nSubject: number %d\n\ntext %d\n", i%3, i, i))
	}
	a, ctx := open(t, s), context.Background()
	var got []string
	for q := (Query{Limit: 50}); ; {
		p, err := a.Messages(ctx, "INBOX", q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Items {
			got = append(got, e.Subject)
		}
		if q.Cursor = p.Cursor; q.Cursor == "" {
			break
		}
		s.Put(t, "INBOX", "Subject: came meanwhile\n\n") // is on no page
	}
	var want []string
	for i := range 120 {
		want = append(want, fmt.Sprintf("number %d", 119-i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("paging = %q, want each once, newest first", got)
	}
	for name, tc := range map[string]struct {
		q    Query
		want int
	}{
		"from":    {Query{From: "sender2@", Limit: 100}, 40},
		"subject": {Query{Subject: "number 77"}, 1},
		"text":    {Query{Text: "text 119"}, 1},
		"none":    {Query{Subject: `") UNSEEN (" {3}`}, 0},
	} {
		if p, err := a.Messages(ctx, "INBOX", tc.q); err != nil || len(p.Items) != tc.want {
			t.Errorf("%s: %d, %v, want %d", name, len(p.Items), err, tc.want)
		}
	}
	_, err := a.Messages(ctx, "INBOX", Query{Cursor: "1"})
	wantProblem(t, "a cursor of nobody's", err, 400, "invalid_request")
	_, err = a.Messages(ctx, "INBOX", Query{Cursor: "99.5"})
	wantProblem(t, "a cursor of another folder", err, 410, "cursor_expired")
	_, err = a.Messages(ctx, "No such folder", Query{})
	wantProblem(t, "a folder that is not there", err, 404, "not_found")
	_, err = a.Messages(ctx, "IN\r\nBOX", Query{})
	wantProblem(t, "a folder with line breaks", err, 400, "invalid_request")
	_, err = a.Message(ctx, "INBOX", "99.5")
	wantProblem(t, "a message of another folder", err, 404, "not_found")
}

func TestChanging(t *testing.T) {
	for name, caps := range map[string]imap.CapSet{"extensions": mailtest.Rich, "IMAP4rev1": {imap.CapIMAP4rev1: {}}} {
		t.Run(name, func(t *testing.T) {
			s := mailtest.Start(t, caps)
			s.Put(t, "INBOX", plainMail)
			a, ctx := open(t, s), context.Background()
			m := only(t, a, "INBOX")
			begin, err := a.Changes(ctx, "INBOX", "")
			if err != nil || len(begin.New) > 0 || begin.Cursor == "" {
				t.Fatalf("Changes() = %+v, %v, want a cursor alone", begin, err)
			}
			yes, no := true, false
			if err := a.SetFlags(ctx, "INBOX", m.ID, Flags{Seen: &yes, Flagged: &yes}); err != nil {
				t.Fatal(err)
			}
			if err := a.SetFlags(ctx, "INBOX", m.ID, Flags{Seen: &no}); err != nil {
				t.Fatal(err)
			}
			if m := only(t, a, "INBOX"); m.Seen || !m.Flagged || m.Answered {
				t.Errorf("flags = %v %v %v, want flagged alone", m.Seen, m.Flagged, m.Answered)
			}
			s.Put(t, "INBOX", mixedMail)
			ch, err := a.Changes(ctx, "INBOX", begin.Cursor)
			if err != nil || len(ch.New) != 1 || ch.Reset {
				t.Errorf("Changes() = %+v, %v, want the new one", ch, err)
			}
			if again, err := a.Changes(ctx, "INBOX", ch.Cursor); err != nil || len(again.New) != 0 || again.Cursor != ch.Cursor {
				t.Errorf("Changes() = %+v, %v, want nothing new", again, err)
			}
			if ch, err = a.Changes(ctx, "INBOX", "77.1.0"); err != nil || !ch.Reset {
				t.Errorf("Changes(of another folder) = %+v, %v, want a reset", ch, err)
			}
			if _, err := a.Move(ctx, "INBOX", m.ID, "Größe/Übersicht"); err != nil {
				t.Fatal(err)
			}
			if moved := only(t, a, "Größe/Übersicht"); moved.MessageID != m.MessageID {
				t.Errorf("moved = %v, want %v", moved.MessageID, m.MessageID)
			}
			if rest, _ := a.Messages(ctx, "INBOX", Query{}); caps.Has(imap.CapMove) && len(rest.Items) != 1 {
				t.Errorf("left = %d, want 1", len(rest.Items))
			}
			err = a.SetFlags(ctx, "INBOX", "1.999", Flags{Seen: &yes})
			wantProblem(t, "flags of what is not there", err, 404, "not_found")
			_, err = a.Move(ctx, "Größe/Übersicht", only(t, a, "Größe/Übersicht").ID, "Nowhere")
			wantProblem(t, "a move to nowhere", err, 404, "not_found")
		})
	}
}

func TestDeleting(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	s.Put(t, "INBOX", plainMail)
	a, ctx := open(t, s), context.Background()
	if err := a.Delete(ctx, "INBOX", only(t, a, "INBOX").ID); err != nil {
		t.Fatal(err)
	}
	if err := a.Delete(ctx, "Trash", only(t, a, "Trash").ID); err != nil {
		t.Fatal(err)
	}
	if p, err := a.Messages(ctx, "Trash", Query{}); err != nil || len(p.Items) != 0 {
		t.Errorf("trash = %d, %v, want none", len(p.Items), err)
	}
}

// TestMovingWithoutMove: a server that cannot move copies, and removes the
// message once the copy is there. Whatever it refuses, the message is somewhere.
func TestMovingWithoutMove(t *testing.T) {
	caps := maps.Clone(mailtest.Rich)
	delete(caps, imap.CapMove)
	s := mailtest.Start(t, caps)
	s.Put(t, "INBOX", plainMail)
	a, ctx := open(t, s), context.Background()
	m := only(t, a, "INBOX")
	_, err := a.Move(ctx, "INBOX", m.ID, "Nowhere")
	wantProblem(t, "a move to nowhere", err, 404, "not_found")
	if left := only(t, a, "INBOX"); left.ID != m.ID {
		t.Errorf("left = %v, want %v", left.ID, m.ID)
	}
	if _, err := a.Move(ctx, "INBOX", m.ID, "Sent"); err != nil {
		t.Fatal(err)
	}
	if moved := only(t, a, "Sent"); moved.MessageID != m.MessageID {
		t.Errorf("moved = %v, want %v", moved.MessageID, m.MessageID)
	}
	if p, err := a.Messages(ctx, "INBOX", Query{}); err != nil || len(p.Items) != 0 {
		t.Errorf("left = %d, %v, want none", len(p.Items), err)
	}
}
