package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certRecheck is how often a certificate's files are looked at for a change.
const certRecheck = 10 * time.Second

// certificate serves a key pair from files and takes up a new one when they
// change. A new pair that does not load is reported and the old one kept.
type certificate struct {
	cfg TLSConfig
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	pair    *tls.Certificate // guarded by mu
	stamp   time.Time        // guarded by mu: newest modification time of pair
	checked time.Time        // guarded by mu
}

// newTLS makes the listener's TLS: 1.2 at least, HTTP/2 offered, clients'
// certificates demanded where an authority for them is configured.
func newTLS(cfg TLSConfig, log *slog.Logger, now func() time.Time) (*tls.Config, error) {
	c := &certificate{cfg: cfg, log: log, now: now}
	if err := c.load(); err != nil {
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
	pem, err := os.ReadFile(cfg.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("server.tls.client_ca: %w", err)
	}
	t.ClientCAs, t.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !t.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("server.tls.client_ca: %s holds no certificate", cfg.ClientCA)
	}
	return t, nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= certRecheck {
		c.checked = now
		if stamp, err := c.newest(); err == nil && !stamp.Equal(c.stamp) {
			if err := c.load(); err != nil {
				c.log.Error("changed certificate not taken up; the old one stays", "error", err)
			} else {
				c.log.Info("changed certificate taken up")
			}
		}
	}
	return c.pair, nil
}

// load reads the pair. Called with mu held, or before anybody else knows c.
func (c *certificate) load() error {
	stamp, err := c.newest()
	if err != nil {
		return fmt.Errorf("server.tls: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.cfg.Cert, c.cfg.Key)
	if err != nil {
		return fmt.Errorf("server.tls: %w", err)
	}
	c.pair, c.stamp = &pair, stamp
	return nil
}

// newest is the later modification time of the two files.
func (c *certificate) newest() (time.Time, error) {
	var newest time.Time
	for _, name := range []string{c.cfg.Cert, c.cfg.Key} {
		info, err := os.Stat(name)
		if err != nil {
			return newest, err
		}
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest, nil
}
