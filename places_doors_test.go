package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/proxy/authn"
)

// TestNobodyHasAllPlaces: whoever begins as many requests as there are places for,
// and sends no more of any, gets their share; others are served at once, and what
// was given up is there again.
func TestNobodyHasAllPlaces(t *testing.T) {
	_, mail := mailbox(t)
	secret, hash := authn.NewSecret()
	w := found(t, demo.Options{}, append(mail,
		`ANTEROOM_CLIENTS=[{name: hoarder, secret_hash: "`+hash+`"}, {name: other, secret_hash: "`+hash+`"}]`,
		"NEXTCLOUD_WEBDAV_USERNAME=testdoc", "NEXTCLOUD_WEBDAV_PASSWORD="+demo.DefaultPassword,
		"ANTEROOM_ROUTES=[{path: /, allow: public, upstream: '{app}', sign: body}]", "ANTEROOM_SERVER_MAX_CONNECTIONS_PER_ADDRESS=0")...)
	as := func(who string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(who+":"+secret.Reveal()))
	}
	for _, tt := range []struct {
		name, method, path string
		body               string
		all, share         int
		hoarder, other     []string // address and field that each comes with
		want               int
	}{
		{"XML", "PROPFIND", "/dav/files/testdoc/", `<propfind xmlns="DAV:"><allprop/></propfind>` + strings.Repeat(" ", 100<<10), 16, 4,
			[]string{"127.0.0.2", as("hoarder")}, []string{"127.0.0.2", as("other")}, http.StatusMultiStatus},
		{"JSON", "POST", "/integrations/mail/messages", `{"to":["bob@example.org"],"text":"x"` + strings.Repeat(" ", 3<<20) + `}`, 8, 2,
			[]string{"127.0.0.2", as("hoarder")}, []string{"127.0.0.2", as("other")}, http.StatusOK},
		{"bodies to be signed", "POST", "/headers", "body", 64, 16,
			[]string{"127.0.0.2", "X-A: b"}, []string{"127.0.0.3", "X-A: b"}, http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			begin := func(as []string) (net.Conn, *bufio.Reader) {
				c := w.wire(as[0])
				w.send(c, tt.method, tt.path, as[1], "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(tt.body)), "Expect: 100-continue")
				return c, bufio.NewReader(c)
			}
			// Who is told to go on with the body has a place for it (RFC 9110 §10.1.1).
			told := make(chan bool, tt.all+1)
			var held []net.Conn
			for range tt.all {
				c, in := begin(tt.hoarder)
				held = append(held, c)
				go func() {
					line, _ := in.ReadString('\n')
					told <- strings.HasPrefix(line, "HTTP/1.1 100")
				}()
			}
			serve := func(as []string) (status int) {
				c, in := begin(as)
				defer c.Close()
				if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
					t.Errorf("a caller who wants one place is told %q %v, want to go on", line, err)
					return 0
				}
				in.ReadString('\n')
				fmt.Fprint(c, tt.body)
				status, _ = answer(in)
				return status
			}
			for range tt.share {
				if !<-told {
					t.Error("a caller does not get what is theirs")
				}
			}
			began := time.Now()
			if status := serve(tt.other); status != tt.want || time.Since(began) > 5*time.Second {
				t.Errorf("beside a caller who has all they can get, another's = %d after %s, want %d at once", status, time.Since(began), tt.want)
			}
			if n := len(told); n > 0 {
				t.Errorf("%d of one caller's have a place, want %d", tt.share+n, tt.share)
			}
			for _, c := range held {
				c.Close()
			}
			if status := serve(tt.hoarder); status != tt.want {
				t.Errorf("once all was given up = %d, want %d", status, tt.want)
			}
		})
	}
}
