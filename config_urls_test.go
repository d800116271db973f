package main

import (
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

// TestTLSFiles: a certificate, its key and an authority that are good.
func TestTLSFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	loopback.Certificate(t).Write(t, "cert.pem", "key.pem")
	c := mustLoad(t, smallest().with(env{"ANTEROOM_SERVER_TLS_CERT": "cert.pem", "ANTEROOM_SERVER_TLS_KEY": "key.pem", "ANTEROOM_SERVER_TLS_CLIENT_CA": "cert.pem"}), "")
	if c.Server.TLS.Cert != "cert.pem" {
		t.Errorf("server.tls.cert = %q, want cert.pem", c.Server.TLS.Cert)
	}
}
