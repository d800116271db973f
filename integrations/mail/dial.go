package mail

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-message/charset"
	"github.com/emersion/go-sasl"

	"anteroom/session"
)

// Why nobody can sign in at a server, whatever the password is. Refusals have
// them within.
var (
	ErrNoTLS  = errors.New("the server offers no STARTTLS")
	ErrNoAuth = errors.New("the SMTP server offers neither AUTH PLAIN nor LOGIN")
)

var (
	errRefused = errors.New("the server refuses the account")
	errNoIMAP  = errors.New("no IMAP server is configured")
)

// words decodes what a header has encoded (RFC 2047).
var words = &mime.WordDecoder{CharsetReader: charset.Reader}

// refusal remembers for a while that the password was refused.
type refusal struct {
	mu    sync.Mutex
	until time.Time // guarded by mu
}

func (r *refusal) is(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Before(r.until)
}

func (r *refusal) begin(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = now.Add(refusedTime)
}

// dial makes a new connection and signs in.
func (a *Account) dial(ctx context.Context) (c *conn, err error) {
	if a.imap == nil {
		return nil, errNoIMAP
	}
	err = a.known(ctx, a.imap, func(as session.Credential) error {
		c, err = a.dialAs(ctx, as)
		return err
	})
	return c, err
}

// known has f sign in at a server with the password in force and, where that is
// refused, with what its file has instead. Where none is taken it says so, and
// has none tried again for a while.
func (a *Account) known(ctx context.Context, at *server, f func(session.Credential) error) error {
	if at.refusal.is(a.o.Now()) {
		return errRefused
	}
	as := a.as()
	for {
		err := f(as)
		switch {
		case a.kept == nil:
		case err == nil:
			a.kept.Took(as.Secret)
		case errors.Is(err, errRefused):
			if other, ok := a.kept.Renewed(ctx, as.Secret); ok {
				as.Secret = other
				continue
			}
		}
		if errors.Is(err, errRefused) {
			at.refusal.begin(a.o.Now())
			a.o.Log.Error("the mail server refuses the mail account: renew integrations.mail.password", "server", at.addr)
		}
		return err
	}
}

func (a *Account) dialAs(ctx context.Context, as session.Credential) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	raw, err := a.o.Dial(ctx, "tcp", a.imap.addr)
	if err != nil {
		return nil, fmt.Errorf("dialing the IMAP server: %w", err)
	}
	g, err := a.imap.secure(ctx, raw)
	if err != nil {
		raw.Close()
		return nil, during(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { g.abort(ctx.Err()) })
	defer stop()
	g.allow(maxHeader)
	c := &conn{Client: imapclient.New(g, &imapclient.Options{WordDecoder: words}), guard: g}
	if err := signIn(c, as); err != nil {
		if why := g.why(); why != nil && !errors.Is(err, errRefused) {
			err = why
		}
		c.end()
		return nil, during(ctx, err)
	}
	return c, nil
}

// during is an error, or that the time for what was done is over.
func during(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// secure has TLS on a connection, and bounds on what comes through it.
func (s *server) secure(ctx context.Context, raw net.Conn) (*guard, error) {
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var greeting []byte
	if s.startTLS {
		if err := startIMAP(raw); err != nil {
			return nil, err
		}
		greeting = []byte("* OK secured\r\n") // there is none after STARTTLS, and a client waits for one
	}
	secured := tls.Client(raw, s.roots.Config(s.tls))
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("securing the connection: %w", handshake{err})
	}
	return &guard{Conn: secured, greeting: greeting}, nil
}

// startIMAP is the part of IMAP that is said in clear: that TLS is wanted (RFC
// 9051 §6.2.1). Nothing that the server says here is used, or kept for later.
func startIMAP(raw io.ReadWriter) error {
	r := bufio.NewReaderSize(io.LimitReader(raw, maxHeader), 4<<10)
	line := func() (string, error) {
		b, err := r.ReadSlice('\n')
		return strings.ToUpper(string(b)), err
	}
	switch greeting, err := line(); {
	case err != nil:
		return fmt.Errorf("reading the greeting: %w", err)
	case !strings.HasPrefix(greeting, "* OK"):
		return ErrNoTLS
	}
	if _, err := io.WriteString(raw, "S STARTTLS\r\n"); err != nil {
		return fmt.Errorf("asking for TLS: %w", err)
	}
	for {
		switch said, err := line(); {
		case err != nil:
			return fmt.Errorf("asking for TLS: %w", err)
		case strings.HasPrefix(said, "S OK") && r.Buffered() == 0:
			return nil
		case !strings.HasPrefix(said, "* "):
			return ErrNoTLS
		}
	}
}

// signIn gives the account's name and password, and learns what the server can.
func signIn(c *conn, as session.Credential) error {
	if err := c.WaitGreeting(); err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	if c.State() == imap.ConnStateNotAuthenticated {
		var err error
		user, secret := as.User, as.Secret.Reveal()
		if caps := c.Caps(); caps.Has("AUTH=PLAIN") {
			err = c.Authenticate(sasl.NewPlainClient("", user, secret))
		} else {
			err = c.Login(user, secret).Wait()
		}
		var no *imap.Error
		if errors.As(err, &no) && !passing(no.Code) {
			return errRefused
		}
		if err != nil {
			return fmt.Errorf("signing in: %w", err)
		}
	}
	if c.caps = c.Caps(); c.caps == nil {
		return fmt.Errorf("asking what the server can: %w", io.ErrUnexpectedEOF)
	}
	return nil
}
