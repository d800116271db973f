package dav

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"anteroom/integrations"
	"anteroom/session"
)

// exchangeRaw sends bytes as they are and returns what comes back until the
// other side closes, or two seconds have gone by.
func exchangeRaw(t *testing.T, address, request string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	io.WriteString(c, request)
	b, _ := io.ReadAll(c)
	return string(b)
}

const getRaw = "GET /dav/files/svc/x HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: close\r\n\r\n"

// TestTrailersStayHere: what may not come in the head of an answer does not
// come after it either.
func TestTrailersStayHere(t *testing.T) {
	for _, announced := range []string{"", "Trailer: Set-Cookie\r\n"} {
		origin := rawServer(t, func(*http.Request) string {
			return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n" + announced + "\r\n1\r\nx\r\n0\r\nSet-Cookie: nc_session_id=canary\r\nWww-Authenticate: Basic realm=\"x\"\r\n\r\n"
		})
		f := newFront(t, services(origin), nil)
		if got := exchangeRaw(t, f.URL, getRaw); strings.Contains(got, "canary") {
			t.Errorf("with %q announced, the client gets\n%s", announced, got)
		}
	}
}

// TestAnswersAreNotQuoted: what nobody can read of an answer, and the words beside
// its status, are in no log.
func TestAnswersAreNotQuoted(t *testing.T) {
	for name, answer := range map[string]string{
		"no answer":  "canary\r\n\r\n",
		"no trailer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nhi\r\n0\r\ncanary\r\n\r\n",
		"its words":  "HTTP/1.1 599 canary\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			f := newFront(t, services(rawServer(t, func(*http.Request) string { return answer })), func(o *Options) {
				o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			seen := func(after string) {
				f.mu.Lock()
				defer f.mu.Unlock()
				var no *Refusal
				if errors.As(f.err, &no) {
					fmt.Fprintln(&log, no.Err)
				}
				if said := log.String(); strings.Contains(said, "canary") {
					t.Errorf("after %s the log has\n%s", after, said)
				}
			}
			exchangeRaw(t, f.URL, getRaw)
			seen("a GET")
			_, _, _ = putUnsized(t, f, "/dav/files/svc/x", bytes.NewReader(make([]byte, partSize+1)))
			seen("an upload in parts")
		})
	}
}

// TestNobodySwitchesProtocols: a server that switches protocols unasked does
// not get the client's connection, on which other people's requests may come.
func TestNobodySwitchesProtocols(t *testing.T) {
	for _, head := range []string{"", "Upgrade: x\r\nConnection: Upgrade\r\n"} {
		origin := rawServer(t, func(*http.Request) string {
			return "HTTP/1.1 101 Switching Protocols\r\n" + head + "\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\nSet-Cookie: a=b\r\n\r\ncanary"
		})
		f := newFront(t, services(origin), nil)
		if got := exchangeRaw(t, f.URL, strings.Replace(getRaw, "Connection: close\r\n", "", 1)); strings.Contains(got, "canary") || strings.Contains(got, " 101 ") {
			t.Errorf("with %q, the client gets\n%s", head, got)
		}
	}
}

// TestOwnHeadersStay: what was set before the server was asked, such as a
// session's cookie, is in the answer whatever comes before that.
func TestOwnHeadersStay(t *testing.T) {
	for name, first := range map[string]string{"none": "", "100": "HTTP/1.1 100 Continue\r\n\r\n", "102": "HTTP/1.1 102 Processing\r\n\r\n", "103": "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"} {
		origin := rawServer(t, func(*http.Request) string { return first + "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n" })
		s, err := New(services(origin), Options{Client: &http.Client{Transport: &http.Transport{}}, Public: "http://localhost"})
		if err != nil {
			t.Fatal(err)
		}
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", "session=ours")
			s.Serve(w, r, &Call{Caller: integrations.Caller{Who: &session.Identity{Subject: "indexer", Method: session.ByClient}}, Path: r.RequestURI})
		}))
		t.Cleanup(front.Close)
		resp, err := http.Post(front.URL+"/dav/x", "text/calendar", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Set-Cookie"); got != "session=ours" {
			t.Errorf("after %s, Set-Cookie = %q, want ours", name, got)
		}
	}
}

// TestAnswersOfTheServer: what a hostile or odd server says.
func TestAnswersOfTheServer(t *testing.T) {
	const multistatus = `<d:multistatus xmlns:d="DAV:"><d:response><d:href>/remote.php/dav/files/svc/x</d:href></d:response></d:multistatus>`
	var head string
	origin := rawServer(t, func(r *http.Request) string {
		return fmt.Sprintf("HTTP/1.1 %sContent-Length: %d\r\nConnection: close\r\n\r\n%s", head, len(multistatus), multistatus)
	})
	f := newFront(t, services(origin), nil)
	for _, tt := range []struct{ name, method, head, without string }{
		{"a file for the front proxy to send", "GET", "200 OK\r\nX-Accel-Redirect: /etc/passwd\r\n", "X-Accel-Redirect"},
		{"another file for it", "GET", "200 OK\r\nX-Sendfile: /etc/passwd\r\n", "X-Sendfile"},
		{"a parameter twice", "PROPFIND", "207 Multi-Status\r\nContent-Type: text/xml; charset=utf-8; charset=utf-8\r\n", "/remote.php"},
		{"no type", "PROPFIND", "207 Multi-Status\r\n", "/remote.php"},
		{"two types", "PROPFIND", "207 Multi-Status\r\nContent-Type: text/plain\r\nContent-Type: text/xml\r\n", "/remote.php"},
		{"a part of XML", "PROPFIND", "206 Partial Content\r\nContent-Type: text/xml\r\nContent-Range: bytes 0-119/900\r\n", "Content-Range"},
		{"an etag of what was changed", "PROPFIND", "207 Multi-Status\r\nContent-Type: text/xml\r\nRepr-Digest: sha-256=:x:\r\n", "Repr-Digest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			head = tt.head
			got := exchangeRaw(t, f.URL, strings.Replace(getRaw, "GET", tt.method, 1))
			if strings.Contains(got, tt.without) {
				t.Errorf("%s is in\n%s", tt.without, got)
			}
		})
	}
}

// TestNotForOthers: a cache that is shared, or the one of a browser that another
// person signs in with next, does not give one person's file to another.
func TestNotForOthers(t *testing.T) {
	origin := rawServer(t, func(*http.Request) string {
		return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\nx"
	})
	f := newFront(t, services(origin), nil)
	resp, _ := f.ask(t, "GET", "/dav/files/svc/x", "")
	if c := resp.Header.Get("Cache-Control"); !strings.Contains(c, "private") && !strings.Contains(c, "no-") {
		t.Errorf("Cache-Control = %q and Vary = %q, want private", c, resp.Header.Get("Vary"))
	}
	origin = rawServer(t, func(*http.Request) string {
		return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\nCache-Control: public, max-age=9999\r\n\r\nx"
	})
	f = newFront(t, services(origin), nil)
	if resp, _ := f.ask(t, "GET", "/dav/files/svc/x", ""); strings.Contains(resp.Header.Get("Cache-Control"), "public") {
		t.Errorf("Cache-Control = %q, want private", resp.Header.Get("Cache-Control"))
	}
}

// TestWholeDocumentsOnly: no part of a document is asked for that is mapped.
func TestWholeDocumentsOnly(t *testing.T) {
	u := newUpstream(t, created)
	f := newFront(t, services(u.URL), nil)
	f.ask(t, "PROPFIND", "/dav/x", "", "Range: bytes=5-", `If-Range: "x"`)
	f.ask(t, "GET", "/dav/x", "", "Range: bytes=5-", `If-Range: "x"`)
	got := u.heard()
	if got[0].h.Get("Range")+got[0].h.Get("If-Range") != "" || got[1].h.Get("Range") == "" || got[1].h.Get("If-Range") == "" {
		t.Errorf("PROPFIND had Range %q, GET had %q, want none and its own", got[0].h.Get("Range"), got[1].h.Get("Range"))
	}
}

// TestErrorsQuoteNothing: what goes to the log of a broken answer has nothing of
// the answer in it.
func TestErrorsQuoteNothing(t *testing.T) {
	for _, answer := range []string{"canary-name\r\n\r\n", "HTTP/1.1 200 OK\r\ncanary-name\r\n\r\n", "HTTP/1.1 canary-name\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: canary-name\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: canary-name\r\n\r\n"} {
		f := newFront(t, services(rawServer(t, func(*http.Request) string { return answer })), nil)
		f.ask(t, "GET", "/dav/files/svc/x", "")
		f.mu.Lock()
		if f.err == nil || strings.Contains(f.err.Error(), "canary-name") {
			t.Errorf("%q gives the error %v", answer, f.err)
		}
		f.mu.Unlock()
	}
}

// dripping gives one byte at a time.
type dripping struct{ s string }

func (d *dripping) Read(p []byte) (int, error) {
	if d.s == "" {
		return 0, io.EOF
	}
	p[0], d.s = d.s[0], d.s[1:]
	return 1, nil
}

// TestDrippingTag: what a tag costs grows with its length, however small the
// pieces are that it comes in.
func TestDrippingTag(t *testing.T) {
	for name, doc := range map[string]string{
		"a tag":   `<a b="` + strings.Repeat("x", maxTag-100) + `"/>`,
		"an href": `<d:href xmlns:d="DAV:">` + strings.Repeat("x", maxTag-100) + `</d:href>`,
		"CDATA":   `<d:href xmlns:d="DAV:">` + strings.Repeat("<![CDATA[x]]>", maxTag/13-100) + `</d:href>`,
	} {
		start := time.Now()
		r := newRewritten(io.NopCloser(&dripping{doc}), func(out, _ []byte) ([]byte, bool, error) { return out, false, nil })
		io.Copy(io.Discard, bufio.NewReader(r))
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s of 64 KiB, byte by byte, took %v", name, took)
		}
	}
}
