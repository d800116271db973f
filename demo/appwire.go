package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	maxForm     = 1 << 20
	maxStream   = 64 << 30 // of an upload or download, which are never held in memory
	maxMessage  = 64 << 10 // of the WebSocket
	writeWithin = 10 * time.Second
)

// received is a request as it arrived.
type received struct {
	Method     string      `json:"method"`
	RequestURI string      `json:"request_uri"` // byte for byte
	Proto      string      `json:"proto"`
	Host       string      `json:"host"`
	Headers    http.Header `json:"headers"`
	Trailers   http.Header `json:"trailers,omitempty"`
	BodySize   int64       `json:"body_size"`
	BodySHA256 string      `json:"body_sha256"`
	Token      *verdict    `json:"token,omitempty"`
}

// headers tells the caller what reached the application.
func (a *App) headers(w http.ResponseWriter, r *http.Request) {
	size, sum, err := digest(w, r)
	if err != nil {
		http.Error(w, "reading the body", http.StatusBadRequest)
		return
	}
	v := received{Method: r.Method, RequestURI: r.RequestURI, Proto: r.Proto, Host: r.Host, Headers: r.Header,
		Trailers: r.Trailer, BodySize: size, BodySHA256: sum}
	if token := identityToken(r); token != "" {
		v.Token = a.verify(r.Context(), token)
	}
	a.json(w, v)
}

// upload counts a body.
func (a *App) upload(w http.ResponseWriter, r *http.Request) {
	size, sum, err := digest(w, r)
	if err != nil {
		http.Error(w, "reading the body", http.StatusBadRequest)
		return
	}
	a.json(w, map[string]any{"bytes": size, "sha256": sum})
}

// digest reads a body to its end in constant memory.
func digest(w http.ResponseWriter, r *http.Request) (int64, string, error) {
	h := sha256.New()
	n, err := io.Copy(h, http.MaxBytesReader(w, r.Body, maxStream))
	return n, hex.EncodeToString(h.Sum(nil)), err
}

// download streams ?bytes=N bytes.
func (a *App) download(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil || n < 0 || n > maxStream {
		http.Error(w, "bytes: a number from 0 to 64 GiB", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	w.Header().Set("Content-Disposition", `attachment; filename="download.bin"`)
	io.CopyN(w, pattern{}, n) // a caller that went away is no concern of ours
}

// pattern reads as the same line for ever.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	const line = "0123456789abcdef"
	for i := 0; i < len(p); i += copy(p[i:], line) {
	}
	return len(p), nil
}

// form shows a form and what was posted.
func (a *App) form(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	v := a.view(r, "A form")
	if r.Method == http.MethodPost {
		err := r.ParseForm()
		if err == nil {
			err = r.ParseMultipartForm(maxForm)
		}
		if err != nil && !errors.Is(err, http.ErrNotMultipart) {
			http.Error(w, "reading the form", http.StatusBadRequest)
			return
		}
		for name, values := range r.PostForm {
			v.Fields = append(v.Fields, [2]string{name, strings.Join(values, ", ")})
		}
		slices.SortFunc(v.Fields, func(x, y [2]string) int { return strings.Compare(x[0], y[0]) })
	}
	a.show(w, "form", v)
}

// events sends the time, once a Tick, until the caller goes away.
func (a *App) events(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	tick := time.NewTicker(a.o.Tick)
	defer tick.Stop()
	for i := 1; ; i++ {
		_, err := fmt.Fprintf(w, "id: %d\ndata: {\"n\":%d,\"time\":%q,\"user\":%q}\n\n", i, i,
			a.o.Now().UTC().Format(time.RFC3339), r.Header.Get("X-Forwarded-User"))
		if err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// hello is the first message of /echo.
type hello struct {
	User  string   `json:"user"`            // by header
	Token *verdict `json:"token,omitempty"` // by JWT, from Authorization or ?token=
}

// echo says who is calling, then sends back what comes. The page may come from
// the host Anteroom was called by, which the application knows by header only.
func (a *App) echo(w http.ResponseWriter, r *http.Request) {
	who := hello{User: r.Header.Get("X-Forwarded-User")}
	if token := identityToken(r); token != "" {
		who.Token = a.verify(r.Context(), token)
	}
	o := &websocket.AcceptOptions{}
	if host := r.Header.Get("X-Forwarded-Host"); host != "" {
		o.OriginPatterns = []string{host}
	}
	c, err := websocket.Accept(w, r, o)
	if err != nil {
		return // Accept has answered
	}
	defer c.CloseNow()
	c.SetReadLimit(maxMessage)
	if a.say(r, c, websocket.MessageText, jsonLine(who)) != nil {
		return
	}
	for {
		kind, p, err := c.Read(r.Context())
		if err != nil || a.say(r, c, kind, p) != nil {
			return
		}
	}
}

// say sends one message; a caller that does not read is given up.
func (a *App) say(r *http.Request, c *websocket.Conn, kind websocket.MessageType, p []byte) error {
	ctx, cancel := context.WithTimeout(r.Context(), writeWithin)
	defer cancel()
	return c.Write(ctx, kind, p)
}

func jsonLine(v any) []byte {
	p, _ := json.Marshal(v) // of strings and booleans: cannot fail
	return p
}
