package mail

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
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
)

const (
	testUser     = "voice@example.com"
	testPassword = "canary-password"
)

// authority vouches for 127.0.0.1.
type authority struct {
	file string // PEM
	tls  *tls.Config
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return authority{file, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
}

// servers are a mail account's, in memory, on real sockets.
type servers struct {
	authority
	caps imap.CapSet
	mem  *imapmemserver.Server
	user *imapmemserver.User
	imap *imapserver.Server
	addr string // of the IMAP server

	mu   sync.Mutex
	mail []delivery
	smtp string // its address
	// what the SMTP server answers to a recipient or a message
	rcpt func(to string) error
	data func() error
}

type delivery struct {
	from string
	to   []string
	text string
}

var rich = imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}, imap.CapESearch: {}, imap.CapListExtended: {}, imap.CapListStatus: {},
	imap.CapMove: {}, imap.CapUnselect: {}, imap.CapSpecialUse: {}, imap.CapLiteralMinus: {}}

func startServers(t testing.TB, caps imap.CapSet) *servers {
	t.Helper()
	s := &servers{authority: newAuthority(t), caps: caps, mem: imapmemserver.New(), user: imapmemserver.NewUser(testUser, testPassword)}
	for _, name := range []string{"INBOX", "Sent", "Trash", "Größe/Übersicht"} {
		if err := s.user.Create(name, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.mem.AddUser(s.user)
	s.startIMAP(t, "127.0.0.1:0")
	t.Cleanup(func() { s.imap.Close() })
	s.startSMTP(t)
	return s
}

func (s *servers) startIMAP(t testing.TB, addr string) {
	t.Helper()
	l, err := tls.Listen("tcp", addr, s.authority.tls)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	s.imap = imapserver.New(&imapserver.Options{Caps: s.caps, InsecureAuth: true, Logger: log.New(io.Discard, "", 0),
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return s.mem.NewSession(), nil, nil
		}})
	go s.imap.Serve(l)
}

func (s *servers) startSMTP(t testing.TB) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.authority.tls)
	if err != nil {
		t.Fatal(err)
	}
	s.smtp = l.Addr().String()
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &submission{s: s}, nil }))
	server.ErrorLog = log.New(io.Discard, "", 0)
	server.AllowInsecureAuth = true
	server.MaxLineLength = 4000
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

// submission is a session at the SMTP server.
type submission struct {
	s      *servers
	signed bool
	delivery
}

func (u *submission) AuthMechanisms() []string { return []string{sasl.Plain} }

func (u *submission) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != testUser || password != testPassword {
			return &smtp.SMTPError{Code: 535, Message: "no"}
		}
		u.signed = true
		return nil
	}), nil
}

func (u *submission) Mail(from string, _ *smtp.MailOptions) error {
	if u.from = from; !u.signed {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (u *submission) Rcpt(to string, _ *smtp.RcptOptions) error {
	u.to = append(u.to, to)
	if u.s.rcpt != nil {
		return u.s.rcpt(to)
	}
	return nil
}

func (u *submission) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if u.s.data != nil {
		if err := u.s.data(); err != nil {
			return err
		}
	}
	u.text = string(b)
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.s.mail = append(u.s.mail, u.delivery)
	return nil
}

func (u *submission) Reset()        { u.delivery = delivery{} }
func (u *submission) Logout() error { return nil }

// delivered are the messages that the SMTP server took.
func (s *servers) delivered() []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]delivery(nil), s.mail...)
}

func (s *servers) config() integrations.Mail {
	return integrations.Mail{IMAP: "imaps://" + s.addr, SMTP: "smtps://" + s.smtp, Username: testUser, Password: testPassword, CAFile: s.file}
}

// open opens the account.
func (s *servers) open(t testing.TB, change ...func(*integrations.Mail, *Options)) *Account {
	t.Helper()
	cfg, o := s.config(), Options{}
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

// literal is a message as the server in memory takes it.
type literal struct{ *strings.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

// put puts a message into a folder; its lines may end as ours do.
func (s *servers) put(t testing.TB, folder, text string, flags ...imap.Flag) {
	t.Helper()
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	if _, err := s.user.Append(folder, literal{strings.NewReader(text)}, &imap.AppendOptions{Flags: flags, Time: time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)}); err != nil {
		t.Fatal(err)
	}
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
	if strings.Contains(p.Error()+p.Text, testPassword) {
		t.Errorf("%s: the error shows the password: %v", what, p)
	}
	return p
}
