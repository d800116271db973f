package redistest

import (
	"os"
	"path/filepath"
	"testing"

	"anteroom/test/loopback"
)

// certificate makes an authority and a server's certificate for 127.0.0.1 in
// dir. It returns the server's settings and the authority's file.
func certificate(t testing.TB, dir string) (settings []string, caFile string) {
	t.Helper()
	authority := loopback.Certificate(t)
	caFile = filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(caFile, authority.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	authority.Issue(t).Write(t, certFile, keyFile)
	return []string{"--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-ca-cert-file", caFile, "--tls-auth-clients", "no"}, caFile
}
