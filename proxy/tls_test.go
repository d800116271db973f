package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is one that signs certificates in a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	a.key, a.pem = a.sign(t, a.cert)
	return a
}

// sign makes a key and a certificate for it; the authority's own, if it has none.
func (a *authority) sign(t *testing.T, c *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	by := a.key
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// leaf is a certificate for a client or for 127.0.0.1.
func (a *authority) leaf(t *testing.T) tls.Certificate {
	t.Helper()
	key, cert := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// TestClientCAChanges: a changed file of clients' authorities counts for the
// next connection, one that was resumed included; a broken one changes nothing.
func TestClientCAChanges(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	old, next := newAuthority(t), newAuthority(t)
	server := old.leaf(t)
	cfg := TLSConfig{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ClientCA: filepath.Join(dir, "clients.pem")}
	der, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
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
	write(cfg.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate[0]}))
	write(cfg.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	write(cfg.ClientCA, old.pem)

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

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(old.pem)
	person := func(pair ...tls.Certificate) *http.Client {
		return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: pair, ClientSessionCache: tls.NewLRUClientSessionCache(4)}}}
	}
	ofOld, ofNext, ofNobody := person(old.leaf(t)), person(next.leaf(t)), person()
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
	write(cfg.ClientCA, append(old.pem, next.pem...))
	want("before it is looked at", true, false)
	now = now.Add(certRecheck)
	want("with both", true, true)
	write(cfg.ClientCA, next.pem)
	now = now.Add(certRecheck)
	want("with the next alone", false, true)
}
