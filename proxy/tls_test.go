package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"anteroom/test/loopback"
)

// TestClientCAChanges: a changed file of clients' authorities counts for the
// next connection, one that was resumed included; a broken one changes nothing.
func TestClientCAChanges(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	old, next := loopback.Certificate(t), loopback.Certificate(t)
	server := old.Issue(t)
	cfg := TLSConfig{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ClientCA: filepath.Join(dir, "clients.pem")}
	age := now.Add(-time.Hour)
	write := func(name string, content []byte) { // older and older: any change counts
		t.Helper()
		age = age.Add(-time.Minute)
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, age, age); err != nil {
			t.Fatal(err)
		}
	}
	write(cfg.Cert, server.Cert)
	write(cfg.Key, server.Key)
	write(cfg.ClientCA, old.Cert)

	conf, err := newTLS(cfg, slog.New(slog.DiscardHandler), func() time.Time { return now }, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{TLSConfig: conf, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go s.ServeTLS(l, "", "")
	t.Cleanup(func() { s.Close() })

	roots := old.Pool()
	person := func(pair ...tls.Certificate) *http.Client {
		return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: pair, ClientSessionCache: tls.NewLRUClientSessionCache(4)}}}
	}
	ofOld, ofNext, ofNobody := person(old.Issue(t).TLS(t)), person(next.Issue(t).TLS(t)), person()
	want := func(when string, oldMay, nextMay bool) {
		t.Helper()
		for name, c := range map[string]struct {
			client *http.Client
			may    bool
		}{"the old authority": {ofOld, oldMay}, "the next one": {ofNext, nextMay}, "nobody": {ofNobody, false}} {
			resp, err := c.client.Get("https://" + l.Addr().String())
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			if (err == nil) != c.may {
				t.Errorf("%s: a client of %s: %v, want let in: %v", when, name, err, c.may)
			}
		}
	}
	want("at first", true, false)
	write(cfg.ClientCA, []byte("no certificate"))
	now = now.Add(certRecheck)
	want("with a broken file", true, false)
	write(cfg.ClientCA, append(old.Cert, next.Cert...))
	want("before it is looked at", true, false)
	now = now.Add(certRecheck)
	want("with both", true, true)
	write(cfg.ClientCA, next.Cert)
	now = now.Add(certRecheck)
	want("with the next alone", false, true)
}

// TestCertificateIsVetted: a changed certificate is served only if its key is
// there and it is valid at the time. One that is not is told of once, if it stays.
func TestCertificateIsVetted(t *testing.T) {
	dir, now, refused := t.TempDir(), time.Now(), 0
	cfg := TLSConfig{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	age := now.Add(-time.Hour)
	put := func(cert, key []byte) {
		t.Helper()
		age = age.Add(-time.Minute)
		for name, content := range map[string][]byte{cfg.Cert: cert, cfg.Key: key} {
			if err := errors.Join(os.WriteFile(name, content, 0o600), os.Chtimes(name, age, age)); err != nil {
				t.Fatal(err)
			}
		}
	}
	valid := func(serial int64, from, to time.Duration) loopback.Pair {
		return loopback.Certificate(t, func(c *x509.Certificate) {
			c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(serial), now.Add(from), now.Add(to)
		})
	}
	first := valid(1, -time.Hour, time.Hour)
	put(first.Cert, first.Key)
	conf, err := newTLS(cfg, slog.New(slog.DiscardHandler), func() time.Time { return now }, func() { refused++ })
	if err != nil {
		t.Fatal(err)
	}
	want := func(when string, serial int64, told int) {
		t.Helper()
		for range 3 {
			now = now.Add(certRecheck)
			if pair, err := conf.GetCertificate(nil); err != nil || pair.Leaf.SerialNumber.Int64() != serial {
				t.Errorf("%s: certificate %v, %v, want %d", when, pair.Leaf.SerialNumber, err, serial)
			}
		}
		if refused != told {
			t.Errorf("%s: told %d times, want %d", when, refused, told)
		}
	}
	want("at first", 1, 0)
	ended, early, good := valid(2, -2*time.Hour, -time.Hour), valid(3, time.Hour, 2*time.Hour), valid(4, -time.Hour, time.Hour)
	put(ended.Cert, ended.Key)
	want("one that ended", 1, 1)
	put(good.Cert, first.Key)
	want("another's key", 1, 2)
	put([]byte("no certificate"), good.Key)
	want("no certificate", 1, 3)
	put(early.Cert, early.Key)
	want("one that is to come", 1, 4)
	now = now.Add(time.Hour)
	want("once it is there", 3, 4)
	put(good.Cert, first.Key) // the key comes a moment later
	now = now.Add(certRecheck)
	conf.GetCertificate(nil)
	last := valid(5, -time.Hour, time.Hour)
	put(last.Cert, last.Key)
	want("the key after it", 5, 4)
}
