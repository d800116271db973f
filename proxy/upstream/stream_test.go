package upstream

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEventsAreFlushedAtOnce(t *testing.T) {
	for name, h := range map[string]http.Header{
		"event stream":   {"Content-Type": {"text/event-stream"}, "Content-Length": {"1000000"}},
		"unknown length": {"Content-Type": {"application/json"}},
	} {
		t.Run(name, func(t *testing.T) {
			next := make(chan string)
			app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
				for k, v := range h {
					w.Header()[k] = v
				}
				for {
					http.NewResponseController(w).Flush()
					select {
					case s := <-next:
						io.WriteString(w, s)
					case <-r.Context().Done():
						return
					}
				}
			})
			f := newFront(t, app)
			resp, err := http.Get(f.URL)
			if err != nil { // the header arrives before any event
				t.Fatal(err)
			}
			defer resp.Body.Close()
			lines := bufio.NewReader(resp.Body)
			for i := range 3 {
				next <- fmt.Sprintf("data: %d\n", i)
				if line, err := lines.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
					t.Fatalf("event %d = %q, %v", i, line, err)
				}
			}
			f.cut()
			if _, err := lines.ReadString('\n'); err == nil || err == io.EOF {
				t.Errorf("stream after the session = %v, want it cut off", err)
			}
		})
	}
}

// TestStreamOfClientThatReadsNothing: a sign-out ends it all the same.
func TestStreamOfClientThatReadsNothing(t *testing.T) {
	ended := make(chan struct{})
	app := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		for buf := make([]byte, 1<<16); ; {
			if _, err := w.Write(buf); err != nil {
				return
			}
		}
	})
	over := make(chan struct{})
	f := newFront(t, app)
	h := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(over)
		h.ServeHTTP(w, r)
	})
	c := f.dial(t)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	f.cut()
	<-ended
	<-over
}

func TestBodiesPassUnchanged(t *testing.T) {
	body := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(body)
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		if r.URL.Path == "/sized" {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		w.Header().Set("Content-Encoding", "gzip") // a lie that must pass too
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	})
	f := newFront(t, app)
	for path, length := range map[string]int64{"/sized": int64(len(body)), "/chunked": -1} {
		r, _ := http.NewRequestWithContext(t.Context(), "POST", f.URL+path, io.MultiReader(strings.NewReader(string(body))))
		r.ContentLength = length
		r.Header.Set("Accept-Encoding", "identity")
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || sha256.Sum256(got) != sha256.Sum256(body) {
			t.Errorf("%s: %d bytes back (%v), want the %d sent", path, len(got), err, len(body))
		}
		if x := resp.Header.Get("X-Length"); x != fmt.Sprint(length) {
			t.Errorf("%s: length at the application = %s, want %d", path, x, length)
		}
		if resp.ContentLength != length || resp.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: answer of %d bytes, %v, want as the application sent it", path, resp.ContentLength, resp.Header)
		}
	}
}

func TestBothWaysAtOnce(t *testing.T) {
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		rc.Flush()
		for lines := bufio.NewReader(r.Body); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			io.WriteString(w, line)
			rc.Flush()
		}
	})
	f := newFront(t, app)
	pr, pw := io.Pipe()
	defer pw.Close()
	resp, err := http.Post(f.URL, "text/plain", pr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for _, want := range []string{"one\n", "two\n"} {
		io.WriteString(pw, want)
		if got, err := lines.ReadString('\n'); got != want {
			t.Fatalf("line = %q, %v, want %q", got, err, want)
		}
	}
}

func TestResponseTrailersPass(t *testing.T) {
	f := newFront(t, newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", "1")
	}))
	resp, err := http.Get(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if got := resp.Trailer.Get("X-Sum"); got != "1" {
		t.Errorf("trailer = %q, want 1", got)
	}
}

// TestInformationalAnswers: they pass, without our cookies, and what was set on
// the answer before is on the final one alone.
func TestInformationalAnswers(t *testing.T) {
	app := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Link", "</a.css>; rel=preload")
		h.Set("Set-Cookie", "anteroom=evil")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusEarlyHints)
		h.Set("Set-Cookie", "theme=dark")
		io.WriteString(w, "body")
	})
	f := newFront(t, app)
	f.before = http.Header{"Set-Cookie": {"anteroom=renewed"}, "X-Own": {"1"}}
	var hints []http.Header
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == http.StatusEarlyHints {
			hints = append(hints, http.Header(h))
		}
		return nil
	}})
	r, _ := http.NewRequestWithContext(ctx, "GET", f.URL, nil)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	link := http.Header{"Link": {"</a.css>; rel=preload"}}
	if diff := cmp.Diff([]http.Header{link, link}, hints); diff != "" {
		t.Errorf("early hints (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"anteroom=renewed", "theme=dark"}, resp.Header["Set-Cookie"]); diff != "" || resp.Header.Get("X-Own") != "1" {
		t.Errorf("final answer: X-Own %q, Set-Cookie (-want +got):\n%s", resp.Header.Get("X-Own"), diff)
	}
	if resp, body := f.raw(t, "GET / HTTP/1.0\r\nHost: a\r\n\r\n"); resp.StatusCode != http.StatusOK || body != "body" {
		t.Errorf("answer to HTTP/1.0 = %d %q, want 200 body at once", resp.StatusCode, body)
	}
}

// TestHeaderSetBeforeSurvivesFailure: hints came, the answer did not.
func TestHeaderSetBeforeSurvivesFailure(t *testing.T) {
	f := newFront(t, newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		panic(http.ErrAbortHandler)
	}))
	f.before = http.Header{"Set-Cookie": {"anteroom=renewed"}}
	resp, err := http.Get(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadGateway || resp.Header.Get("Set-Cookie") != "anteroom=renewed" {
		t.Errorf("answer = %d, Set-Cookie %q, want 502 with the renewed cookie", resp.StatusCode, resp.Header["Set-Cookie"])
	}
}

func TestExpectContinue(t *testing.T) {
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		io.Copy(w, r.Body)
	})
	f := newFront(t, app)
	c := f.dial(t)
	answers := bufio.NewReader(c)
	io.WriteString(c, "POST /yes HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if line, err := answers.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("first line = %q, %v, want 100 Continue", line, err)
	}
	for line := "x"; line != "\r\n"; {
		line, _ = answers.ReadString('\n')
	}
	io.WriteString(c, "body")
	if resp, body := readAnswer(t, answers); resp.StatusCode != http.StatusOK || body != "body" {
		t.Errorf("answer = %d %q, want 200 body", resp.StatusCode, body)
	}
	if resp, _ := f.raw(t, "POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("answer = %d, want 413 without the body asked for", resp.StatusCode)
	}
}

func TestAnswerThatBreaksOff(t *testing.T) {
	f := newFront(t, newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "200000")
		io.WriteString(w, strings.Repeat("half", 25_000))
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	resp, err := http.Get(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != io.ErrUnexpectedEOF {
		t.Errorf("reading %d bytes = %v, want an unexpected end", len(b), err)
	}
}

// TestClientGone: a client that leaves before the answer is no fault of the
// application's, and the application learns of it.
func TestClientGone(t *testing.T) {
	came, left := make(chan struct{}), make(chan struct{})
	f := newFront(t, newApp(t, func(_ http.ResponseWriter, r *http.Request) {
		close(came)
		<-r.Context().Done()
		close(left)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-came; cancel() }()
	r, _ := http.NewRequestWithContext(ctx, "GET", f.URL, nil)
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
		t.Fatal("the request was answered")
	}
	<-left
	if err := f.lastErr(t); !isAll(err, ErrUnreachable, context.Canceled) {
		t.Errorf("Forward = %v, want ErrUnreachable and context.Canceled", err)
	}
}

// TestLongUploadIsNotBuffered: the application reads while the client writes.
func TestLongUploadIsNotBuffered(t *testing.T) {
	got := make(chan byte)
	f := newFront(t, newApp(t, func(_ http.ResponseWriter, r *http.Request) {
		for b := make([]byte, 1); ; {
			if _, err := r.Body.Read(b); err != nil {
				close(got)
				return
			}
			got <- b[0]
		}
	}))
	c := f.dial(t)
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, b := range "abc" {
		fmt.Fprintf(c, "1\r\n%c\r\n", b)
		select {
		case x := <-got:
			if x != byte(b) {
				t.Fatalf("application read %c, want %c", x, b)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the application was sent nothing")
		}
	}
	io.WriteString(c, "0\r\n\r\n")
	<-got
}
