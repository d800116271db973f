package integrations

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anteroom/session"
	"anteroom/test/loopback"
)

func pin(b []byte) string { s := sha256.Sum256(b); return base64.StdEncoding.EncodeToString(s[:]) }

func TestPinsAndAuthorities(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(r.Host)) }))
	defer srv.Close()
	cert := srv.Certificate()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	good, other := pin(cert.RawSubjectPublicKeyInfo), pin([]byte("another key"))
	u, _ := url.Parse(srv.URL)
	tests := []struct {
		name string
		cfg  NextcloudConfig
		ok   bool
	}{
		{"unknown authority", NextcloudConfig{}, false},
		{"configured authority", NextcloudConfig{CAFile: ca}, true},
		{"pinned", NextcloudConfig{CAFile: ca, Pins: []string{other, good}}, true},
		{"pinned to others", NextcloudConfig{CAFile: ca, Pins: []string{other, pin(nil)}}, false},
		{"pinned, unknown authority", NextcloudConfig{Pins: []string{good, other}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.URL, tt.cfg.Timeout = "https://example.com:"+u.Port(), 5*time.Second
			tt.cfg.ConnectTo = u.Host // example.com is in httptest's certificate
			c, err := NewClient(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.Get(tt.cfg.URL + "/")
			if (err == nil) != tt.ok {
				t.Fatalf("Get = %v, want success %v", err, tt.ok)
			}
			if err == nil {
				resp.Body.Close()
			}
		})
	}
}

// TestAuthoritiesChange: Nextcloud is known by the authorities that were given
// last, and pins hold with any of them.
func TestAuthoritiesChange(t *testing.T) {
	old, next := loopback.Certificate(t), loopback.Certificate(t)
	server := next.Issue(t)
	at := server.HTTPS(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	file, _ := old.Files(t)
	asking := func(pins ...string) (renew func(string) error, ask func() error) {
		c, err := NewClient(NextcloudConfig{URL: at, CAFile: file, Pins: pins, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return c.Transport.(*session.Transport).RenewAuthorities, func() error {
			resp, err := c.Get(at)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
	}
	for _, pins := range [][]string{nil, {pin([]byte("a backup")), pin(server.TLS(t).Leaf.RawSubjectPublicKeyInfo)}} {
		renew, ask := asking(pins...)
		loopback.FollowAuthorities(t, old, next, renew, ask)
	}
	renew, ask := asking(pin([]byte("another")), pin(nil))
	if err := renew(string(next.Cert)); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err == nil || !strings.Contains(err.Error(), "pinned") {
		t.Errorf("a key that is not pinned, of an authority that came later: %v, want it refused", err)
	}
}

func TestBadSettings(t *testing.T) {
	for _, cfg := range []NextcloudConfig{{CAFile: "/nonexistent"}, {Pins: []string{"short"}}, {CAFile: "nextcloud.go"}} {
		if _, err := NewClient(cfg); err == nil {
			t.Errorf("NewClient(%+v) = nil, want an error", cfg)
		}
	}
}
