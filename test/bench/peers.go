package main

import (
	"io"
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

// serveApp is the application, and the bare handler to compare with.
func serveApp(addr string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) { w.Write(hello) })
	mux.HandleFunc("/check", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header() // what /auth/me answers with
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		io.WriteString(w, `{"sub":"testdoc","preferred_username":"testdoc","name":"Test Doctor","email":"testdoc@example.com","groups":["users"],"sid":"0123456789abcdef012345","auth_time":"2026-01-01T00:00:00Z","session_ends":"2026-01-01T12:00:00Z","session_idle_ends":"2026-01-01T01:00:00Z"}`+"\n")
	})
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

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// serveBareProxy is a ReverseProxy as one would tune it by hand, and no more.
func serveBareProxy(addr, app string) error {
	to := &url.URL{Scheme: "http", Host: app}
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.SetXForwarded(); r.Out.Host = r.In.Host },
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConns:        0,
			MaxIdleConnsPerHost: 512,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
		BufferPool: &buffers{},
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
