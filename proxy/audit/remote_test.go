package audit

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/session"
)

// message is one syslog message as RFC 5424 §6 has it.
var message = regexp.MustCompile(`^<(108|110)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ anteroom \d+ [a-z_]+ - (\{.*\})$`)

// collected are the events of syslog messages.
func collected(t *testing.T, messages []string) (all []Event) {
	t.Helper()
	for _, m := range messages {
		parts := message.FindStringSubmatch(m)
		if parts == nil {
			t.Fatalf("message %q is not of RFC 5424", m)
		}
		if (parts[1] == "108") != (strings.Contains(m, `"event":"refused"`)) {
			t.Errorf("priority of %q", m)
		}
		all = append(all, events(t, parts[2])...)
	}
	return all
}

// readCounted reads octet-counted messages (RFC 6587 §3.4.1) until the
// connection ends.
func readCounted(t *testing.T, conn net.Conn) (all []string) {
	r := bufio.NewReader(conn)
	for {
		n, err := r.ReadString(' ')
		if errors.Is(err, io.EOF) && n == "" {
			return all
		}
		size, err := strconv.Atoi(strings.TrimSuffix(n, " "))
		if err != nil {
			t.Errorf("count %q", n)
			return all
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			t.Error(err)
			return all
		}
		all = append(all, string(b))
	}
}

func sendThree(t *testing.T, cfg Config) {
	t.Helper()
	cfg.Window = time.Millisecond
	l := opened(t, cfg, Options{})
	for i, k := range []Kind{SignIn, Refused, Access} {
		if err := l.Commit(t.Context(), Event{Kind: k, Subject: fmt.Sprint(i)}); err != nil {
			t.Errorf("Commit(%s) = %v", k, err)
		}
	}
	l.Close()
}

func subjects(all []Event) (s string) {
	for _, e := range all {
		s += e.Subject
	}
	return s
}

func TestSyslog(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"tcp", "tls"} {
		in, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if kind == "tls" {
			in = tlsListener(in, server)
		}
		got := make(chan []string, 1)
		go func() {
			conn, err := in.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			got <- readCounted(t, conn)
		}()
		sendThree(t, Config{Output: "syslog+" + kind + "://" + in.Addr().String(), CAFile: ca})
		if s := subjects(collected(t, <-got)); s != "012" {
			t.Errorf("%s: events = %q, want 012", kind, s)
		}
		in.Close()
	}
	socket := filepath.Join(t.TempDir(), "log")
	for _, to := range []string{"syslog+udp://", "syslog+unix://" + socket} {
		network, address := "udp", "127.0.0.1:0"
		if strings.Contains(to, "unix") {
			network, address = "unixgram", socket
		}
		in, err := net.ListenPacket(network, address)
		if err != nil {
			t.Fatal(err)
		}
		if network == "udp" {
			to += in.LocalAddr().String()
		}
		sendThree(t, Config{Output: to})
		var got []string
		b := make([]byte, 1<<16)
		for range 5 { // with what the stream says of itself
			in.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, _, err := in.ReadFrom(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(b[:n]))
		}
		if s := subjects(collected(t, got)); s != "012" {
			t.Errorf("%s: events = %q, want 012", to, s)
		}
		in.Close()
	}
}

// TestSyslogRestarts: lines that come while the collector restarts are there
// afterwards.
func TestSyslogRestarts(t *testing.T) {
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	conns := make(chan net.Conn)
	go func() {
		for {
			conn, err := in.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	l := opened(t, Config{Output: "syslog+tcp://" + in.Addr().String(), Window: time.Millisecond}, Options{})
	go l.Commit(t.Context(), Event{Kind: SignIn, Subject: "0"})
	first := <-conns
	if _, err := bufio.NewReader(first).ReadString('}'); err != nil {
		t.Fatal(err)
	}
	first.Close()
	if err := l.Commit(t.Context(), Event{Kind: SignIn, Subject: "0"}); err != nil { // also if it says so only now
		t.Logf("Commit after the connection ended = %v", err)
	}
	go func() { l.Commit(t.Context(), Event{Kind: SignIn, Subject: "1"}); l.Close() }()
	got := collected(t, readCounted(t, <-conns))
	if s := subjects(got); !strings.HasSuffix(s, "1") {
		t.Errorf("events after the restart = %q, want 1 at the end", s)
	}
}

// collector takes posted lines.
type collector struct {
	mu     sync.Mutex
	status int
	heads  []http.Header
	text   bytes.Buffer
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heads = append(c.heads, r.Header)
	if c.status != 0 {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(c.status)
		return
	}
	c.text.Write(body)
}

type wordSigner struct{}

func (wordSigner) Sign(r *http.Request, body []byte) error {
	r.Header.Set("Signature", fmt.Sprint(len(body)))
	return nil
}

func TestPosting(t *testing.T) {
	c := new(collector)
	server := httptest.NewServer(c)
	defer server.Close()
	l := opened(t, Config{Output: server.URL + "/lines", Token: "canary-token", Window: time.Millisecond}, Options{Sign: wordSigner{}})
	if err := l.Commit(t.Context(), Event{Kind: SignIn, Subject: "0"}); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{500, 302, 403} {
		c.mu.Lock()
		c.status = status
		c.mu.Unlock()
		if err := l.Commit(t.Context(), Event{Kind: SignIn, Subject: fmt.Sprint(status)}); !errors.Is(err, ErrNotKept) {
			t.Errorf("Commit(collector says %d) = %v, want ErrNotKept", status, err)
		}
	}
	c.mu.Lock()
	c.status = 0
	c.mu.Unlock()
	l.Close()
	if s := subjects(events(t, c.text.String())); s != "0500302403" {
		t.Errorf("events = %s, want each once, in order", s)
	}
	for _, h := range c.heads {
		if h.Get("Authorization") != "Bearer canary-token" || h.Get("Content-Type") != "application/x-ndjson" || h.Get("Signature") == "" {
			t.Errorf("posted with %v", h)
		}
	}
}

// TestHostileCollector: of an answer without end little is read, and no error
// says with what query lines are posted.
func TestHostileCollector(t *testing.T) {
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "header") {
			w.Header().Set("X", strings.Repeat("x", 2*answerMost))
			return
		}
		b := make([]byte, answerMost)
		for {
			n, err := w.Write(b)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	for path, want := range map[string]bool{"/body?token=canary": true, "/header?token=canary": false} {
		var said bytes.Buffer
		l := opened(t, Config{Output: server.URL + path, Window: time.Millisecond}, Options{Log: slog.New(slog.NewTextHandler(&said, nil))})
		err := l.Commit(t.Context(), Event{Kind: SignIn})
		if (err == nil) != want {
			t.Errorf("%s: Commit = %v, want it kept: %v", path, err, want)
		}
		failing := l.Failing()
		l.Close()
		if all := fmt.Sprint(failing, said.String()); strings.Contains(all, "canary") {
			t.Errorf("%s: said %s", path, all)
		}
	}
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("%d MiB of answers were taken", n>>20)
	}
}

// fussy answers 400 to what has a word in it, and 413 to what is long.
type fussy struct {
	collector
	asked int
}

func (f *fussy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.asked++
	switch {
	case bytes.Contains(body, []byte("poison")):
		w.WriteHeader(http.StatusBadRequest)
	case len(body) > 2000:
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	default:
		f.text.Write(body)
	}
}

// numbered is a batch of lines of some subjects.
func numbered(subjects ...string) *batch {
	b, at := new(batch), newLink()
	for _, s := range subjects {
		b.text = at.add(b.text, (&Event{Kind: Access, Subject: s}).appendTo(nil), nil)
		b.lines = append(b.lines, line{end: len(b.text), kind: Access})
	}
	return b
}

// TestPostingRefused: a collector that keeps on refusing a group gets all of it
// but the lines that it refuses.
func TestPostingRefused(t *testing.T) {
	c := new(fussy)
	server := httptest.NewServer(c)
	defer server.Close()
	p := newPoster(server.URL, Config{}, new(session.Authorities), nil)
	all := strings.Split("a b poison c d e poison f g h i j k l m n o p q r s", " ")
	b := numbered(all...)
	if err := p.write(b); !errors.Is(err, errRefused) || c.asked != 1 || len(b.refused) != 0 {
		t.Errorf("write = %v after %d requests, want it refused at first", err, c.asked)
	}
	p.lasts = 0
	if err := p.write(b); err != nil || len(b.refused) != 2 {
		t.Errorf("write(refused for long) = %v, %d lines refused, want two", err, len(b.refused))
	}
	if s := subjects(events(t, c.text.String())); s != "abcdefghijklmnopqrs" {
		t.Errorf("the collector has %s, want all but the poison, in order", s)
	}
	server.Close()
	if err := p.write(b); err == nil || errors.Is(err, errRefused) {
		t.Errorf("write(collector away) = %v, want an error that is no refusal", err)
	}
}

// TestDatagramTooLong: a line that no datagram holds is left out, and those
// around it arrive.
func TestDatagramTooLong(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "log")
	for _, network := range []string{"udp", "unix"} {
		address, listenOn := "127.0.0.1:0", "udp"
		if network == "unix" {
			address, listenOn = socket, "unixgram"
		}
		in, err := net.ListenPacket(listenOn, address)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		s, err := newSyslog(network, in.LocalAddr().String(), new(session.Authorities))
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		b := numbered("0", "long", "1")
		long := &batch{text: []byte(strings.Repeat("x", 1<<20) + "\n"), lines: []line{{end: 1<<20 + 1, kind: Access}}}
		b = joined(b.part(0, 1), long, b.part(2, 3))
		if err := s.write(b); err != nil || len(b.refused) != 1 {
			t.Errorf("%s: write = %v, %d refused, want one", network, err, len(b.refused))
		}
		got := ""
		buf := make([]byte, 1<<16)
		for range 2 {
			in.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, _, err := in.ReadFrom(buf)
			if err != nil {
				t.Fatal(err)
			}
			got += subjects(collected(t, []string{string(buf[:n])}))
		}
		if got != "01" {
			t.Errorf("%s: events = %s, want 01", network, got)
		}
	}
}

func joined(parts ...*batch) *batch {
	b := new(batch)
	for _, p := range parts {
		for _, l := range p.lines {
			l.end += len(b.text)
			b.lines = append(b.lines, l)
		}
		b.text = append(b.text, p.text...)
	}
	return b
}

// TestCopyRefuses: what a copy refuses for good is counted, and holds up nothing.
func TestCopyRefuses(t *testing.T) {
	to, reg := &particular{word: "poison"}, prometheus.NewRegistry()
	c := newCopy(to, slog.New(slog.DiscardHandler), newMetrics(reg, new(Log)))
	c.give(numbered("0", "poison", "1"))
	c.give(numbered("2"))
	for c.first() != nil {
		time.Sleep(time.Millisecond)
	}
	c.close()
	if s := subjects(events(t, to.text.String())); s != "012" {
		t.Errorf("the copy has %s, want 012", s)
	}
	if n := lost(t, reg); n != 1 {
		t.Errorf("counted as lost: %v, want 1", n)
	}
}

// lost is how many lines copies lack, as the metrics have it.
func lost(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "anteroom_audit_copies_lost_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("nothing counts what copies lack")
	return 0
}

// TestCopyLacks: what a copy did not take until the end is counted, and nobody
// waits for it.
func TestCopyLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to, reg := &silent{}, prometheus.NewRegistry()
		c := newCopy(to, slog.New(slog.DiscardHandler), newMetrics(reg, new(Log)))
		c.give(numbered("0", "1"))
		c.give(numbered("2"))
		time.Sleep(time.Hour)
		began := time.Now()
		c.close()
		if n := lost(t, reg); n != 3 || !to.closed {
			t.Errorf("counted as lost: %v, want 3; closed: %v", n, to.closed)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("close took %v", took)
		}
	})
}

// silent takes nothing.
type silent struct{ closed bool }

func (*silent) write(*batch) error { return errors.New("no") }
func (s *silent) close() error     { s.closed = true; return nil }

// TestCopies: a copy that is away holds up nothing, and has all when it is back.
func TestCopies(t *testing.T) {
	c := &collector{status: 503}
	server := httptest.NewServer(c)
	defer server.Close()
	cfg := fileConfig(t)
	cfg.Copies = []string{server.URL}
	l := opened(t, cfg, Options{})
	for i := range 3 {
		if err := l.Commit(t.Context(), Event{Kind: SignIn, Subject: fmt.Sprint(i)}); err != nil {
			t.Errorf("Commit(copy away) = %v", err)
		}
	}
	c.mu.Lock()
	c.status = 0
	c.mu.Unlock()
	for c.len() == 0 { // tried again within a tenth of a second, then less often
		time.Sleep(time.Millisecond)
	}
	l.Close()
	file, err := os.ReadFile(cfg.Output)
	if err != nil || c.text.String() != string(file) {
		t.Errorf("the copy has\n%s\nthe file\n%s%v", c.text.String(), file, err)
	}
}

func (c *collector) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Len()
}

// TestCopyReopens: a copy that is a file goes on in the new one after it was
// moved away, whatever output is.
func TestCopyReopens(t *testing.T) {
	name := filepath.Join(t.TempDir(), "copy.log")
	l := opened(t, Config{Output: "stdout", Copies: []string{name}, Window: time.Millisecond}, Options{Stdout: &bytes.Buffer{}})
	l.Commit(t.Context(), Event{Kind: SignIn, Subject: "0"})
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Commit(t.Context(), Event{Kind: SignIn, Subject: "1"})
	l.Close()
	text, err := os.ReadFile(name)
	if err != nil || !strings.Contains(string(text), `"sub":"1"`) {
		t.Errorf("the new file is %q, %v, want the line in it", text, err)
	}
	old, err := os.ReadFile(name + ".1")
	if err != nil {
		t.Fatal(err)
	}
	if s := subjects(events(t, string(old)+string(text))); s != "01" {
		t.Errorf("both hold %s, want 01", s)
	}
}

func TestPlaces(t *testing.T) {
	for place, good := range map[string]bool{
		"stdout": true, "off": true, "/var/log/audit.log": true, "audit.log": true, "syslog+tcp://h:601": true, "syslog+tls://[::1]:6514": true,
		"syslog+udp://h:514": true, "syslog+unix:///dev/log": true, "https://h/x?y=1": true, "http://127.0.0.1:1/": true,
		"": false, "syslog+tcp://h": false, "syslog+tcp://h:1/x": false, "syslog+tcp://u@h:1": false, "syslog+unix://dev": false, "https://": false, "https://u:p@h/": false,
		"ftp://h/": false, "syslog://h:1": false,
	} {
		if err := Place(place); (err == nil) != good {
			t.Errorf("Place(%q) = %v, want good: %v", place, err, good)
		}
	}
}

// tlsListener serves a test server's certificate.
func tlsListener(in net.Listener, s *httptest.Server) net.Listener {
	return tls.NewListener(in, &tls.Config{Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS12})
}

// TestTokenExchange: a collector that does not take a new token yet is shown the
// one before, and no line is lost whichever side changes first.
func TestTokenExchange(t *testing.T) {
	takes, shown := "one", 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if shown++; r.Header.Get("Authorization") != "Bearer "+takes {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	p := newPoster(server.URL, Config{Token: "one"}, new(session.Authorities), nil)
	write := func(when string, want int) {
		t.Helper()
		shown = 0
		if err := p.write(numbered("a")); err != nil || shown != want {
			t.Errorf("%s: write = %v after %d requests, want it taken after %d", when, err, shown, want)
		}
	}
	write("at first", 1)
	p.token.Renew("two")
	write("before the collector knows it", 2)
	write("and again", 1)
	takes = "two"
	write("once it does", 2)
	write("from then on", 1)
	p.token.Renew("wrong")
	takes = "three"
	if err := p.write(numbered("a")); !errors.Is(err, errDenied) {
		t.Errorf("write with no good token = %v, want %v", err, errDenied)
	}
}
