// Package loopback has what a server that a test starts on this machine needs:
// an address that nobody has, and certificates.
package loopback

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// Port finds a TCP port of 127.0.0.1 that nobody listens on, and that no
// outgoing connection is given before it is used: one below the range that the
// kernel takes those from (32768 and up, RFC 6335's 49152 elsewhere). No other
// test is given it until t ends, of other processes neither.
func Port(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + mathrand.IntN(12000))
		claim, err := net.Listen("unix", claimDir()+"anteroom-port-"+port)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			claim.Close()
			continue
		}
		l.Close()
		t.Cleanup(func() { claim.Close() })
		return port
	}
	t.Fatal("no free port between 20000 and 32000")
	return ""
}

// claimDir is where sockets are that stand for ports: in Linux' abstract
// namespace, which keeps none of a process that was killed.
func claimDir() string {
	if runtime.GOOS == "linux" {
		return "@"
	}
	return os.TempDir() + "/"
}

// Address is 127.0.0.1 with such a port.
func Address(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", Port(t))
}

// Serve has every connection handled in a goroutine of its own, and then closed,
// until the test ends. secure is for TLS; nil: plain.
func Serve(t testing.TB, secure *tls.Config, handle func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return addr
}

// Pair is a certificate and its private key, in PEM (the key as PKCS #8).
type Pair struct {
	Cert, Key []byte

	template *x509.Certificate
	private  *ecdsa.PrivateKey
}

// Certificate makes a certificate for localhost and 127.0.0.1 that vouches for
// itself, fit for servers and clients and valid for an hour either way. Each
// edit may change what it says before it is signed.
func Certificate(t testing.TB, edit ...func(*x509.Certificate)) Pair {
	t.Helper()
	return issue(t, nil, append([]func(*x509.Certificate){func(c *x509.Certificate) {
		c.IsCA = true
		c.KeyUsage |= x509.KeyUsageCertSign
	}}, edit...))
}

// Issue makes one that p vouches for.
func (p Pair) Issue(t testing.TB, edit ...func(*x509.Certificate)) Pair {
	t.Helper()
	return issue(t, &p, edit)
}

func issue(t testing.TB, by *Pair, edit []func(*x509.Certificate)) Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "loopback " + serial.Text(36)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, e := range edit {
		e(c)
	}
	issuer := Pair{template: c, private: key}
	if by != nil {
		issuer = *by
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer.template, key.Public(), issuer.private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{
		Cert:     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:      pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		template: c, private: key,
	}
}

// Files writes both to files that only the owner may read, cert.pem and key.pem
// of a folder that goes with the test.
func (p Pair) Files(t testing.TB) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	p.Write(t, cert, key)
	return cert, key
}

// Write writes both to the files named.
func (p Pair) Write(t testing.TB, cert, key string) {
	t.Helper()
	for file, content := range map[string][]byte{cert: p.Cert, key: p.Key} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// HTTPS serves HTTP/1.1 and HTTP/2 with the pair until the test ends. Handshakes
// that fail are not logged.
func (p Pair) HTTPS(t testing.TB, h http.Handler) (url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS, s.EnableHTTP2 = &tls.Config{Certificates: []tls.Certificate{p.TLS(t)}}, true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// TLS is the pair as crypto/tls takes it.
func (p Pair) TLS(t testing.TB) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// Pool trusts what the pair vouches for.
func (p Pair) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.Cert)
	return pool
}

// FollowAuthorities wants a client to know a server, which has a certificate of
// next, by whatever authorities it was given last. It begins with those of old;
// renew gives it others in PEM, and connect has it ask the server something.
func FollowAuthorities(t testing.TB, old, next Pair, renew func(pem string) error, connect func() error) {
	t.Helper()
	for _, step := range []struct {
		name, pem string
		taken, in bool
	}{
		{"at first", string(old.Cert), true, false},
		{"with a broken file", "no certificate", false, false},
		{"with the next", string(next.Cert), true, true},
		{"with a broken file again", "no certificate", false, true},
		{"with both", string(old.Cert) + string(next.Cert), true, true},
		{"with the old alone", string(old.Cert), true, false},
	} {
		if step.name != "at first" {
			if err := renew(step.pem); (err == nil) != step.taken {
				t.Errorf("%s: taken up: %v, want that: %v", step.name, err, step.taken)
			}
		}
		if err := connect(); (err == nil) != step.in {
			t.Errorf("%s: connecting: %v, want it to go well: %v", step.name, err, step.in)
		}
	}
}
