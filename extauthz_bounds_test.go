package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// selfSigned is a certificate for 127.0.0.1 that vouches for itself, as files.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestExtAuthzTLS: the certificate, and the demand for one, are the site's.
func TestExtAuthzTLS(t *testing.T) {
	cert, key := selfSigned(t)
	e, _, _, _ := brokenHouse(t, &slow{}, "ANTEROOM_SERVER_TLS_CERT="+cert, "ANTEROOM_SERVER_TLS_KEY="+key, "ANTEROOM_SERVER_TLS_CLIENT_CA="+cert)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	text, _ := os.ReadFile(cert)
	roots.AppendCertsFromPEM(text)
	for name, tt := range map[string]struct {
		creds credentials.TransportCredentials
		want  codes.Code
	}{
		"with a certificate":    {credentials.NewTLS(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: "127.0.0.1"}), codes.OK},
		"without a certificate": {credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}), codes.Unavailable},
		"in the clear":          {insecure.NewCredentials(), codes.Unavailable},
	} {
		c := auth.NewAuthorizationClient(dialGRPC(t, e.at, grpc.WithTransportCredentials(tt.creds)))
		if _, err := c.Check(t.Context(), e.question("GET", e.w.site+"/public/x")); status.Code(err) != tt.want {
			t.Errorf("%s: Check = %v, want %v", name, err, tt.want)
		}
	}
}

// TestExtAuthzBounds: what is too large is refused, and nothing else is served.
func TestExtAuthzBounds(t *testing.T) {
	w, e := envoyTown(t)
	m := e.question("GET", w.site+"/public/x")
	m.Attributes.Request.Http.Body = strings.Repeat("b", 512<<10)
	if a := e.ask(m); a.GetOkResponse() == nil || a.GetStatus().GetCode() != 0 {
		t.Errorf("with half a MiB of body = %v, want yes", a.GetStatus())
	}
	m.Attributes.Request.Http.Body = strings.Repeat("b", 2<<20)
	if _, err := e.Authorization.Check(t.Context(), m); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("with 2 MiB of body = %v, want ResourceExhausted", err)
	}
	err := dialGRPC(t, e.at).Invoke(t.Context(), "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", m, m)
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("reflection = %v, want Unimplemented", err)
	}
}
