package session

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"sync"
	"sync/atomic"
)

// Authorities are those by whom servers are known: the system's, or a file's,
// which may be exchanged at any time. What is verified from then on is verified
// by the new ones. Safe for concurrent use.
type Authorities struct {
	pool atomic.Pointer[x509.CertPool] // nil: the system's
}

// OpenAuthorities reads a PEM file; "" stands for the system's.
func OpenAuthorities(file string) (*Authorities, error) {
	a := new(Authorities)
	if file == "" {
		return a, nil
	}
	pool, err := ReadAuthorities(file)
	if err != nil {
		return nil, err
	}
	a.pool.Store(pool)
	return a, nil
}

// Renew exchanges them for those of a text in PEM. The error says why they stay
// as they were.
func (a *Authorities) Renew(pem string) error {
	pool, err := authoritiesIn([]byte(pem))
	if err == nil {
		a.pool.Store(pool)
	}
	return err
}

// Pool is for tls.Config.RootCAs of one connection. It is another after each
// Renew, and never changed itself.
func (a *Authorities) Pool() *x509.CertPool { return a.pool.Load() }

// Config is c with them, for one connection.
func (a *Authorities) Config(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.RootCAs = a.Pool()
	return c
}

// Transport is an http.Transport that knows servers by Authorities as they are
// now. Once they change, no request goes out on a connection from before; one
// that is under way ends on its own. Safe for concurrent use.
type Transport struct {
	by  *Authorities // nil: the transport is as it was made
	now atomic.Pointer[http.Transport]
	mu  sync.Mutex // held while now is exchanged
}

// NewTransport makes one of t, which has a TLSClientConfig and an IdleConnTimeout,
// and is not to be used by itself any more.
func NewTransport(t *http.Transport, by *Authorities) *Transport {
	t.TLSClientConfig.RootCAs = by.Pool()
	return derived(t, by)
}

// Derive makes a transport of its own, like next but for what edit changes; both
// follow the same authorities. It is nil where next is neither a *Transport nor
// an *http.Transport: what stands before those has no authorities to show.
func Derive(next http.RoundTripper, edit func(*http.Transport)) *Transport {
	from, ok := next.(*Transport)
	if !ok {
		plain, ok := next.(*http.Transport)
		if !ok {
			return nil
		}
		from = derived(plain, nil)
	}
	own := from.current().Clone()
	edit(own)
	return derived(own, from.by)
}

func derived(t *http.Transport, by *Authorities) *Transport {
	d := &Transport{by: by}
	d.now.Store(t)
	return d
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.current().RoundTrip(r)
}

// CloseIdleConnections is http.Transport's, for http.Client's.
func (t *Transport) CloseIdleConnections() { t.now.Load().CloseIdleConnections() }

// RenewAuthorities has it, and what was derived of it, know servers by those of
// a text in PEM. The error says why that stays as it was.
func (t *Transport) RenewAuthorities(pem string) error { return t.by.Renew(pem) }

// current is the transport whose authorities are those of now.
func (t *Transport) current() *http.Transport {
	now := t.now.Load()
	if t.by == nil || now.TLSClientConfig.RootCAs == t.by.Pool() {
		return now
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now = t.now.Load()
	pool := t.by.Pool()
	if now.TLSClientConfig.RootCAs == pool {
		return now
	}
	next := now.Clone()
	next.TLSClientConfig.RootCAs = pool
	t.now.Store(next)
	now.CloseIdleConnections() // those in use are closed as they come back; of HTTP/2, once they were idle for IdleConnTimeout
	return next
}
