package main

import (
	"strings"
	"testing"

	"anteroom/test/loopback"
)

func TestParseURL(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"https://app.example.com", "https://app.example.com"},
		{"HTTPS://App.Example.com:443/", "https://app.example.com"},
		{"http://localhost:80", "http://localhost"},
		{"http://localhost:443", "http://localhost:443"},
		{"https://cloud.example.com/nextcloud//", "https://cloud.example.com/nextcloud"},
		{"https://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443"},
		{"http://my_app:8001", "http://my_app:8001"},
		{"h2c://app:8001", "h2c://app:8001"},
		{"unix:/run/app.sock", "unix:/run/app.sock"},
		{"unix:///run//app.sock", "unix:/run/app.sock"},
	} {
		u, err := parseURL(tt.text, "http", "https", "h2c", "unix")
		if err != nil || u.String() != tt.want {
			t.Errorf("parseURL(%q) = %v, %v, want %s", tt.text, u, err, tt.want)
		}
	}
	for _, text := range []string{
		"", "app", "app:8001", "//app", "/app", "ftp://app", "http:", "http://", "http:///x", "http://:80", "http://user@app", "http://u:p@app",
		"http://app?x", "http://app?", "http://app#x", "http://app#", "http://a b", `http://a\b`, "http://app:0x50", "http://app:65536", "http://app:+1",
		"http://[::1", "http://[1.2.3]", "http://::1", "http://app.", "http://a..b", "http://*", "http://büro", "http://app/%zz", "unix:", "unix:/", "unix:run/app", "unix://run/app", "http://app\n",
	} {
		if u, err := parseURL(text, "http", "https", "h2c", "unix"); err == nil {
			t.Errorf("parseURL(%q) = %s, want an error", text, u)
		}
	}
}

// TestUpstreamIsNotOurs: requests that would go round in a circle are found
// before they do.
func TestUpstreamIsNotOurs(t *testing.T) {
	for _, tt := range []struct {
		upstream, listen string
		ours             bool
	}{
		{"http://localhost:8000", ":8000", true},
		{"http://127.0.0.1:8000", ":8000", true},
		{"http://localhost:8000", "127.0.0.1:8000", true},
		{"http://[::1]:8000", "[::]:8000", true},
		{"http://0.0.0.0:8000", "LOCALHOST:8000", true},
		{"https://Anteroom:443", "anteroom:443", true},
		{"http://10.0.0.5", "10.0.0.5:80", true},
		{"http://localhost:8001", ":8000", false},
		{"http://app:8000", ":8000", false}, // another machine's
		{"http://127.0.0.1:8000", "10.0.0.5:8000", false},
		{"http://127.0.0.2:8000", "127.0.0.1:8000", false},
		{"unix:/run/app.sock", ":8000", false},
	} {
		c, faults := smallest().with(env{"ANTEROOM_UPSTREAM": tt.upstream, "ANTEROOM_SERVER_LISTEN": tt.listen, "ANTEROOM_SERVER_ALLOW_PLAINTEXT": "application"}).load("", false)
		said := faultText(faults)
		if (c == nil) != tt.ours || tt.ours && !strings.Contains(said, "ANTEROOM_UPSTREAM: upstream: is where Anteroom itself listens (server.listen is ") {
			t.Errorf("upstream %s with %s: %q; is it ours: %v", tt.upstream, tt.listen, said, tt.ours)
		}
	}
}

// TestTLSFiles: a certificate, its key and an authority that are good.
func TestTLSFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	loopback.Certificate(t).Write(t, "cert.pem", "key.pem")
	c := mustLoad(t, smallest().with(env{"ANTEROOM_SERVER_TLS_CERT": "cert.pem", "ANTEROOM_SERVER_TLS_KEY": "key.pem", "ANTEROOM_SERVER_TLS_CLIENT_CA": "cert.pem"}), "")
	if c.Server.TLS.Cert != "cert.pem" {
		t.Errorf("server.tls.cert = %q, want cert.pem", c.Server.TLS.Cert)
	}
}
