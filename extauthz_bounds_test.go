package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"

	"anteroom/test/loopback"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// TestExtAuthzTLS: the certificate, and the demand for one, are the site's.
func TestExtAuthzTLS(t *testing.T) {
	cert, key := loopback.Certificate(t).Files(t)
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
