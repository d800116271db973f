package integrations

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/rand"
)

// cloud is as much of a Nextcloud as granting app passwords takes.
type cloud struct {
	*httptest.Server

	mu        sync.Mutex        // guards what follows
	flows     map[string]string // by poll token: what was granted, login and password; "" for not yet
	logins    map[string]string // poll tokens by login token
	passwords map[string]string // uid by login and password
	agents    []string          // who asked for flows
	down      bool              // nothing is answered
	lose      bool              // the answer to the next fetch gets lost
	stubborn  bool              // deletes no app password
	asked     map[string]int    // calls, by path
	says      func(w http.ResponseWriter, r *http.Request) bool
	secrets   []string // all that must show nowhere
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{flows: map[string]string{}, logins: map[string]string{}, passwords: map[string]string{}, asked: map[string]int{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[r.URL.Path]++
	switch {
	case c.down:
		panic(http.ErrAbortHandler)
	case c.says != nil && c.says(w, r):
	case r.Header.Get("Cookie") != "":
		http.Error(w, "a cookie", http.StatusInternalServerError)
	case r.Method == http.MethodPost && r.URL.Path == "/cloud/index.php/login/v2":
		c.begin(w, r)
	case r.Method == http.MethodPost && r.URL.Path == "/cloud/index.php/login/v2/poll":
		c.poll(w, r)
	case r.URL.Path == "/cloud/ocs/v2.php/cloud/user", r.URL.Path == "/cloud/ocs/v2.php/core/apppassword":
		c.ocs(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (c *cloud) begin(w http.ResponseWriter, r *http.Request) {
	token, login := c.secret("canary-poll-"), c.secret("canary-login-")
	c.flows[token], c.logins[login] = "", token
	c.agents = append(c.agents, r.UserAgent())
	base := "http://" + r.Host + "/cloud/index.php/login/v2"
	json.NewEncoder(w).Encode(map[string]any{"poll": map[string]string{"token": token, "endpoint": base + "/poll"}, "login": base + "/flow/" + login})
}

func (c *cloud) poll(w http.ResponseWriter, r *http.Request) {
	token := r.FormValue("token")
	given := c.flows[token]
	if given == "" {
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte("[]"))
		return
	}
	delete(c.flows, token)
	if c.lose {
		c.lose = false
		panic(http.ErrAbortHandler)
	}
	login, password, _ := strings.Cut(given, "\x00")
	json.NewEncoder(w).Encode(map[string]string{"server": "http://elsewhere", "loginName": login, "appPassword": password})
}

func (c *cloud) ocs(w http.ResponseWriter, r *http.Request) {
	login, password, _ := r.BasicAuth()
	uid, ok := c.passwords[login+"\x00"+password]
	switch {
	case !ok:
		w.Header().Set("WWW-Authenticate", `Basic realm="Authorisation Required"`)
		w.WriteHeader(http.StatusUnauthorized)
		w.Write([]byte("<?xml version=\"1.0\"?><ocs/>"))
	case r.Header.Get("OCS-APIRequest") != "true":
		w.WriteHeader(http.StatusPreconditionFailed)
	case r.Method == http.MethodGet && r.FormValue("format") == "json" && strings.HasSuffix(r.URL.Path, "/user"):
		json.NewEncoder(w).Encode(map[string]any{"ocs": map[string]any{"data": map[string]any{"id": uid, "groups": []string{}}}})
	case r.Method == http.MethodDelete && c.stubborn:
		w.WriteHeader(http.StatusForbidden)
	case r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/apppassword"):
		delete(c.passwords, login+"\x00"+password)
	}
}

// secret makes something that must show nowhere. Called with mu held.
func (c *cloud) secret(kind string) string {
	s := kind + rand.Text() + rand.Text()
	c.secrets = append(c.secrets, s)
	return s
}

// grant is what somebody does in their browser, at the address of a flow.
func (c *cloud) grant(t *testing.T, address, uid, login string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, key, _ := strings.Cut(u.Path, "/flow/")
	token, ok := c.logins[key]
	if _, open := c.flows[token]; !ok || !open {
		t.Fatalf("no flow is open at %s", u.Path)
	}
	given := login + "\x00" + c.secret("canary-password-")
	c.flows[token], c.passwords[given] = given, uid
}

// set changes how it behaves.
func (c *cloud) set(f func(*cloud)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// left is how many app passwords there are.
func (c *cloud) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.passwords)
}

// calls is how often a path was asked for.
func (c *cloud) calls(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked["/cloud"+path]
}

// flow makes a LoginFlow at the cloud.
func (c *cloud) flow(t *testing.T) *LoginFlow {
	t.Helper()
	base, _ := url.Parse(c.URL + "/cloud")
	client, err := NewClient(NextcloudConfig{URL: base.String(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return NewLoginFlow(base, client, "voice.example")
}
