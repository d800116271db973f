// Package integrations is Nextcloud for programs. It trusts Nextcloud's
// certificate only as far as the configuration says, and no answer to be small
// or on time.
package integrations

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"anteroom/session"
)

// NewClient makes the HTTP client for Nextcloud: its authorities and pins, its
// address if that is not the URL's own, its timeout. It keeps no cookies: a
// Nextcloud cookie beats the Authorization header, and a jar shared by callers
// would mix their identities. Its Transport is a *session.Transport.
func NewClient(cfg NextcloudConfig) (*http.Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("nextcloud.url: %w", err)
	}
	t := &http.Transport{
		DialContext:           dialer(base, cfg.ConnectTo),
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   cfg.Timeout,
		ResponseHeaderTimeout: cfg.Timeout,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       90 * time.Second,
		ForceAttemptHTTP2:     true,
	}
	by, err := session.OpenAuthorities(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("nextcloud.ca_file: %w", err)
	}
	if len(cfg.Pins) > 0 {
		if t.TLSClientConfig.VerifyConnection, err = pinned(cfg.Pins); err != nil {
			return nil, fmt.Errorf("nextcloud.pins: %w", err)
		}
	}
	return &http.Client{Transport: session.NewTransport(t, by), Timeout: cfg.Timeout}, nil
}

// dialer dials connectTo wherever base's own address is meant.
func dialer(base *url.URL, connectTo string) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	if connectTo == "" {
		return d.DialContext
	}
	port := base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[base.Scheme]
	}
	own := net.JoinHostPort(base.Hostname(), port)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == own {
			addr = connectTo
		}
		return d.DialContext(ctx, network, addr)
	}
}

// pinned demands that some certificate of the verified chain has a public key
// among the pins: base64 of the SHA-256 of its SubjectPublicKeyInfo (RFC 7469 §2.4).
func pinned(pins []string) (func(tls.ConnectionState) error, error) {
	var want [][]byte
	for _, p := range pins {
		b, err := base64.StdEncoding.DecodeString(p)
		if err != nil || len(b) != sha256.Size {
			return nil, fmt.Errorf("%q is not base64 of 32 bytes", p)
		}
		want = append(want, b)
	}
	return func(cs tls.ConnectionState) error {
		for _, chain := range cs.VerifiedChains {
			for _, cert := range chain {
				sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
				for _, w := range want {
					if subtle.ConstantTimeCompare(sum[:], w) == 1 {
						return nil
					}
				}
			}
		}
		return errors.New("no certificate of Nextcloud's chain is pinned")
	}, nil
}
