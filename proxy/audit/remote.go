package audit

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"anteroom/session"
)

const (
	remoteTime = 5 * time.Second // for connecting, and for taking lines
	answerMost = 64 << 10        // bytes of an answer, and of its header, that are read, so that its connection can be used again
)

// syslogSink sends lines as RFC 5424 messages: by TCP and TLS with octet
// counting (RFC 6587 §3.4.1, RFC 5425 §4.3), by UDP and unix sockets as one
// datagram each (RFC 5426).
type syslogSink struct {
	network, address string
	tls              *tls.Config // but for the authorities; nil: none
	roots            *session.Authorities
	host, pid        string
	conn             net.Conn       // nil: none yet
	by               *x509.CertPool // of roots, that conn was made by
}

func newSyslog(kind, rest string, roots *session.Authorities) (*syslogSink, error) {
	s := &syslogSink{network: kind, address: rest, roots: roots, pid: strconv.Itoa(os.Getpid())}
	s.host, _ = os.Hostname()
	if s.host == "" {
		s.host = "-"
	}
	switch kind {
	case "unix":
		s.network = "unixgram"
	case "tls":
		s.network = "tcp"
		host, _, err := net.SplitHostPort(rest)
		if err != nil {
			return nil, fmt.Errorf("syslog: %w", err)
		}
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	}
	return s, nil
}

// priority is facility 13, log audit, with a severity: 4, warning, of what was
// refused or failed, else 6, informational (RFC 5424 §6.2.1).
func priority(k Kind) int {
	switch k {
	case SignInFailed, Refused, ConnectRefused, Lost:
		return 13*8 + 4
	}
	return 13*8 + 6
}

func (s *syslogSink) write(b *batch) error {
	if s.conn == nil {
		if err := s.dial(); err != nil {
			return err
		}
	} else if s.gone() {
		s.conn.Close()
		if err := s.dial(); err != nil {
			return err
		}
	}
	s.conn.SetWriteDeadline(time.Now().Add(remoteTime))
	err := s.send(b)
	if err != nil {
		s.conn.Close()
		s.conn = nil
	}
	return err
}

func (s *syslogSink) send(b *batch) error {
	var out []byte
	b.refused = nil
	err := b.each(func(text []byte, of line) error {
		head := fmt.Appendf(nil, "<%d>1 %s %s anteroom %s %s - ", priority(of.kind), of.time.UTC().Format("2006-01-02T15:04:05.000000Z"), s.host, s.pid, of.kind)
		if s.network != "tcp" {
			_, err := s.conn.Write(append(head, text...))
			if tooLong(err) {
				b.refused = append(b.refused, of)
				return nil
			}
			return err
		}
		out = strconv.AppendInt(out, int64(len(head)+len(text)), 10)
		out = append(append(append(out, ' '), head...), text...)
		return nil
	})
	if err == nil && len(out) > 0 {
		_, err = s.conn.Write(out)
	}
	return err
}

func (s *syslogSink) dial() error {
	ctx, cancel := context.WithTimeout(context.Background(), remoteTime)
	defer cancel()
	d := &net.Dialer{}
	var err error
	if s.by = s.roots.Pool(); s.tls != nil {
		s.conn, err = (&tls.Dialer{NetDialer: d, Config: s.roots.Config(s.tls)}).DialContext(ctx, s.network, s.address)
	} else {
		s.conn, err = d.DialContext(ctx, s.network, s.address)
	}
	if err != nil {
		s.conn = nil // not an interface around nothing
	}
	return err
}

// gone reports whether the other side closed the connection: what is written
// then seems to arrive, and does not. A syslog server sends nothing. A connection
// that other authorities vouched for than there are now counts as gone, too.
func (s *syslogSink) gone() bool {
	if s.network != "tcp" {
		return false
	}
	s.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	var one [1]byte
	_, err := s.conn.Read(one[:])
	var timeout net.Error
	return err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) || s.tls != nil && s.by != s.roots.Pool()
}

func (s *syslogSink) close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}

// Signer signs a request of ours over its body (RFC 9421).
type Signer interface {
	Sign(r *http.Request, body []byte) error
}

// poster posts lines to a collector, as newline-delimited JSON.
type poster struct {
	url    string
	token  *session.Rotating // each collector learns of a new one in its own time
	client *http.Client
	sign   Signer // nil: requests are not signed

	since time.Time // when the collector began to refuse what lines say; zero: it does not
	lasts time.Duration
}

// errRefused is a collector that does not want what it is sent, whenever that is.
var errRefused = errors.New("the collector refuses these lines")

// errDenied is a collector that does not take the token.
var errDenied = errors.New("the collector does not take the token")

// refusalLasts is how long a collector refuses lines before that is for good:
// until then it may be a fault of its own.
const refusalLasts = 30 * time.Second

func newPoster(to string, cfg Config, roots *session.Authorities, sign Signer) *poster {
	t := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: remoteTime, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: answerMost, ForceAttemptHTTP2: true}
	return &poster{url: to, token: session.NewRotating(cfg.Token), sign: sign, lasts: refusalLasts, client: &http.Client{
		Transport: session.NewTransport(t, roots), Timeout: remoteTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // nobody else gets the lines, nor the token
	}}
}

// write posts lines. Those of a group that stays refused are posted by halves,
// down to the lines that are to blame.
func (p *poster) write(b *batch) error {
	b.refused = nil
	err := p.post(b)
	switch {
	case err == nil:
		p.since = time.Time{}
		return nil
	case !errors.Is(err, errRefused):
		return err
	case p.since.IsZero():
		p.since = time.Now()
	}
	if time.Since(p.since) < p.lasts {
		return err
	}
	b.refused, err = p.halves(b)
	return err
}

// halves posts a refused group in parts, and reports what is refused of it.
func (p *poster) halves(b *batch) (refused []line, err error) {
	n := len(b.lines)
	if n == 1 {
		return b.lines, nil
	}
	for _, half := range []*batch{b.part(0, n/2), b.part(n/2, n)} {
		err := p.post(half)
		if errors.Is(err, errRefused) {
			var more []line
			more, err = p.halves(half)
			refused = append(refused, more...)
		}
		if err != nil {
			return nil, err
		}
	}
	return refused, nil
}

func (p *poster) post(b *batch) error {
	return p.token.Show(func(token session.Secret) error { return p.postWith(b, token) }, func(err error) bool { return errors.Is(err, errDenied) })
}

func (p *poster) postWith(b *batch, token session.Secret) error {
	r, err := http.NewRequest(http.MethodPost, p.url, bytes.NewReader(b.text))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header.Set("User-Agent", "Anteroom")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	if p.sign != nil {
		if err := p.sign.Sign(r, b.text); err != nil {
			return fmt.Errorf("signing audit lines: %w", err)
		}
	}
	resp, err := p.client.Do(r)
	if err != nil {
		return session.WithoutURL(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, answerMost))
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: it answered %d", errRefused, resp.StatusCode)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: it answered %d", errDenied, resp.StatusCode)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answered %d", resp.StatusCode)
	}
	return nil
}

func (p *poster) close() error {
	p.client.CloseIdleConnections()
	return nil
}
