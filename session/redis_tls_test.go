package session

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"anteroom/test/loopback"
)

// TestRedisClientCertificate: a new connection shows the client certificate that
// its files have; one that is not whole, or not valid, leaves the one before.
func TestRedisClientCertificate(t *testing.T) {
	dir := t.TempDir()
	cfg := RedisConfig{CAFile: filepath.Join(dir, "ca"), CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}
	age := time.Now().Add(-time.Hour)
	put := func(cert, key []byte) {
		t.Helper()
		age = age.Add(time.Second)
		for name, content := range map[string][]byte{cfg.CertFile: cert, cfg.KeyFile: key} {
			if err := errors.Join(os.WriteFile(name, content, 0o600), os.Chtimes(name, age, age)); err != nil {
				t.Fatal(err)
			}
		}
	}
	pair := func(serial int64, end time.Duration) loopback.Pair {
		return loopback.Certificate(t, func(c *x509.Certificate) {
			c.SerialNumber, c.NotAfter = big.NewInt(serial), time.Now().Add(end)
		})
	}
	server, first := loopback.Certificate(t), pair(1, time.Hour)
	if err := os.WriteFile(cfg.CAFile, server.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	put(first.Cert, first.Key)
	own, err := redisTarget{tls: true}.tlsConfig(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	own.ServerName = "localhost"
	shown := func() int64 {
		t.Helper()
		here, there := net.Pipe()
		defer here.Close()
		defer there.Close()
		s := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{server.TLS(t)}, ClientAuth: tls.RequireAnyClientCert})
		done := make(chan error, 1)
		go func() { done <- s.Handshake() }()
		if err := tls.Client(here, own.Clone()).Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		return s.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	second, ended := pair(2, time.Hour), pair(3, -time.Second)
	for _, step := range []struct {
		name      string
		cert, key []byte
		want      int64
	}{
		{"the first", first.Cert, first.Key, 1},
		{"without its key", second.Cert, first.Key, 1},
		{"that ended", ended.Cert, ended.Key, 1},
		{"the second", second.Cert, second.Key, 2},
		{"none", nil, nil, 2},
	} {
		put(step.cert, step.key)
		if got := shown(); got != step.want {
			t.Errorf("%s: certificate %d is shown, want %d", step.name, got, step.want)
		}
	}
}
