package session

import (
	"context"
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
	"anteroom/test/redistest"
)

// TestRedisClientCertificate: a new connection shows the client certificate that
// its files have; one that is not whole, or not valid, leaves the one before.
func TestRedisClientCertificate(t *testing.T) {
	dir := t.TempDir()
	cfg := RedisConfig{CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}
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
	put(first.Cert, first.Key)
	own, err := redisTarget{tls: true}.tlsConfig(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	own.ServerName, own.RootCAs = "localhost", server.Pool()
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

// TestRedisAuthoritiesChange: Redis is known by the authorities of now, also
// where there are connections from before.
func TestRedisAuthoritiesChange(t *testing.T) {
	s := redistest.Start(t, redistest.Options{TLS: true})
	of, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	old := loopback.Certificate(t)
	file, _ := old.Files(t)
	r, err := OpenRedis(RedisConfig{URL: Secret(s.URL()), CAFile: file}, RedisOptions{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx := context.WithValue(t.Context(), redisUrgent{}, true)
	loopback.FollowAuthorities(t, old, loopback.Pair{Cert: of}, r.RenewAuthorities, func() error { return r.Writable(ctx) })
}
