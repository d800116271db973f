// Package mailtest has an IMAP and an SMTP server in memory, on real sockets with
// TLS, for tests. It trusts whoever knows the password.
package mailtest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"anteroom/integrations"
	"anteroom/test/loopback"
)

// User and Password open everything.
const (
	User     = "voice@example.com"
	Password = "canary-password"
)

// Authority vouches for 127.0.0.1, and for no name.
type Authority struct {
	File string // PEM
	TLS  *tls.Config
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) Authority {
	t.Helper()
	pair := loopback.Certificate(t, func(c *x509.Certificate) { c.DNSNames = nil })
	file, _ := pair.Files(t)
	return Authority{file, &tls.Config{Certificates: []tls.Certificate{pair.TLS(t)}}}
}

// servers are a mail account's, in memory, on real sockets.
type Servers struct {
	Authority
	Mailboxes *imapmemserver.User
	IMAP      *imapserver.Server
	Addr      string                // of the IMAP server
	SMTP      string                // its address
	Rcpt      func(to string) error // what the SMTP server answers to a recipient; nil: it takes all
	Data      func() error          // and to a message

	caps imap.CapSet
	mem  *imapmemserver.Server
	mu   sync.Mutex
	mail []Delivery
}

// Delivery is a message that the SMTP server took.
type Delivery struct {
	From string
	To   []string
	Text string
}

// Rich is what a server of today can; IMAP4rev1 alone is the least there is.
var Rich = imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}, imap.CapESearch: {}, imap.CapListExtended: {}, imap.CapListStatus: {},
	imap.CapMove: {}, imap.CapUnselect: {}, imap.CapSpecialUse: {}, imap.CapLiteralMinus: {}}

// Start starts both servers, with some folders; they end with the test.
func Start(t testing.TB, caps imap.CapSet) *Servers {
	t.Helper()
	s := &Servers{Authority: NewAuthority(t), caps: caps, mem: imapmemserver.New(), Mailboxes: imapmemserver.NewUser(User, Password)}
	for _, name := range []string{"INBOX", "Sent", "Trash", "Größe/Übersicht"} {
		if err := s.Mailboxes.Create(name, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.mem.AddUser(s.Mailboxes)
	s.StartIMAP(t, "127.0.0.1:0")
	t.Cleanup(func() { s.IMAP.Close() })
	s.startSMTP(t)
	return s
}

// StartIMAP starts the IMAP server, again if it was closed.
func (s *Servers) StartIMAP(t testing.TB, addr string) {
	t.Helper()
	l, err := tls.Listen("tcp", addr, s.TLS)
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = l.Addr().String()
	s.IMAP = imapserver.New(&imapserver.Options{Caps: s.caps, InsecureAuth: true, Logger: log.New(io.Discard, "", 0),
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return s.mem.NewSession(), nil, nil
		}})
	go s.IMAP.Serve(l)
}

func (s *Servers) startSMTP(t testing.TB) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.TLS)
	if err != nil {
		t.Fatal(err)
	}
	s.SMTP = l.Addr().String()
	server := smtp.NewServer(s.Backend())
	server.ErrorLog = log.New(io.Discard, "", 0)
	server.AllowInsecureAuth = true
	server.MaxLineLength = 4000
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

// Backend is what the SMTP server does, for another one.
func (s *Servers) Backend() smtp.Backend {
	return smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &submission{s: s}, nil })
}

// submission is a session at the SMTP server.
type submission struct {
	s      *Servers
	signed bool
	Delivery
}

func (u *submission) AuthMechanisms() []string { return []string{sasl.Plain} }

func (u *submission) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != User || password != Password {
			return &smtp.SMTPError{Code: 535, Message: "no"}
		}
		u.signed = true
		return nil
	}), nil
}

func (u *submission) Mail(from string, _ *smtp.MailOptions) error {
	if u.From = from; !u.signed {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (u *submission) Rcpt(to string, _ *smtp.RcptOptions) error {
	u.To = append(u.To, to)
	if u.s.Rcpt != nil {
		return u.s.Rcpt(to)
	}
	return nil
}

func (u *submission) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if u.s.Data != nil {
		if err := u.s.Data(); err != nil {
			return err
		}
	}
	u.Text = string(b)
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.s.mail = append(u.s.mail, u.Delivery)
	return nil
}

func (u *submission) Reset()        { u.Delivery = Delivery{} }
func (u *submission) Logout() error { return nil }

// Delivered are the messages that the SMTP server took.
func (s *Servers) Delivered() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Delivery(nil), s.mail...)
}

// Config is how the account is configured.
func (s *Servers) Config() integrations.Mail {
	return integrations.Mail{IMAP: "imaps://" + s.Addr, SMTP: "smtps://" + s.SMTP, Username: User, Password: Password, CAFile: s.File}
}

// literal is a message as the server in memory takes it.
type literal struct{ *strings.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

// Put puts a message into a folder; its lines may end as ours do.
func (s *Servers) Put(t testing.TB, folder, text string, flags ...imap.Flag) {
	t.Helper()
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	if _, err := s.Mailboxes.Append(folder, literal{strings.NewReader(text)}, &imap.AppendOptions{Flags: flags, Time: time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)}); err != nil {
		t.Fatal(err)
	}
}
