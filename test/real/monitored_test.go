//go:build real

package realtest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/proxy/authn"
	"anteroom/session"
)

// monitored is an Anteroom that does all that is measured: sessions in Redis,
// the built-in OAuth2, DAV, JSON for programs, forward-auth, provisioning,
// watch with a webhook; beside it one with TLS.
type monitored struct {
	*fleet
	secure *tlsSite
	secret session.Secret // of the program "indexer"
	stays  *person        // signed in for long enough that their tokens are renewed; nil: ended
	since  time.Time      // when they signed in
}

func startMonitored(t *testing.T) *monitored {
	t.Helper()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		writeFile(t, path, text)
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	told := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"id":"17"}`)
	}))
	t.Cleanup(told.Close)
	key := make([]byte, 32)
	rand.Read(key)
	secret, hash := authn.NewSecret()
	m := &monitored{secret: secret}
	m.fleet = newFleet(t, 1, demo.Options{OIDC: demo.NoOIDC, Modern: true, AccessTTL: tokenLife},
		"NEXTCLOUD_CLIENT_SECRET", "", "NEXTCLOUD_CLIENT_SECRET_FILE", file("client", demo.DefaultClientSecret),
		"ANTEROOM_SIGNIN_PROVIDER", "nextcloud", "ANTEROOM_CLIENTS", `[{name: indexer, secret_hash: "`+hash+`"}]`,
		"NEXTCLOUD_WEBDAV_USERNAME", demo.DefaultUser, "NEXTCLOUD_WEBDAV_PASSWORD_FILE", file("webdav", "not-yet"), "ANTEROOM_INTEGRATIONS_ROTATE_EVERY", "24h",
		"ANTEROOM_SERVER_TRUSTED_PROXIES", "127.0.0.0/8", "ANTEROOM_IDENTITY_PROVISION_URL", told.URL+"/people",
		"ANTEROOM_SERVER_SIGN_IN_RATE", "off", "ANTEROOM_SERVER_SIGN_IN_ACCOUNT_RATE", "off", "ANTEROOM_WATCH_GUESSING", "2 in 10m", "ANTEROOM_WATCH_WEBHOOK_URL", told.URL+"/alerts",
		"ANTEROOM_AUDIT_KEY", base64.StdEncoding.EncodeToString(key))
	file("webdav", appPassword(t, m.nc.URL))
	m.secure = newTLSSite(t, m.fleet, file)
	return m
}

// targets are what Prometheus scrapes.
func (m *monitored) targets() (all []string) {
	for _, admin := range []string{m.replicas[0].Admin, m.secure.Admin} {
		all = append(all, strings.TrimPrefix(admin, "http://"))
	}
	return all
}

// exercise does everything once.
func (m *monitored) exercise(t *testing.T, round int) {
	t.Helper()
	p := newPerson(t)
	p.signIn(&site{URL: m.url}, m.url+"/", demo.DefaultUser, demo.DefaultPassword)
	p.visit(m.url + "/auth/me")
	p.visit(m.url + "/page")
	if m.stays == nil {
		m.stays, m.since = newPerson(t), time.Now()
		m.stays.signIn(&site{URL: m.url}, m.url+"/", demo.DefaultUser, demo.DefaultPassword)
	}
	m.stays.visit(m.url + "/page")
	newPerson(t).visit(m.url + "/page") // whom nobody knows
	host := strings.TrimPrefix(m.url, "http://")
	for _, who := range []*person{p, newPerson(t)} {
		who.ask(t, http.MethodGet, m.url+"/auth/verify", "", "", "X-Forwarded-Method: GET", "X-Forwarded-Proto: http", "X-Forwarded-Host: "+host, "X-Forwarded-Uri: /page")
	}
	folder := m.url + "/dav/files/" + demo.DefaultUser + "/"
	program := newPerson(t)
	basic := func(method, address, secret string, header ...string) {
		t.Helper()
		body := ""
		if method == http.MethodPut {
			body = "some text"
		}
		program.ask(t, method, address, body, secret, header...)
	}
	basic("PROPFIND", folder, "indexer:"+m.secret.Reveal(), "Depth: 1")
	basic(http.MethodPut, folder+"monitored.txt", "indexer:"+m.secret.Reveal())
	basic("MOVE", folder+"monitored.txt", "indexer:"+m.secret.Reveal(), "Destination: http://elsewhere.example.com/x")
	basic("PROPFIND", folder, fmt.Sprintf("%s:wrong%d", demo.DefaultUser, round))
	basic(http.MethodGet, m.url+"/integrations/files?path=/", "indexer:"+m.secret.Reveal())
	p.ask(t, http.MethodPost, m.url+"/auth/logout", "", "", "Sec-Fetch-Site: same-origin")
	if time.Since(m.since) >= 2*tokenLife {
		m.revoke(t)
		m.stays = nil
	}
}

// revoke ends everybody's session from the command line.
func (m *monitored) revoke(t *testing.T) {
	t.Helper()
	c := exec.Command(absolute(t, binaries+"/anteroom-plain"), "sessions", "revoke", "--all", "--yes")
	c.Dir, c.Env = t.TempDir(), m.replicas[0].argv.env
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("sessions revoke --all: %v\n%s", err, out)
	}
}

// ask sends a request, its body of unknown length, and reads the answer to its
// end. credential is NAME:SECRET, or empty.
func (p *person) ask(t *testing.T, method, address, body, credential string, header ...string) {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = io.MultiReader(strings.NewReader(body)) // hides the length
	}
	r := p.request(method, address, content)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	if name, secret, ok := strings.Cut(credential, ":"); ok {
		r.SetBasicAuth(name, secret)
	}
	resp, err := p.client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, address, err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
}

// whileExercised does everything again and again until holds, two minutes at most.
func (m *monitored) whileExercised(t *testing.T, holds func() error) {
	t.Helper()
	end := time.Now().Add(2 * time.Minute)
	for round := 0; ; round++ {
		m.exercise(t, round)
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within two minutes: %v", err)
		}
	}
}

// metrics is what /metrics answers.
func (s *site) metrics(t *testing.T) string {
	t.Helper()
	resp, err := http.Get(s.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("/metrics = %d, %v", resp.StatusCode, err)
	}
	return string(text)
}
