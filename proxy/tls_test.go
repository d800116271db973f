package proxy

import (
	"crypto/tls"
	"io"
	"log/slog"
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

	conf, err := newTLS(cfg, slog.New(slog.DiscardHandler), func() time.Time { return now })
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
