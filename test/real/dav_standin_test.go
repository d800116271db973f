//go:build real

package realtest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"anteroom/demo"
)

// davRecorder stands where Anteroom looks for a DAV server, and writes down
// what it is asked.
type davRecorder struct {
	*httptest.Server
	mu   sync.Mutex
	seen []recorded // guarded by mu
}

// recorded is one request as the server got it; of the body, the first MiB.
type recorded struct {
	method, uri string
	header      http.Header
	body        string
}

// newDAVRecorder answers by answer.
func newDAVRecorder(t *testing.T, answer http.HandlerFunc) *davRecorder {
	t.Helper()
	d := &davRecorder{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var start bytes.Buffer
		io.Copy(&start, io.LimitReader(r.Body, 1<<20))
		d.mu.Lock()
		d.seen = append(d.seen, recorded{r.Method, r.RequestURI, r.Header.Clone(), start.String()})
		d.mu.Unlock()
		r.Body = io.NopCloser(io.MultiReader(&start, r.Body))
		answer(w, r)
	}))
	t.Cleanup(d.Close)
	return d
}

// recorded is a server with a recorder before it.
func (d *davServer) recorded(t *testing.T) (*davServer, *davRecorder) {
	t.Helper()
	to, err := url.Parse(d.origin)
	if err != nil {
		t.Fatal(err)
	}
	r := newDAVRecorder(t, httputil.NewSingleHostReverseProxy(to).ServeHTTP)
	c := *d
	c.origin = r.URL
	return &c, r
}

// server is the recorder as a DAV server laid out as Nextcloud is.
func (d *davRecorder) server() *davServer {
	return &davServer{name: "stand-in", origin: d.URL, user: davUser, secret: davSecret,
		roots: services{"/remote.php/dav", "/remote.php/dav/calendars", "/remote.php/dav/addressbooks"},
		homes: services{"/files/" + davUser, "/" + davUser, "/" + davUser}}
}

// heard is what it was asked since the last time.
func (d *davRecorder) heard() []recorded {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := d.seen
	d.seen = nil
	return seen
}

// multistatus is an answer to any PROPFIND or REPORT.
func multistatus(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.WriteHeader(http.StatusMultiStatus)
	io.WriteString(w, `<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"><d:response><d:href>`+strings.Split(r.RequestURI, "?")[0]+`</d:href><d:status>HTTP/1.1 200 OK</d:status></d:response></d:multistatus>`)
}

// raw sends a request as it is written, target and lines byte for byte, with
// the client's credentials.
func (s *davSite) raw(t *testing.T, method, target string, lines []string, body string) answered {
	t.Helper()
	r, err := http.NewRequest("GET", s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(s.way.user, s.way.secret)
	lines = append([]string{"Authorization: " + r.Header.Get("Authorization")}, lines...)
	if body != "" {
		lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)))
	}
	g := &rig{site: s.site}
	return g.raw(t, g.ask(method, target, lines...)+body)
}

// signedIn is somebody with a session here.
func (s *davSite) signedIn(t *testing.T) *person {
	t.Helper()
	p := newPerson(t)
	p.signIn(s.site, s.URL+"/", demo.DefaultUser, demo.DefaultPassword)
	return p
}
