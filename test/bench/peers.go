package main

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

var hello = []byte(strings.Repeat("The application's answer, as long as a small JSON document is. ", 16))

// serveApp is the application, and the bare handler to compare with; with a
// folder, a DAV server as well.
func serveApp(addr, folder string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) { w.Write(hello) })
	mux.HandleFunc("/check", check)
	mux.HandleFunc("/told", told)
	if folder != "" {
		if err := davFolder(mux, folder); err != nil {
			return err
		}
	}
	mux.HandleFunc("/download", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
		io.CopyN(w, zeros{}, n)
	})
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		io.WriteString(w, strconv.FormatInt(n, 10))
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err == nil {
			c.Read(r.Context()) // idle until the other end leaves
			c.CloseNow()
		}
	})
	return http.ListenAndServe(addr, mux)
}

// check answers what /auth/me does, made anew each time as that is, and asks
// nobody who is calling.
func check(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	json.NewEncoder(w).Encode(struct {
		Subject  string    `json:"sub"`
		Username string    `json:"preferred_username"`
		Name     string    `json:"name"`
		Email    string    `json:"email"`
		Groups   []string  `json:"groups"`
		Session  string    `json:"sid"`
		AuthTime time.Time `json:"auth_time"`
		Ends     time.Time `json:"session_ends"`
		IdleEnds time.Time `json:"session_idle_ends"`
	}{"testdoc", "testdoc", "Test Doctor", "testdoc@example.com", []string{"users"}, "0123456789abcdef012345", now, now, now})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// fixed are the headers that Anteroom adds, with values of the same length.
var fixed = map[string]string{
	"X-Forwarded-User": "testdoc", "X-Forwarded-Preferred-Username": "testdoc", "X-Forwarded-Email": "testdoc@example.com",
	"X-Forwarded-Name": "Test Doctor", "X-Forwarded-Groups": "users", "Authorization": "Bearer " + strings.Repeat("j", 560),
	"X-Request-Id": strings.Repeat("0", 32), "Traceparent": strings.Repeat("0", 55),
}

// serveBareProxy is a ReverseProxy as one would tune it by hand: nothing more
// than forwarding at /, and with fixed identity headers below /same, which is
// the work that Anteroom does once it knows who is calling.
func serveBareProxy(addr, app string) error {
	to := &url.URL{Scheme: "http", Host: app}
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
			if path, ok := strings.CutPrefix(r.Out.URL.Path, "/same"); ok {
				r.Out.URL.Path = path
				for name, value := range fixed {
					r.Out.Header.Set(name, value)
				}
			}
		},
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConns:        0,
			MaxIdleConnsPerHost: 512,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
		BufferPool: &buffers{},
		ErrorLog:   log.New(io.Discard, "", 0), // of wrk leaving
	}
	return http.ListenAndServe(addr, p)
}

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if v, ok := b.pool.Get().(*[]byte); ok {
		return *v
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(v []byte) { b.pool.Put(&v) }
