package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"anteroom/demo"
)

// recorder is an application that keeps what it is sent, byte by byte, and
// answers every connection once.
type recorder struct {
	net.Listener
	mu   sync.Mutex
	seen []string // guarded by mu: of each connection
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{Listener: l}
	var work sync.WaitGroup
	t.Cleanup(func() { l.Close(); work.Wait() })
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { r.keep(c) })
		}
	})
	return r
}

func (r *recorder) keep(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	var b bytes.Buffer
	req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &b)))
	if err == nil {
		io.Copy(io.Discard, req.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		io.Copy(&b, c)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, b.String())
}

// all is what came so far; it forgets it.
func (r *recorder) all() (seen []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, r.seen = r.seen, nil
	return seen
}

func recorded(t *testing.T) (*town, *recorder) {
	t.Helper()
	app := newRecorder(t)
	return found(t, demo.Options{}, "ANTEROOM_ROUTES=[{path: /admin}, {path: /, allow: public, upstream: 'http://"+app.Addr().String()+"'}]",
		"ANTEROOM_SERVER_H2C=true", "ANTEROOM_SERVER_HEADER_TIMEOUT=1s"), app
}

// framed checks one request as the application got it: with one end, by one way
// of telling it, and nothing hidden behind.
func framed(t *testing.T, name, request string) {
	t.Helper()
	head, rest, _ := strings.Cut(request, "\r\n\r\n")
	lower := strings.ToLower(head)
	lengths, chunked := strings.Count(lower, "\r\ncontent-length:"), strings.Count(lower, "\r\ntransfer-encoding:")
	if lengths+chunked > 1 || strings.Count(lower, "\r\nhost:") != 1 {
		t.Errorf("%s reached the application with %d lengths, %d encodings: %q", name, lengths, chunked, head)
	}
	if i := strings.Index(rest, "smuggled"); i >= 0 && lengths+chunked == 0 {
		t.Errorf("%s: what is hidden reached the application as a request of its own: %q", name, request)
	}
	if strings.Contains(lower, "evil") {
		t.Errorf("%s: what is not to pass reached the application: %q", name, head)
	}
}

// TestSmugglingOnTheWire looks at what the application is really sent for
// requests whose end, target or header two readers could see differently. The
// suite in test/real has further ones.
func TestSmugglingOnTheWire(t *testing.T) {
	w, app := recorded(t)
	host := "Host: " + strings.TrimPrefix(w.site, "http://") + "\r\n"
	const hidden = "GET /admin/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	post := func(lines, body string) string { return "POST /s HTTP/1.1\r\n" + host + lines + "\r\n" + body }
	const chunked = "Transfer-Encoding: chunked\r\n"
	for name, c := range map[string]struct {
		request string
		want    []int // 0: closed without an answer
		closes  bool
	}{
		"CL and TE":                {post("Content-Length: 4\r\n"+chunked, "0\r\n\r\n"+hidden), []int{200}, true},
		"TE and CL":                {post(chunked+"Content-Length: 45\r\n", "0\r\n\r\n"+hidden), []int{200}, true},
		"TE alone":                 {post(chunked, "3\r\nabc\r\n0\r\n\r\n"), []int{200}, true},
		"TE in capitals":           {post("TRANSFER-ENCODING: CHUNKED\r\n", "0\r\n\r\n"+hidden), []int{200}, true},
		"TE folded":                {post("Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n"+hidden), []int{200, 400, 501}, true},
		"TE in HTTP/1.0":           {strings.Replace(post(chunked, "0\r\n\r\n"+hidden), "1.1", "1.0", 1), []int{200, 400, 501}, true},
		"chunk extensions":         {post(chunked, "3;evil=1\r\nabc\r\n0;evil\r\n\r\n"), []int{200}, true},
		"long chunk extensions":    {post(chunked, "1;"+strings.Repeat("e", 20<<10)+"\r\na\r\n0\r\n\r\n"), []int{400, 502}, true},
		"trailers that are ours":   {post(chunked+"Trailer: X-Forwarded-User, Content-Length\r\n", "0\r\nX-Forwarded-User: evil\r\nContent-Length: 9\r\nHost: evil\r\n\r\n"), []int{200, 400, 502}, true},
		"a length, twice the same": {post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), []int{200, 400}, false},
		"bare LF":                  {strings.ReplaceAll(post("Content-Length: 0\r\n", ""), "\r\n", "\n"), []int{200, 400}, false},
		"obsolete folding":         {post("X-A: 1\r\n X-B: 2\r\nContent-Length: 0\r\n", ""), []int{200, 400}, false},
		"a header without a name":  {post(": evil\r\nContent-Length: 0\r\n", ""), []int{400}, true},
		"another's target":         {"GET http://evil.example/s HTTP/1.1\r\n" + host + "\r\n", []int{421}, false},
		"another's Host":           {"GET " + w.site + "/s HTTP/1.1\r\nHost: evil.example\r\n\r\n", []int{200, 400}, false},
		"a target with a user":     {"GET http://evil@" + strings.TrimPrefix(w.site, "http://") + "/s HTTP/1.1\r\n" + host + "\r\n", []int{200, 400, 421}, false},
		"two requests at once":     {"GET /s HTTP/1.1\r\n" + host + "\r\nGET /admin/smuggled HTTP/1.1\r\n" + host + "\r\n", []int{200}, false},
		"a body of GET":            {"GET /s HTTP/1.1\r\n" + host + "Content-Length: 41\r\n\r\n" + hidden, []int{200}, false},
		"an expectation":           {post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"), []int{100}, false},
		"an unknown expectation":   {post("Expect: evil\r\nContent-Length: 3\r\n", "abc"), []int{417}, false},
		"an upgrade with a body":   {post("Connection: Upgrade\r\nUpgrade: evil\r\nContent-Length: 41\r\n", hidden), []int{200}, false},
	} {
		conn := w.wire("127.0.0.1")
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(conn, c.request)
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		status, closes := 0, true
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			status, closes = resp.StatusCode, resp.Close
		}
		if !slices.Contains(c.want, status) || c.closes && !closes {
			t.Errorf("%s = %d, connection closed: %v, want one of %v, %v", name, status, closes, c.want, c.closes)
		}
		if closes {
			if more, _ := answer(in); more != 0 {
				t.Errorf("%s: what follows was answered with %d, want the connection closed", name, more)
			}
		}
		conn.Close()
		for _, request := range app.all() {
			framed(t, name, request)
		}
	}
}

// plain sends one request of HTTP/2 as it stands, and returns its status, or the
// error that the stream or the connection ends with.
func (w *town) plain(t *testing.T, body string, fields ...string) string {
	t.Helper()
	conn := w.wire("127.0.0.1")
	defer conn.Close()
	io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: body == ""})
	if body != "" {
		f.WriteData(1, true, []byte(body))
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return "closed"
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return frame.ErrCode.String()
		case *http2.GoAwayFrame:
			return frame.ErrCode.String()
		}
	}
}

// TestDowngrade: what HTTP/2 may not say does not come true in HTTP/1.1.
func TestDowngrade(t *testing.T) {
	w, app := recorded(t)
	authority := strings.TrimPrefix(w.site, "http://")
	get := func(more ...string) []string {
		return append([]string{":method", "GET", ":scheme", "http", ":authority", authority, ":path", "/s"}, more...)
	}
	post := func(more ...string) []string {
		return append([]string{":method", "POST", ":scheme", "http", ":authority", authority, ":path", "/s"}, more...)
	}
	path := func(p string) []string {
		return []string{":method", "GET", ":scheme", "http", ":authority", authority, ":path", p}
	}
	const hidden = "GET /admin/smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"
	for name, c := range map[string]struct {
		body   string
		fields []string
		want   []string
	}{
		"sound":                         {"", get("te", "trailers"), []string{"200"}},
		"sound, with a body":            {"abc", post("content-length", "3"), []string{"200"}},
		"sound, with Host":              {"", get("host", authority), []string{"200"}},
		"transfer-encoding":             {"0\r\n\r\n" + hidden, post("transfer-encoding", "chunked"), []string{"400"}},
		"transfer-encoding and length":  {"0\r\n\r\n" + hidden, post("transfer-encoding", "chunked", "content-length", "5"), []string{"400", "PROTOCOL_ERROR"}},
		"connection":                    {"", get("connection", "x-forwarded-for"), []string{"400"}},
		"upgrade":                       {"", get("upgrade", "websocket"), []string{"400"}},
		"keep-alive":                    {"", get("keep-alive", "1"), []string{"400"}},
		"te":                            {"", get("te", "chunked"), []string{"400"}},
		"a length too long":             {"abc", post("content-length", "9"), []string{"502", "PROTOCOL_ERROR"}},
		"a length too short":            {"abc" + hidden, post("content-length", "3"), []string{"502", "PROTOCOL_ERROR"}},
		"a length and no body":          {"", post("content-length", "9"), []string{"502", "200", "PROTOCOL_ERROR"}},
		"two lengths":                   {hidden, post("content-length", "0", "content-length", "44"), []string{"400", "PROTOCOL_ERROR"}},
		"a signed length":               {"abc", post("content-length", "+3"), []string{"400", "PROTOCOL_ERROR"}},
		"another Host":                  {"", get("host", "evil.example"), []string{"400"}},
		"two authorities":               {"", get(":authority", "evil.example"), []string{"PROTOCOL_ERROR"}},
		"CRLF in a value":               {"", get("x-a", "b\r\nevil: 1"), []string{"PROTOCOL_ERROR"}},
		"LF in a value":                 {"", get("x-a", "b\nevil: 1"), []string{"PROTOCOL_ERROR"}},
		"NUL in a value":                {"", get("x-a", "evil\x00"), []string{"PROTOCOL_ERROR"}},
		"CRLF in a name":                {"", get("x-a: b\r\nevil", "1"), []string{"PROTOCOL_ERROR"}},
		"a colon in a name":             {"", get("x-a:evil", "1"), []string{"PROTOCOL_ERROR"}},
		"a capital in a name":           {"", get("X-Evil", "1"), []string{"PROTOCOL_ERROR"}},
		"a pseudo-header after a field": {"", get("x-a", "1", ":path", "/evil"), []string{"PROTOCOL_ERROR"}},
		"an unknown pseudo-header":      {"", get(":evil", "1"), []string{"PROTOCOL_ERROR"}},
		"a space in the path":           {"", path("/s HTTP/1.1\tevil"), []string{"400", "PROTOCOL_ERROR"}},
		"CRLF in the path":              {"", path("/s HTTP/1.1\r\nevil: 1\r\n\r\n"), []string{"400", "PROTOCOL_ERROR"}},
		"a path without a slash":        {"", path("evil"), []string{"400", "404", "PROTOCOL_ERROR"}},
		"a path that is a URL":          {"", path("http://evil.example/s"), []string{"400"}},
		"a method with a space":         {"", []string{":method", "GET /evil", ":scheme", "http", ":authority", authority, ":path", "/s"}, []string{"400", "PROTOCOL_ERROR"}},
		"an authority with a path":      {"", []string{":method", "GET", ":scheme", "http", ":authority", authority + "/evil", ":path", "/s"}, []string{"400", "421", "PROTOCOL_ERROR"}},
		"an authority with a user":      {"", []string{":method", "GET", ":scheme", "http", ":authority", "evil@" + authority, ":path", "/s"}, []string{"400", "421", "PROTOCOL_ERROR"}},
		"no authority":                  {"", []string{":method", "GET", ":scheme", "http", ":path", "/s"}, []string{"400", "421", "PROTOCOL_ERROR"}},
		"CONNECT":                       {"", []string{":method", "CONNECT", ":authority", "evil.example:80"}, []string{"405", "421"}},
	} {
		if got := w.plain(t, c.body, c.fields...); !slices.Contains(c.want, got) {
			t.Errorf("%s = %s, want one of %v", name, got, c.want)
		}
		for _, request := range app.all() {
			framed(t, name, request)
		}
	}
}

// TestSmallAnswerWithoutWindow: a client that gives no window for an answer, and
// then says nothing, does not keep what has ended.
func TestSmallAnswerWithoutWindow(t *testing.T) {
	w := bounded(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, "ANTEROOM_SERVER_WRITE_TIMEOUT=300ms")
	conn := w.wire("127.0.0.1")
	io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, conn)
	f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", strings.TrimPrefix(w.site, "http://")}, {":path", "/"}} {
		enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		frame, err := f.ReadFrame()
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			t.Fatal("an answer that cannot go out is kept for 5 s")
		}
		if err != nil {
			t.Fatalf("the connection ends: %v, want the stream reset", err)
		}
		if _, reset := frame.(*http2.RSTStreamFrame); reset {
			return
		}
	}
}
