//go:build real

package realtest

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"anteroom/demo"
	"anteroom/test/loopback"
)

// front is one front proxy that asks Anteroom: how it is started, with the
// files of deploy/, for the addresses of a frontage.
type front struct {
	name     string
	door     string                                   // where it asks, for questions without it
	relays   bool                                     // whatever Anteroom answers reaches the client
	forwards bool                                     // it asks nothing, and Anteroom forwards by itself
	start    func(t *testing.T, f *frontage) *process // nil: none is there, and Anteroom is asked by hand
}

// frontage is a front proxy before an application, the Anteroom that it asks,
// and somebody in front of it all. The hosts below front.test are the front
// proxy's: app has Anteroom below /auth/, auth is Anteroom's, wiki is guarded.
type frontage struct {
	*site    // Anteroom; URL is the public one, at the front proxy
	front    front
	port     string // of the front proxy
	extAuthz string // where Anteroom answers Envoy over gRPC
	nc       nextcloud
	app      *frontApplication
	p        *person
}

// newFrontage starts everything. public is the host of the public URL.
func newFrontage(t *testing.T, kind front, public string, env ...string) *frontage {
	t.Helper()
	f := &frontage{front: kind, port: loopback.Port(t), extAuthz: loopback.Address(t), app: newFrontApplication(t), site: newSite(t)}
	f.URL = "http://" + f.host(public)
	f.Redirect = f.URL + "/auth/callback"
	f.nc = startNextcloud(t, f.site, demo.Options{})
	upstream := "none"
	if kind.forwards {
		upstream = f.app.URL
	}
	f.site.start(t, settings{env: with(with(f.nc.env(), "ANTEROOM_SERVER_TRUSTED_PROXIES", "127.0.0.1/32", "ANTEROOM_SERVER_EXT_AUTHZ_LISTEN", f.extAuthz, "ANTEROOM_SERVER_ALLOW_PLAINTEXT", "public", "ANTEROOM_SESSION_COOKIE_DOMAIN", map[string]string{"auth": "front.test"}[public]), env...), yaml: `
upstream: ` + upstream + `
routes:
  - {path: /public, allow: public}
  - {path: /admin, allow: {groups: [admin]}}
  - {path: /, allow: signed-in}
`})
	var p *process
	if kind.start != nil {
		p = kind.start(t, f)
	}
	f.p = f.newPerson(t)
	until(t, p, "waiting for "+kind.name, 20*time.Second, f.standing)
	return f
}

// standing is a condition: what is public passes through the front proxy.
func (f *frontage) standing() error {
	r, err := http.NewRequest("GET", f.at("app", "/public/ready"), nil)
	if err != nil || f.front.start == nil {
		return err
	}
	resp, err := f.p.client.Transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s = %d", r.URL, resp.StatusCode)
	}
	return nil
}

func (f *frontage) host(name string) string { return name + ".front.test:" + f.port }

// at is an address at one of the front proxy's hosts.
func (f *frontage) at(name, path string) string { return "http://" + f.host(name) + path }

// newPerson is somebody whose browser finds the front proxy under every host
// below front.test.
func (f *frontage) newPerson(t *testing.T) *person {
	t.Helper()
	p := newPerson(t)
	transport := p.client.Transport.(*http.Transport)
	transport.DialContext = f.dial
	return p
}

func (f *frontage) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if host, _, _ := net.SplitHostPort(addr); strings.HasSuffix(host, ".front.test") {
		addr = "127.0.0.1:" + f.port
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// socket opens a WebSocket as a person at an origin.
func (f *frontage) socket(ctx context.Context, p *person, name, origin string) (*websocket.Conn, *http.Response, error) {
	client := &http.Client{Transport: p.client.Transport, Jar: p.client.Jar}
	return websocket.Dial(ctx, "ws://"+f.host(name)+"/socket", &websocket.DialOptions{HTTPClient: client, HTTPHeader: http.Header{"Origin": {origin}}})
}

// deployed copies a folder of deploy/ into one of the test's, with addresses
// replaced: old, new, …
func deployed(t *testing.T, folder string, replace ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	from := filepath.Join(root, "deploy", folder)
	r := strings.NewReplacer(replace...)
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		to := filepath.Join(dir, rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, []byte(r.Replace(string(b))), 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// frontApplication is what stands behind a front proxy. Besides what every
// application of these suites does, it speaks WebSocket at /socket, tells the
// length and hash of what is sent to /upload, and hands on each line that is
// sent to /talk as it comes.
type frontApplication struct {
	*application
	URL    string
	Listen string
	talk   chan string
}

// uploaded is the answer of /upload.
type uploaded struct {
	Bytes int64  `json:"bytes"`
	Hash  string `json:"hash"`
	User  string `json:"user"`
}

func newFrontApplication(t *testing.T) *frontApplication {
	t.Helper()
	a := &frontApplication{application: newApplication(t), talk: make(chan string)}
	mux := http.NewServeMux()
	mux.Handle("/", a.application.Config.Handler)
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, _ := io.Copy(h, r.Body)
		json.NewEncoder(w).Encode(uploaded{n, hex.EncodeToString(h.Sum(nil)), r.Header.Get("X-Forwarded-User")})
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.Write(r.Context(), websocket.MessageText, []byte(r.Header.Get("X-Forwarded-User")))
		c.Read(r.Context())
	})
	mux.HandleFunc("/talk", func(_ http.ResponseWriter, r *http.Request) {
		for b := bufio.NewReader(r.Body); ; {
			line, err := b.ReadString('\n')
			if err != nil {
				return
			}
			select {
			case a.talk <- line:
			case <-t.Context().Done():
				return
			}
		}
	})
	// What comes in is looked at as it is written: a mux would redirect //.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains([]string{"/upload", "/socket", "/talk"}, r.URL.Path) {
			mux.ServeHTTP(w, r)
			return
		}
		a.application.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	a.URL, a.Listen = s.URL, s.Listener.Addr().String()
	return a
}
