package audit

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
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
