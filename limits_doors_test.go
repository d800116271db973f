package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
)

// bounded is a town whose application is app, open to everybody.
func bounded(t *testing.T, app http.HandlerFunc, env ...string) *town {
	t.Helper()
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	return found(t, demo.Options{}, append([]string{
		"ANTEROOM_ROUTES=[{path: /, allow: public, upstream: '" + server.URL + "'}]", "ANTEROOM_SERVER_H2C=true"}, env...)...)
}

// wire is connect for a connection that has to be had.
func (w *town) wire(from string) net.Conn {
	w.Helper()
	c, err := w.connect(from)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// connect opens a connection from an address of loopback.
func (w *town) connect(from string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", strings.Replace(w.site, "http://localhost", "127.0.0.1", 1))
	if err != nil {
		return nil, err
	}
	w.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c, nil
}

// send sends the head of a request on a connection.
func (w *town) send(c net.Conn, method, path string, lines ...string) {
	w.Helper()
	head := append([]string{method + " " + path + " HTTP/1.1", "Host: " + strings.TrimPrefix(w.site, "http://")}, lines...)
	if _, err := io.WriteString(c, strings.Join(head, "\r\n")+"\r\n\r\n"); err != nil {
		w.Fatalf("sending a request: %v", err)
	}
}

// answer is the status of the next answer on a connection, its body read, and
// whether it says that the connection ends; 0 for one that is closed instead.
func answer(in *bufio.Reader) (status int, last bool) {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, true
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Close
}

// metric reads one series of /metrics; -1 for none.
func (w *town) metric(series string) float64 {
	w.Helper()
	resp, err := http.Get(w.admin + "/metrics")
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	for in := bufio.NewScanner(resp.Body); in.Scan(); {
		if value, ok := strings.CutPrefix(in.Text(), series+" "); ok {
			var f float64
			fmt.Sscan(value, &f)
			return f
		}
	}
	return -1
}

func (w *town) limited(limit string) float64 {
	return w.metric(`anteroom_limited_total{limit="` + limit + `"}`)
}

// TestConnectionLimits: what is too many is closed at once, and whoever is in
// already is served on.
func TestConnectionLimits(t *testing.T) {
	w := bounded(t, func(w http.ResponseWriter, _ *http.Request) {},
		"ANTEROOM_SERVER_MAX_CONNECTIONS=6", "ANTEROOM_SERVER_MAX_CONNECTIONS_PER_ADDRESS=3", "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.9.9")
	taken := func(c net.Conn) bool {
		w.send(c, "GET", "/")
		status, _ := answer(bufio.NewReader(c))
		return status == http.StatusOK
	}
	closed := func(from string) bool {
		c, err := w.connect(from)
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		var late net.Error
		return err != nil && (!errors.As(err, &late) || !late.Timeout())
	}
	var in []net.Conn
	for range 3 {
		in = append(in, w.wire("127.0.0.2"))
	}
	for i, c := range in {
		if !taken(c) {
			t.Errorf("connection %d of an address is not served, want 3 served", i)
		}
	}
	if !closed("127.0.0.2") {
		t.Error("the fourth connection of an address stays open, want it closed")
	}
	if n := w.limited("connections_per_address"); n != 1 {
		t.Errorf("limited by address = %v, want 1", n)
	}
	in = append(in, w.wire("127.0.0.3"), w.wire("127.0.9.9"), w.wire("127.0.9.9"))
	for i, c := range in {
		if !taken(c) {
			t.Errorf("connection %d is not served, want it served beside one that was closed", i)
		}
	}
	if !closed("127.0.0.4") {
		t.Error("the seventh connection stays open, want it closed")
	}
	if n := w.limited("connections"); n != 1 {
		t.Errorf("limited in all = %v, want 1", n)
	}
	if n := w.metric("anteroom_connections"); n != 6 {
		t.Errorf("open connections = %v, want 6", n)
	}
	in[0].Close()
	w.await("room again", func() bool { return w.metric("anteroom_connections") == 5 })
	if !taken(w.wire("127.0.0.2")) {
		t.Error("a connection that takes the place of a closed one is not served")
	}
}

// TestOversize sends too much of everything.
func TestOversize(t *testing.T) {
	w := bounded(t, func(w http.ResponseWriter, _ *http.Request) {})
	lines := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("X-%d: 1", i))
		}
		return all
	}
	for name, c := range map[string]struct {
		path  string
		lines []string
		want  int
	}{
		"a URL that fits":         {"/" + strings.Repeat("a", 16383), nil, 200},
		"a URL too long":          {"/" + strings.Repeat("a", 16384), nil, 414},
		"a query too long":        {"/?" + strings.Repeat("a=1&", 4096), nil, 414},
		"fields that fit":         {"/", lines(256), 200},
		"a field too many":        {"/", lines(257), 431},
		"one field too often":     {"/", strings.Split(strings.Repeat("X-A: 1\n", 257), "\n")[:257], 431},
		"a header too large":      {"/", []string{"X-A: " + strings.Repeat("a", 70<<10)}, 431},
		"a cookie too large":      {"/auth/me", []string{"Cookie: anteroom=" + strings.Repeat("a", 70<<10)}, 431},
		"cookies that fit":        {"/auth/me", []string{"Cookie: " + strings.Repeat("a=1; ", 511) + "anteroom=x"}, 401},
		"a cookie too many":       {"/auth/me", []string{"Cookie: " + strings.Repeat("a=1; ", 512) + "anteroom=x"}, 431},
		"as many of our own":      {"/auth/me", []string{"Cookie: " + strings.Repeat("anteroom=x; ", 511) + "b=1"}, 401},
		"our own, one too many":   {"/auth/me", []string{"Cookie: " + strings.Repeat("anteroom=x; ", 512) + "b=1"}, 431},
		"our cookie, 40 KB of it": {"/auth/me", []string{"Cookie: anteroom=" + strings.Repeat("a", 40<<10)}, 401},
	} {
		conn := w.wire("127.0.0.1")
		w.send(conn, "GET", c.path, c.lines...)
		if got, _ := answer(bufio.NewReader(conn)); got != c.want {
			t.Errorf("%s = %d, want %d", name, got, c.want)
		}
	}
	if n := w.limited("url"); n != 2 {
		t.Errorf("limited by URL = %v, want 2", n)
	}
	if n := w.limited("header_fields"); n != 2 {
		t.Errorf("limited by header fields = %v, want 2", n)
	}
	if n := w.limited("cookies"); n != 2 {
		t.Errorf("limited by cookies = %v, want 2", n)
	}
}

// TestSlowUpload: a body that stands still, or drips, is 408; one that comes on
// is not cut, however long it takes, and neither is a conversation.
func TestSlowUpload(t *testing.T) {
	broken := make(chan error, 10)
	w := bounded(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/talk" {
			http.NewResponseController(w).EnableFullDuplex()
			w.Write([]byte("go on"))
			http.NewResponseController(w).Flush()
		}
		if _, err := io.Copy(io.Discard, r.Body); r.URL.Path != "/talk" {
			broken <- err
		}
	}, "ANTEROOM_SERVER_BODY_TIMEOUT=400ms")
	const length, chunked = "Content-Length: 1000000", "Transfer-Encoding: chunked"
	for name, c := range map[string]struct{ path, line, body string }{
		"with a length":       {"/", length, "abc"},
		"in chunks":           {"/", chunked, "3\r\nabc\r\n"},
		"nothing at all":      {"/", length, ""},
		"within a chunk size": {"/", chunked, "3"},
	} {
		conn := w.wire("127.0.0.1")
		w.send(conn, "POST", c.path, c.line)
		io.WriteString(conn, c.body)
		in := bufio.NewReader(conn)
		status, last := answer(in)
		if status != http.StatusRequestTimeout || !last {
			t.Errorf("an upload that stands still, %s = %d, connection closed: %v, want 408 and true", name, status, last)
		}
		if status, _ := answer(in); status != 0 {
			t.Errorf("%s: the connection goes on with %d, want it closed", name, status)
		}
		if err := had(t, broken); err == nil {
			t.Errorf("%s: the application takes what it got for the whole, want it broken off", name)
		}
	}
	if n := w.limited("upload_stalled"); n != 4 {
		t.Errorf("limited uploads = %v, want 4", n)
	}

	drip := w.wire("127.0.0.1")
	w.send(drip, "POST", "/", length)
	start, stop := time.Now(), make(chan struct{})
	go drips(drip, "a", stop)
	status, _ := answer(bufio.NewReader(drip))
	close(stop)
	if took := time.Since(start); status != http.StatusRequestTimeout || took > 5*time.Second {
		t.Errorf("a body that drips = %d after %v, want 408 soon", status, took)
	}
	if err := had(t, broken); err == nil {
		t.Error("the application takes a drop for the whole")
	}

	talk := w.wire("127.0.0.1")
	w.send(talk, "POST", "/talk", chunked)
	in := bufio.NewReader(talk)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(resp.Body, make([]byte, 5))
	talk.SetReadDeadline(time.Now().Add(time.Second)) // longer than a body may stand still
	if n, err := resp.Body.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a conversation in which the client is silent: %d bytes, %v, want it to go on", n, err)
	}
}

// had is what comes out of a channel, within ten seconds.
func had[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing in 10 s")
	}
	return v
}

// drips writes one piece after another until stop, or the other side closes.
func drips(c io.Writer, piece string, stop <-chan struct{}) {
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if _, err := io.WriteString(c, piece); err != nil {
				return
			}
		}
	}
}

// TestSlowReader: an answer that nobody takes is cut off, on WebSockets, too;
// one in which there is nothing to take goes on.
func TestSlowReader(t *testing.T) {
	ended := make(chan string, 10)
	w := bounded(t, func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- r.URL.Path }()
		if r.URL.Path == "/socket" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			for frame := append([]byte{0x82, 126, 0xff, 0xff}, make([]byte, 65535)...); ; {
				if _, err := conn.Write(frame); err != nil {
					return
				}
			}
		}
		if r.URL.Path == "/idle" {
			w.Header().Set("Content-Type", "text/event-stream")
			for range 2 {
				io.WriteString(w, "data: 1\n\n")
				http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(900 * time.Millisecond):
				}
			}
			return
		}
		for b := make([]byte, 64<<10); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}, "ANTEROOM_SERVER_WRITE_TIMEOUT=300ms")
	over := func(path string) {
		t.Helper()
		select {
		case got := <-ended:
			if got != path {
				t.Errorf("%s ended, want %s", got, path)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s, which nobody reads, goes on for 10 s", path)
		}
	}
	w.send(w.wire("127.0.0.1"), "GET", "/large")
	over("/large")
	w.send(w.wire("127.0.0.1"), "GET", "/socket", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	over("/socket")
	if n := w.limited("reader_stalled"); n != 2 {
		t.Errorf("limited readers = %v, want 2", n)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	h2 := w.http2()
	r, _ := http.NewRequestWithContext(ctx, "GET", w.site+"/large2", nil)
	resp, err := h2.Do(r) // the client's window for this stream is full after a while, and that of the connection is not
	if err != nil {
		t.Fatal(err)
	}
	over("/large2")
	resp.Body.Close()
	if n := w.limited("reader_stalled"); n != 3 {
		t.Errorf("limited readers = %v, want 3", n)
	}

	for proto, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2.0": h2} {
		resp, err := client.Get(w.site + "/idle")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || strings.Count(string(b), "data: 1") != 2 || resp.Proto != proto {
			t.Errorf("an event stream that is idle for long, over %s: %q, %v, want both events", resp.Proto, b, err)
		}
	}
}

// http2 is a client that speaks HTTP/2 without TLS.
func (w *town) http2() *http.Client {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: p}
	w.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}
