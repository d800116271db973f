package proxy

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func testOrigins(t *testing.T) *origins {
	public, _ := url.Parse("https://app.example.com")
	o, err := newOrigins(Config{TrustedProxies: []string{"10.0.0.0/8", "::1"}, Hosts: []string{"Internal:8000"}}, public, "")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOrigin(t *testing.T) {
	tests := []struct {
		name, remote, header           string // header: lines "Name: value"
		client, forwarded, proto, host string
		bad                            bool
	}{
		{name: "direct", remote: "192.0.2.7:4000", client: "192.0.2.7", forwarded: "192.0.2.7", proto: "http", host: "app.example.com"},
		{name: "untrusted is not believed", remote: "192.0.2.7:4000", header: "X-Forwarded-For: 1.2.3.4\nX-Forwarded-Proto: https\nX-Forwarded-Host: evil.example",
			client: "192.0.2.7", forwarded: "192.0.2.7", proto: "http", host: "app.example.com"},
		{name: "loopback is not trusted by itself", remote: "127.0.0.1:4000", header: "X-Forwarded-For: 1.2.3.4", client: "127.0.0.1", forwarded: "127.0.0.1", proto: "http", host: "app.example.com"},
		{name: "trusted", remote: "10.1.1.1:4000", header: "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: https\nX-Forwarded-Host: other.example.com",
			client: "203.0.113.9", forwarded: "203.0.113.9, 10.1.1.1", proto: "https", host: "other.example.com"},
		{name: "rightmost untrusted wins", remote: "10.1.1.1:4000", header: "X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.2.2.2", client: "203.0.113.9", forwarded: "203.0.113.9, 10.1.1.1", proto: "http", host: "app.example.com"},
		{name: "several header lines are one list", remote: "[::1]:4000", header: "X-Forwarded-For: 1.1.1.1\nX-Forwarded-For: 203.0.113.9", client: "203.0.113.9", forwarded: "203.0.113.9, ::1", proto: "http", host: "app.example.com"},
		{name: "all trusted: the leftmost", remote: "10.1.1.1:4000", header: "X-Forwarded-For: 10.9.9.9", client: "10.9.9.9", forwarded: "10.9.9.9, 10.1.1.1", proto: "http", host: "app.example.com"},
		{name: "mapped address", remote: "10.1.1.1:4000", header: "X-Forwarded-For: ::ffff:203.0.113.9", client: "203.0.113.9", forwarded: "203.0.113.9, 10.1.1.1", proto: "http", host: "app.example.com"},
		{name: "websocket scheme", remote: "10.1.1.1:4000", header: "X-Forwarded-Proto: wss", client: "10.1.1.1", forwarded: "10.1.1.1", proto: "https", host: "app.example.com"},
		{name: "unparsable address", remote: "10.1.1.1:4000", header: "X-Forwarded-For: unknown", bad: true},
		{name: "empty element", remote: "10.1.1.1:4000", header: "X-Forwarded-For: 203.0.113.9,", bad: true},
		{name: "address with port", remote: "10.1.1.1:4000", header: "X-Forwarded-For: 203.0.113.9:80", bad: true},
		{name: "two protos", remote: "10.1.1.1:4000", header: "X-Forwarded-Proto: https\nX-Forwarded-Proto: http", bad: true},
		{name: "list of protos", remote: "10.1.1.1:4000", header: "X-Forwarded-Proto: https,http", bad: true},
		{name: "odd proto", remote: "10.1.1.1:4000", header: "X-Forwarded-Proto: gopher", bad: true},
		{name: "two hosts", remote: "10.1.1.1:4000", header: "X-Forwarded-Host: a, b", bad: true},
	}
	o := testOrigins(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "http://app.example.com/", nil)
			r.RemoteAddr = tt.remote
			for line := range strings.Lines(tt.header) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				r.Header.Add(name, value)
			}
			got, err := o.of(r)
			if tt.bad != (err != nil) {
				t.Fatalf("of = %+v, %v, want refusal %v", got, err, tt.bad)
			}
			if !tt.bad && (got.client != tt.client || got.forwarded != tt.forwarded || got.proto != tt.proto || got.host != tt.host) {
				t.Errorf("of = %+v, want %+v", got, tt)
			}
		})
	}
}

func TestOurs(t *testing.T) {
	o := testOrigins(t)
	for host, want := range map[string]bool{
		"app.example.com": true, "APP.Example.COM": true, "app.example.com:443": true, "app.example.com.": true, "internal:8000": true,
		"app.example.com:8443": false, "evil.example": false, "app.example.com.evil.example": false, "xapp.example.com": false, "": false, "internal": false,
	} {
		if got := o.ours(canonicalHost(host, "https")); got != want {
			t.Errorf("ours(%q) = %v, want %v", host, got, want)
		}
	}
	o.domain = "example.com"
	for host, want := range map[string]bool{"x.example.com": true, "example.com": true, "evilexample.com": false, "example.com.evil.example": false} {
		if got := o.ours(canonicalHost(host, "https")); got != want {
			t.Errorf("ours(%q) below example.com = %v, want %v", host, got, want)
		}
	}
}

func FuzzOrigin(f *testing.F) {
	f.Add("203.0.113.9, 10.0.0.1", "https", "a.example.com")
	f.Add(",", "", "[::1")
	public, _ := url.Parse("https://app.example.com")
	o, err := newOrigins(Config{TrustedProxies: []string{"10.0.0.0/8"}}, public, "")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, chain, proto, host string) {
		r := httptest.NewRequest("GET", "http://app.example.com/", nil)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header.Set("X-Forwarded-For", chain)
		r.Header.Set("X-Forwarded-Proto", proto)
		r.Header.Set("X-Forwarded-Host", host)
		g, err := o.of(r)
		if err == nil && (g.proto != "http" && g.proto != "https" || strings.ContainsAny(g.client, " ,\r\n")) {
			t.Errorf("of(%q, %q, %q) = %+v", chain, proto, host, g)
		}
	})
}
