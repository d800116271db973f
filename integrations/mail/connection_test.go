package mail

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-smtp"

	"anteroom/integrations"
	"anteroom/integrations/mail/mailtest"
	"anteroom/session"
	"anteroom/test/loopback"
)

// TestServerRestart has the server come back between two calls: neither reading
// nor changing notices.
func TestServerRestart(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	s.Put(t, "INBOX", plainMail)
	a, ctx := open(t, s), context.Background()
	m := only(t, a, "INBOX")
	yes := true
	for what, do := range map[string]func() error{
		"reading":  func() error { _, err := a.Message(ctx, "INBOX", m.ID); return err },
		"changing": func() error { return a.SetFlags(ctx, "INBOX", m.ID, Flags{Seen: &yes}) },
		"sending": func() error {
			sent, err := a.Send(ctx, Draft{To: []string{"a@example.org"}})
			if err == nil && sent.SavedTo == "" {
				err = errors.New("not saved")
			}
			return err
		},
	} {
		s.IMAP.Close()
		_, err := a.Message(ctx, "INBOX", m.ID)
		wantProblem(t, "while the server is away", err, http.StatusBadGateway, integrations.ReasonAway)
		s.StartIMAP(t, s.Addr)
		if _, err := a.Message(ctx, "INBOX", m.ID); err != nil {
			t.Errorf("after the server came back: %v", err)
		}
		s.IMAP.Close()
		s.StartIMAP(t, s.Addr)
		if err := do(); err != nil {
			t.Errorf("%s after a restart: %v", what, err)
		}
	}
}

// cutting is a connection that breaks with its next command once it is to.
type cutting struct {
	net.Conn
	cut *atomic.Bool
}

func (c cutting) Write(b []byte) (int, error) {
	if c.cut.Load() {
		c.Conn.Close()
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(b)
}

// TestBrokenConnections has idle connections break without a word: what reads
// is done through a new one, once.
func TestBrokenConnections(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	s.Put(t, "INBOX", plainMail)
	var cut *atomic.Bool
	dials := 0
	a := open(t, s, func(_ *integrations.Mail, o *Options) {
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			cut = new(atomic.Bool)
			dials++
			return cutting{c, cut}, err
		}
	})
	m := only(t, a, "INBOX")
	yes := true
	for i := range 4 {
		cut.Store(true)
		err := a.SetFlags(context.Background(), "INBOX", m.ID, Flags{Seen: &yes})
		if err != nil || dials != i+2 {
			t.Errorf("after %d breaks: %v, %d dials, want %d", i+1, err, dials, i+2)
		}
	}
}

func TestRefusedPassword(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	now, dials := time.Now(), 0
	a := open(t, s, func(c *integrations.Mail, o *Options) {
		c.Password = "wrong"
		o.Now = func() time.Time { return now }
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	for range 3 {
		_, err := a.Folders(context.Background())
		wantProblem(t, "Folders", err, http.StatusBadGateway, integrations.ReasonService)
		_, err = a.Send(context.Background(), Draft{To: []string{"a@example.org"}})
		wantProblem(t, "Send", err, http.StatusBadGateway, integrations.ReasonService)
	}
	if dials != 2 {
		t.Errorf("dials = %d, want one to each server: the others would be punished", dials)
	}
	now = now.Add(refusedTime)
	if _, err := a.Folders(context.Background()); err == nil || dials != 3 {
		t.Errorf("later: %v, %d dials, want it tried again", err, dials)
	}
}

// TestExchangedPassword: what the password's file has is shown where the one in
// force is refused, by reading and by sending, and kept if it is taken.
func TestExchangedPassword(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(mailtest.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for what, do := range map[string]func(*Account) error{
		"reading": func(a *Account) error { _, err := a.Folders(ctx); return err },
		"sending": func(a *Account) error {
			_, err := a.Send(ctx, Draft{To: []string{"a@example.org"}})
			return err
		},
	} {
		file := integrations.NewSecretFile(path, "canary-old", nil)
		a := open(t, s, func(c *integrations.Mail, _ *Options) { c.Password, c.File = "canary-old", file })
		if err := do(a); err != nil || file.Secret() != mailtest.Password {
			t.Errorf("%s after the password was exchanged: %v, the new one in force: %v", what, err, file.Secret() == mailtest.Password)
		}
	}
	if err := Takes(ctx, s.Config(), mailtest.Password); err != nil {
		t.Errorf("Takes = %v", err)
	}
	if err := Takes(ctx, s.Config(), "wrong"); !errors.Is(err, integrations.ErrRefused) {
		t.Errorf("Takes(wrong) = %v, want ErrRefused", err)
	}
	s.IMAP.Close()
	if err := Takes(ctx, s.Config(), "wrong"); err == nil || errors.Is(err, integrations.ErrRefused) {
		t.Errorf("Takes of a server that is away = %v, want another error than ErrRefused", err)
	}
}

// TestUntrustedServers wants no password sent to a server that is not the one
// that was meant.
func TestUntrustedServers(t *testing.T) {
	old := mailtest.NewAuthority(t)
	old.TLS.MaxVersion = tls.VersionTLS11
	outdated := loopback.Serve(t, old.TLS, func(c net.Conn) { io.Copy(io.Discard, c) })
	s := mailtest.Start(t, mailtest.Rich)
	for name, change := range map[string]func(*integrations.Mail, *Options){
		"an unknown authority": func(c *integrations.Mail, _ *Options) { c.CAFile = "" },
		"another name": func(c *integrations.Mail, _ *Options) {
			c.IMAP = strings.Replace(c.IMAP, "127.0.0.1", "localhost", 1)
			c.SMTP = strings.Replace(c.SMTP, "127.0.0.1", "localhost", 1)
		},
		"TLS 1.1": func(c *integrations.Mail, _ *Options) {
			c.IMAP, c.SMTP, c.CAFile = "imaps://"+outdated, "smtps://"+outdated, old.File
		},
	} {
		a := open(t, s, change)
		_, err := a.Folders(context.Background())
		if p := wantProblem(t, name+": IMAP", err, http.StatusBadGateway, integrations.ReasonAway); !strings.Contains(p.Text, "certificate") {
			t.Errorf("%s: %q, want it to say what is wrong", name, p.Text)
		}
		_, err = a.Send(context.Background(), Draft{To: []string{"a@example.org"}})
		wantProblem(t, name+": SMTP", err, http.StatusBadGateway, integrations.ReasonAway)
	}
}

// TestAuthoritiesChange: the servers are known by the authorities of now, also
// where there is a connection from before.
func TestAuthoritiesChange(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	of, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	old := loopback.Certificate(t)
	file, _ := old.Files(t)
	roots, err := session.OpenAuthorities(file)
	if err != nil {
		t.Fatal(err)
	}
	a := open(t, s, func(c *integrations.Mail, _ *Options) { c.Roots = roots })
	loopback.FollowAuthorities(t, old, loopback.Pair{Cert: of}, roots.Renew, func() error {
		reading, sending := a.CheckReading(t.Context()), a.CheckSending(t.Context())
		if (reading == nil) != (sending == nil) {
			t.Errorf("reading: %v, sending: %v", reading, sending)
		}
		return errors.Join(reading, sending)
	})
}

// TestSTARTTLS reads and sends through servers that begin in clear.
func TestSTARTTLS(t *testing.T) {
	a := mailtest.NewAuthority(t)
	mem, user := imapmemserver.New(), imapmemserver.NewUser(mailtest.User, mailtest.Password)
	user.Create("INBOX", nil)
	mem.AddUser(user)
	in := imapserver.New(&imapserver.Options{TLSConfig: a.TLS, Logger: log.New(io.Discard, "", 0), Caps: imap.CapSet{imap.CapIMAP4rev1: {}},
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return mem.NewSession(), nil, nil
		}})
	s := mailtest.Start(t, mailtest.Rich)
	out := smtp.NewServer(s.Backend())
	out.TLSConfig = a.TLS
	cfg := integrations.Mail{Username: mailtest.User, Password: mailtest.Password, CAFile: a.File}
	cfg.IMAP = "imap://" + listen(t, func(l net.Listener) { in.Serve(l) })
	cfg.SMTP = "smtp://" + listen(t, func(l net.Listener) { out.Serve(l) })
	box, err := Open(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	if folders, err := box.Folders(context.Background()); err != nil || len(folders) != 1 {
		t.Errorf("Folders() = %v, %v, want one", folders, err)
	}
	if _, err := box.Send(context.Background(), Draft{To: []string{"a@example.org"}}); err != nil || len(s.Delivered()) != 1 {
		t.Errorf("Send() = %v, want it delivered", err)
	}
}

func listen(t *testing.T, serve func(net.Listener)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go serve(l)
	return l.Addr().String()
}

// TestNoSTARTTLS has servers that would have the password in clear, or put
// words of their own before TLS begins: none gets it.
func TestNoSTARTTLS(t *testing.T) {
	for name, script := range map[string]string{
		"IMAP without it":              "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n|S BAD no\r\n",
		"IMAP that refuses":            "* OK hi\r\n|* OK wait\r\nS NO later\r\n",
		"IMAP that is signed in":       "* PREAUTH hi\r\n|S OK go\r\n",
		"IMAP that says bye":           "* BYE no\r\n|S OK go\r\n",
		"IMAP that says more":          "* OK hi\r\n|S OK go\r\n* OK [CAPABILITY IMAP4rev1] injected\r\n",
		"IMAP that says very much":     "* OK " + strings.Repeat("x", 100<<10) + "\r\n|",
		"SMTP without it":              "220 hi\r\n|250-x\r\n250 AUTH PLAIN\r\n|500 what\r\n",
		"SMTP that refuses":            "220 hi\r\n|250-x\r\n250 STARTTLS\r\n|554 no\r\n",
		"SMTP that goes on in clear":   "220 hi\r\n|250-x\r\n250 STARTTLS\r\n|220 go\r\n250-x\r\n250 AUTH PLAIN\r\n|",
		"SMTP that says very much":     "220 hi\r\n|" + strings.Repeat("250-x\r\n", 100<<10) + "|",
		"SMTP of before the year 1995": "220 hi\r\n|502 what\r\n|250 hello\r\n|",
	} {
		t.Run(name, func(t *testing.T) {
			var heard strings.Builder
			var mu sync.Mutex
			addr := listen(t, func(l net.Listener) {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					r := bufio.NewReader(c)
					for say := range strings.SplitSeq(script, "|") {
						io.WriteString(c, say)
						line, _ := r.ReadString('\n')
						mu.Lock()
						heard.WriteString(line)
						mu.Unlock()
					}
					c.Close()
				}
			})
			a, err := Open(integrations.Mail{IMAP: "imap://" + addr, SMTP: "smtp://" + addr, Username: mailtest.User, Password: mailtest.Password}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if strings.HasPrefix(name, "IMAP") {
				_, err = a.Folders(context.Background())
			} else {
				_, err = a.Send(context.Background(), Draft{To: []string{"a@example.org"}})
			}
			if p, ok := integrations.ProblemOf(err); !ok || p.Status != http.StatusBadGateway {
				t.Errorf("error = %v, want a problem of 502", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, secret := range []string{mailtest.Password, "AUTH", "LOGIN", "MAIL FROM"} {
				if strings.Contains(heard.String(), secret) {
					t.Errorf("the server heard %q, want no %q in clear", heard.String(), secret)
				}
			}
		})
	}
}

// TestPool: as many connections as there may be, one of which no stream gets, and
// one stream that who has the others does not get; a caller who waits leaves when
// its time is over, and what is idle for long is ended.
func TestPool(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	s.Put(t, "INBOX", mixedMail)
	a := open(t, s)
	m := only(t, a, "INBOX")
	var held []*Content
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	for _, who := range []string{"ada", "ada", "bob"} {
		if len(held) == 2 {
			_, err := a.Attachment(By(ctx, "ada"), "INBOX", m.ID, "2")
			wantProblem(t, "a third stream of one caller", err, http.StatusGatewayTimeout, integrations.ReasonSlow)
		}
		c, err := a.Attachment(By(context.Background(), who), "INBOX", m.ID, "2")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	_, err := a.Raw(ctx, "INBOX", m.ID)
	wantProblem(t, "a fourth stream", err, http.StatusGatewayTimeout, integrations.ReasonSlow)
	if _, err := a.Folders(context.Background()); err != nil {
		t.Errorf("Folders beside slow readers: %v", err)
	}
	last, err := a.pool.get(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Folders(ctx)
	wantProblem(t, "a fifth caller", err, http.StatusGatewayTimeout, integrations.ReasonSlow)
	done := make(chan error)
	go func() { _, err := a.Folders(context.Background()); done <- err }()
	held[0].Close() // early: it cannot be used again
	if err := <-done; err != nil {
		t.Errorf("after a place was given back: %v", err)
	}
	a.pool.put(last, true)
	a.pool.idle = time.Millisecond
	var ended []<-chan struct{}
	for _, c := range held[1:] {
		ended = append(ended, c.c.Closed())
		io.Copy(io.Discard, c)
		c.Close()
		c.Close()
	}
	for _, e := range ended {
		<-e
	}
	if n := a.pool.places.Held() + a.streaming.Held(); n != 0 {
		t.Errorf("connections and streams in use = %d, want 0", n)
	}
}

// TestCancelledStream has a caller leave in the middle.
func TestCancelledStream(t *testing.T) {
	s := startScripted(t, endless)
	a := s.open(t)
	for range 2 * maxConns {
		ctx, cancel := context.WithCancel(context.Background())
		c, err := a.Raw(ctx, "INBOX", "7.1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		cancel()
		_, err = io.Copy(io.Discard, c)
		wantProblem(t, "reading on", err, http.StatusBadGateway, integrations.ReasonGone)
		c.Close()
	}
	if n := a.pool.places.Held() + len(a.pool.free); n != 0 {
		t.Errorf("connections left = %d, want 0", n)
	}
}

// endless has one message that never ends.
func endless(w *bufio.Writer, tag, line string) bool {
	if !strings.HasPrefix(line, "UID FETCH") {
		return false
	}
	io.WriteString(w, "* 1 FETCH (UID 1 BODY[] {4000000000}\r\n")
	for b := make([]byte, 4096); ; {
		if _, err := w.Write(b); err != nil {
			return true
		}
	}
}

// TestSilentServer has a server that stops answering, in every place: callers
// wait for so long and no longer.
func TestSilentServer(t *testing.T) {
	authority := mailtest.NewAuthority(t)
	for name, lines := range map[string]int{"from the start": -1, "after the greeting": 0, "after signing in": 1, "after a folder was opened": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, err := Open(integrations.Mail{IMAP: "imaps://127.0.0.1:1", Username: "u", Password: "p", CAFile: authority.File}, Options{
					Dial: func(context.Context, string, string) (net.Conn, error) {
						ours, theirs := net.Pipe()
						go silentAfter(tls.Server(theirs, authority.TLS), lines)
						return ours, nil
					}})
				if err != nil {
					t.Fatal(err)
				}
				defer a.Close()
				began := time.Now()
				_, err = a.Messages(context.Background(), "INBOX", Query{})
				wantProblem(t, "Messages", err, http.StatusGatewayTimeout, integrations.ReasonSlow)
				if took := time.Since(began); took > 2*commandTime {
					t.Errorf("took %v, want %v at most", took, 2*commandTime)
				}
			})
		})
	}
}

func silentAfter(c net.Conn, lines int) {
	defer c.Close()
	if lines >= 0 {
		io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] hi\r\n")
	}
	r := bufio.NewReader(c)
	for ; ; lines-- {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if tag, cmd, _ := strings.Cut(line, " "); lines > 0 {
			if strings.HasPrefix(cmd, "EXAMINE") {
				io.WriteString(c, "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n")
			}
			io.WriteString(c, tag+" OK [CAPABILITY IMAP4rev1] done\r\n")
		}
	}
}

// TestPanicGivesPlacesBack: a mail that nobody thought of costs one answer, not
// the account.
func TestPanicGivesPlacesBack(t *testing.T) {
	s := mailtest.Start(t, mailtest.Rich)
	a, ctx := open(t, s), t.Context()
	surprised := func(*conn) error { panic("what a mail") }
	for what, do := range map[string]func(){
		"reading":   func() { _ = a.do(ctx, surprised) },
		"streaming": func() { _, _ = (&Content{a: a}).open(ctx, surprised) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the panic is gone", what)
				}
			}()
			do()
		}()
		if n := a.pool.places.Held() + a.streaming.Held() + len(a.pool.free); n != 0 {
			t.Errorf("%s: %d places are taken, or connections kept, after a panic", what, n)
		}
	}
}
