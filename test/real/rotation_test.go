//go:build real

package realtest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"anteroom/demo"
	"anteroom/proxy/authn"
	"anteroom/test/loopback"
)

// rotationSpan is how long TestRotation rotates: sealing keys take half a
// minute to be taken up by all.
const rotationSpan = 60 * time.Second

// TestRotation exchanges every kind of secret while two replicas serve: people
// who are signed in, people who sign in, tokens that are renewed every few
// seconds, programs at /dav, and an application that verifies each JWT with
// what the JWKS said before. No request fails and nobody is signed out.
func TestRotation(t *testing.T) {
	t.Parallel() // a light load for a minute
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil { // as secrets are exchanged: at once
			t.Fatal(err)
		}
		return path
	}
	key := func() string { b := make([]byte, 32); rand.Read(b); return base64.StdEncoding.EncodeToString(b) }
	anteroom := func(args ...string) string {
		t.Helper()
		c := exec.Command(absolute(t, binaries+"/anteroom-plain"), args...)
		c.Dir = dir
		out, err := c.Output()
		if err != nil {
			t.Fatalf("anteroom %v: %v", args, err)
		}
		return string(out)
	}
	app := newVerifier(t)
	program, hash := authn.NewSecret()
	keys := []string{key()}
	jwks := file("jwt-keys.json", anteroom("keys", "new", "--jwt", "ES256"))
	f := newFleet(t, 2, demo.Options{OIDC: demo.NoOIDC, Modern: true, AccessTTL: tokenLife},
		"ANTEROOM_UPSTREAM", app.URL, "NEXTCLOUD_CLIENT_SECRET", "", "NEXTCLOUD_CLIENT_SECRET_FILE", file("client", demo.DefaultClientSecret),
		"ANTEROOM_SIGNIN_PROVIDER", "nextcloud", "ANTEROOM_SESSION_KEYS", "", "ANTEROOM_SESSION_KEYS_FILE", file("keys", keys[0]),
		"ANTEROOM_IDENTITY_JWT_KEYS_FILE", jwks, "ANTEROOM_CLIENTS", `[{name: indexer, secret_hash: "`+hash+`"}]`,
		"NEXTCLOUD_WEBDAV_USERNAME", demo.DefaultUser, "NEXTCLOUD_WEBDAV_PASSWORD_FILE", file("webdav", "not-yet"))
	rotate := exec.Command(absolute(t, binaries+"/anteroom-plain"), "connect", "rotate", "--file", filepath.Join(dir, "webdav"))
	file("webdav", appPassword(t, f.nc.URL))
	app.from(f.url)
	secure := newTLSSite(t, f, file)

	people := f.signIn(60)
	stop := make(chan struct{})
	over := sync.OnceFunc(func() { close(stop) })
	defer over()
	l := f.visits(people, think, stop)
	others := &counted{what: map[string]int{}}
	var work sync.WaitGroup
	every := func(name string, d time.Duration, do func() error) {
		work.Go(func() {
			for !pause(stop, d) {
				others.count(name, do())
			}
		})
	}
	every("sign-in", 300*time.Millisecond, func() error {
		p, err := newPerson(t).trySignIn(&site{URL: f.url}, f.url+"/", demo.DefaultUser, demo.DefaultPassword)
		if err == nil && !strings.Contains(p.body, demo.DefaultUser) {
			err = fmt.Errorf("arrived at %d %.80q", p.status, p.body)
		}
		return err
	})
	every("dav", 100*time.Millisecond, func() error {
		r, _ := http.NewRequest("PROPFIND", f.url+"/dav/files/"+demo.DefaultUser+"/", nil)
		r.SetBasicAuth("indexer", program.Reveal())
		r.Header.Set("Depth", "1")
		return expect(http.DefaultClient, r, http.StatusMultiStatus)
	})
	every("tls", 100*time.Millisecond, secure.ask)

	began := time.Now()
	turns := []struct {
		at   time.Duration
		name string
		do   func()
	}{
		{2 * time.Second, "sealing keys: a new one first", func() { keys = []string{key(), keys[0]}; file("keys", strings.Join(keys, "\n")) }},
		{4 * time.Second, "client secret: the file", func() { file("client", "second-secret") }},
		{6 * time.Second, "certificate", func() { secure.renew(t, file) }},
		{8 * time.Second, "JWT keys", func() { anteroom("keys", "rotate", jwks) }},
		{12 * time.Second, "service password", func() {
			rotate.Dir = dir
			rotate.Env = append(rotate.Env, f.replicas[0].argv.env...)
			if out, err := rotate.CombinedOutput(); err != nil {
				t.Errorf("connect rotate: %v\n%s", err, out)
			}
		}},
		{16 * time.Second, "client secret: the provider", func() { f.nc.SetClientSecret(demo.DefaultClientID, "second-secret") }},
		{25 * time.Second, "certificate", func() { secure.renew(t, file) }},
		{30 * time.Second, "JWT keys", func() { anteroom("keys", "rotate", "--force", jwks) }},
		{50 * time.Second, "sealing keys: the old one taken out", func() { file("keys", keys[0]) }},
	}
	for _, turn := range turns {
		time.Sleep(turn.at - time.Since(began))
		t.Logf("%4.0f s: %s", time.Since(began).Seconds(), turn.name)
		turn.do()
	}
	time.Sleep(rotationSpan - time.Since(began))
	over()
	work.Wait()
	time.Sleep(think)
	l.check(t)
	others.check(t, "sign-in", "dav", "tls")
	if n := app.kids(); n < 3 {
		t.Errorf("JWTs of %d keys were seen, want those before and after two rotations", n)
	}
	if secure.certificates() < 3 {
		t.Errorf("%d certificates were seen, want three", secure.certificates())
	}
	for _, r := range f.replicas {
		for series, want := range map[string]float64{
			`anteroom_secret_reloads_total{key="session.keys",result="used"}`:         2,
			`anteroom_secret_reloads_total{key="signin.client_secret",result="used"}`: 1,
			`anteroom_secret_reloads_total{key="session.keys",result="refused"}`:      0,
		} {
			if got, err := r.count(series); err != nil || got != want {
				t.Errorf("%s = %v, %v, want %v", series, got, err, want)
			}
		}
	}
}

// expect asks, and wants a status.
func expect(c *http.Client, r *http.Request, status int) error {
	resp, err := c.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != status {
		return fmt.Errorf("%s %s = %d %.200q, %v", r.Method, r.URL, resp.StatusCode, body, err)
	}
	return nil
}

// counted is what became of several kinds of requests.
type counted struct {
	mu     sync.Mutex
	what   map[string]int
	failed []string
}

func (c *counted) count(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.what[name]++
	if err != nil {
		c.failed = append(c.failed, name+": "+err.Error())
	}
}

func (c *counted) check(t *testing.T, names ...string) {
	t.Helper()
	t.Log(c.what)
	for _, name := range names {
		if c.what[name] < 10 {
			t.Errorf("%d times %s, want more", c.what[name], name)
		}
	}
	if len(c.failed) > 0 {
		t.Errorf("%d failed; first: %q", len(c.failed), c.failed[:min(3, len(c.failed))])
	}
}

// appPassword has the pretend Nextcloud make one.
func appPassword(t *testing.T, nextcloud string) string {
	t.Helper()
	r, _ := http.NewRequest(http.MethodGet, nextcloud+"/ocs/v2.php/core/getapppassword?format=json", nil)
	r.SetBasicAuth(demo.DefaultUser, demo.DefaultPassword)
	r.Header.Set("OCS-APIRequest", "true")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var said struct {
		OCS struct {
			Data struct {
				Password string `json:"apppassword"`
			} `json:"data"`
		} `json:"ocs"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || said.OCS.Data.Password == "" {
		t.Fatalf("getapppassword = %d, %v", resp.StatusCode, err)
	}
	return said.OCS.Data.Password
}

// verifier is an application that answers those alone whose JWT is signed by a
// key that the JWKS named the last time it was read, ten seconds ago at most.
type verifier struct {
	*httptest.Server
	mu   sync.Mutex
	jwks string
	set  jose.JSONWebKeySet
	read time.Time
	seen map[string]bool
}

func newVerifier(t *testing.T) *verifier {
	v := &verifier{seen: map[string]bool{}}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if err := v.check(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")); err != nil {
			http.Error(w, "assertion: "+err.Error(), http.StatusUnauthorized)
			return
		}
		io.WriteString(w, r.Header.Get("X-Forwarded-User"))
	}))
	t.Cleanup(v.Close)
	return v
}

func (v *verifier) from(site string) {
	v.mu.Lock()
	v.jwks = site + "/.well-known/jwks.json"
	v.mu.Unlock()
}

func (v *verifier) check(token string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if time.Since(v.read) > 10*time.Second {
		resp, err := http.Get(v.jwks)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		v.set = jose.JSONWebKeySet{}
		if err := json.NewDecoder(resp.Body).Decode(&v.set); err != nil {
			return err
		}
		v.read = time.Now()
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	kid := jws.Signatures[0].Header.KeyID
	for _, k := range v.set.Key(kid) {
		if _, err := jws.Verify(k); err == nil {
			v.seen[kid] = true
			return nil
		}
	}
	return fmt.Errorf("key %q is not published", kid)
}

func (v *verifier) kids() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.seen)
}

// tlsSite is an Anteroom that serves TLS, whose certificate is exchanged.
type tlsSite struct {
	*site
	client *http.Client
	mu     sync.Mutex
	serial int64
	seen   map[int64]bool
}

func newTLSSite(t *testing.T, f *fleet, file func(name, text string) string) *tlsSite {
	s := &tlsSite{site: newSite(t), seen: map[int64]bool{}}
	s.URL = strings.Replace(s.URL, "http:", "https:", 1)
	s.Redirect = strings.Replace(s.Redirect, "http:", "https:", 1)
	s.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(c tls.ConnectionState) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen[c.PeerCertificates[0].SerialNumber.Int64()] = true
		return nil
	}}}}
	cert, key := s.make(t)
	s.site.start(t, settings{env: with(f.nc.env(), "ANTEROOM_UPSTREAM", f.app.URL, "ANTEROOM_SERVER_TLS_CERT", file("tls.crt", cert), "ANTEROOM_SERVER_TLS_KEY", file("tls.key", key))})
	return s
}

// make makes a certificate with its key.
func (s *tlsSite) make(t *testing.T) (cert, key string) {
	t.Helper()
	s.serial++
	pair := loopback.Certificate(t, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(s.serial) })
	return string(pair.Cert), string(pair.Key)
}

func (s *tlsSite) renew(t *testing.T, file func(name, text string) string) {
	cert, key := s.make(t)
	file("tls.crt", cert) // for a moment the two files do not fit
	file("tls.key", key)
}

func (s *tlsSite) ask() error {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.URL+"/.well-known/jwks.json", nil)
	if err != nil {
		return err
	}
	return expect(s.client, r, http.StatusOK)
}

func (s *tlsSite) certificates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}
