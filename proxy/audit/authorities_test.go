package audit

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"anteroom/session"
	"anteroom/test/loopback"
)

// TestAuthoritiesChange: collectors are known by the authorities of now, also
// where there is a connection from before.
func TestAuthoritiesChange(t *testing.T) {
	old, next := loopback.Certificate(t), loopback.Certificate(t)
	server := next.Issue(t)
	syslog := loopback.Serve(t, &tls.Config{Certificates: []tls.Certificate{server.TLS(t)}}, func(c net.Conn) { io.Copy(io.Discard, c) })
	posts := server.HTTPS(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	file, _ := old.Files(t)
	for _, place := range []string{"syslog+tls://" + syslog, posts} {
		t.Run(strings.Split(place, ":")[0], func(t *testing.T) {
			roots, err := session.OpenAuthorities(file)
			if err != nil {
				t.Fatal(err)
			}
			l := &Log{roots: roots}
			s, _, err := l.open(place, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			loopback.FollowAuthorities(t, old, next, l.RenewAuthorities, func() error {
				return s.write(&batch{text: []byte("{}\n"), lines: []line{{end: 3}}})
			})
		})
	}
}
