package session

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// clientPair is a client's certificate by its files: each new connection shows
// what they have. What cannot be used is reported, and the one before is shown.
type clientPair struct {
	files [2]string // certificate and key
	log   *slog.Logger

	mu    sync.Mutex
	pair  *tls.Certificate // guarded by mu
	stamp [2]time.Time     // guarded by mu: modification times of what was read
	bad   [2]time.Time     // guarded by mu: and of what was complained of
}

// get is for tls.Config.GetClientCertificate.
func (p *clientPair) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stamp := p.stamps()
	if stamp == p.stamp {
		return p.pair, nil
	}
	err := p.load(stamp)
	switch {
	case err == nil:
		p.log.Info("changed client certificate for redis taken up")
	case stamp != p.bad:
		p.bad = stamp
		p.log.Error("changed client certificate for redis not taken up; the old one stays", "error", err)
	}
	return p.pair, nil
}

// load reads the files, which are of that age. Called with mu held, or before
// anybody else knows p.
func (p *clientPair) load(stamp [2]time.Time) error {
	pair, err := ReadKeyPair(p.files[0], p.files[1])
	if err != nil {
		return err
	}
	if now := time.Now(); p.pair != nil && (now.Before(pair.Leaf.NotBefore) || now.After(pair.Leaf.NotAfter)) {
		return fmt.Errorf("the certificate is valid from %s to %s only", pair.Leaf.NotBefore.Format(time.RFC3339), pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	p.pair, p.stamp = pair, stamp
	return nil
}

// stamps are when the files were changed.
func (p *clientPair) stamps() (stamp [2]time.Time) {
	for i, name := range p.files {
		if info, err := os.Stat(name); err == nil {
			stamp[i] = info.ModTime()
		}
	}
	return stamp
}
