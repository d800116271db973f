package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"anteroom/session"
)

// certRecheck is how often a certificate's files are looked at for a change.
const certRecheck = 10 * time.Second

// certificate serves a key pair, and demands clients' certificates, by files, and
// takes up new ones when they change. What does not load, or is not valid at the
// time, is reported, and all stays as it was.
type certificate struct {
	cfg     TLSConfig
	log     *slog.Logger
	now     func() time.Time
	refused func() // told that changed files are not used; nil: nobody

	mu      sync.Mutex
	pair    *tls.Certificate // guarded by mu
	clients *x509.CertPool   // guarded by mu: authorities of clients; nil: none is asked for
	stamp   [3]time.Time     // guarded by mu: modification times of what was loaded
	checked time.Time        // guarded by mu
	bad     [3]time.Time     // guarded by mu: modification times of what could not be used last
	told    bool             // guarded by mu: it was said
}

// newTLS makes the listener's TLS: 1.2 at least, HTTP/2 offered, clients'
// certificates demanded where an authority for them is configured.
func newTLS(cfg TLSConfig, log *slog.Logger, now func() time.Time, refused func()) (*tls.Config, error) {
	c := &certificate{cfg: cfg, log: log, now: now, refused: refused}
	if err := c.load(c.stamps(), anyTime); err != nil {
		return nil, err
	}
	t := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: c.get,
	}
	if cfg.ClientCA == "" {
		return t, nil
	}
	t.ClientCAs, t.ClientAuth = c.clients, tls.RequireAndVerifyClientCert
	demanding := t.Clone()
	t.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.renew(); demanding.ClientCAs != c.clients {
			demanding = demanding.Clone() // connections hold on to the one before
			demanding.ClientCAs = c.clients
		}
		return demanding, nil
	}
	return t, nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.renew()
	return c.pair, nil
}

// renew looks at the files, if it did not just do so. Called with mu held.
func (c *certificate) renew() {
	now := c.now()
	if now.Sub(c.checked) < certRecheck {
		return
	}
	c.checked = now
	stamp := c.stamps()
	if stamp == c.stamp {
		return
	}
	if err := c.load(stamp, now); err != nil {
		c.complain(stamp, err)
		return
	}
	c.log.Info("changed certificate taken up")
}

// complain says once of each state of the files why they are not used, if they
// stay so for two looks: one is written before the other. Called with mu held.
func (c *certificate) complain(stamp [3]time.Time, err error) {
	if stamp != c.bad {
		c.bad, c.told = stamp, false
		return
	}
	if c.told {
		return
	}
	c.told = true
	c.log.Error("changed certificate not taken up; the old one stays", "error", err)
	if c.refused != nil {
		c.refused()
	}
}

// anyTime has a certificate loaded whenever it is valid: at the start there is
// none that could be served instead.
var anyTime time.Time

// load reads the files, which are of that age, for use at a time. Called with mu
// held, or before anybody else knows c.
func (c *certificate) load(stamp [3]time.Time, at time.Time) error {
	pair, err := session.ReadKeyPair(c.cfg.Cert, c.cfg.Key)
	switch {
	case err != nil:
		return fmt.Errorf("server.tls: %w", err)
	case at == anyTime:
	case at.Before(pair.Leaf.NotBefore):
		return fmt.Errorf("server.tls: the certificate is not valid before %s", pair.Leaf.NotBefore.Format(time.RFC3339))
	case at.After(pair.Leaf.NotAfter):
		return fmt.Errorf("server.tls: the certificate ended on %s", pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	var clients *x509.CertPool
	if c.cfg.ClientCA != "" {
		if clients, err = session.ReadAuthorities(c.cfg.ClientCA); err != nil {
			return fmt.Errorf("server.tls.client_ca: %w", err)
		}
	}
	c.pair, c.clients, c.stamp = pair, clients, stamp
	return nil
}

// stamps are when the files were changed. One that is not there has none, and
// loading says so.
func (c *certificate) stamps() (stamp [3]time.Time) {
	for i, name := range []string{c.cfg.Cert, c.cfg.Key, c.cfg.ClientCA} {
		if info, err := os.Stat(name); err == nil {
			stamp[i] = info.ModTime()
		}
	}
	return stamp
}
