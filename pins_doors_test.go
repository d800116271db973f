package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/integrations"
	"anteroom/proxy/authn"
	"anteroom/session"
	"anteroom/test/loopback"
)

// impostor is a Nextcloud that has the pinned key until it turns: from then on
// it has another, of the same authority, and counts who asks it anything.
type impostor struct {
	*httptest.Server
	turned atomic.Bool
	asked  atomic.Int32
	what   atomic.Value // the last that it was asked
}

func newImpostor(t *testing.T, oidc bool) (i *impostor, caFile, pins string) {
	ca := loopback.Certificate(t)
	good, bad := ca.Issue(t), ca.Issue(t)
	i = &impostor{}
	i.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.turned.Load() {
			i.asked.Add(1)
			i.what.Store(r.Method + " " + r.URL.Path)
		}
		at := i.URL
		switch {
		case r.URL.Path == "/status.php":
			io.WriteString(w, `{"installed":true,"maintenance":false,"version":"32.0.0.0","versionstring":"32.0.0","productname":"Nextcloud"}`)
		case oidc && strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
			json.NewEncoder(w).Encode(map[string]any{"issuer": at, "authorization_endpoint": at + "/authorize", "token_endpoint": at + "/token", "userinfo_endpoint": at + "/userinfo",
				"jwks_uri": at + "/jwks", "revocation_endpoint": at + "/revoke", "introspection_endpoint": at + "/introspect", "end_session_endpoint": at + "/logout",
				"id_token_signing_alg_values_supported": []string{"RS256"}})
		default:
			http.NotFound(w, r)
		}
	}))
	honest, wrong := &tls.Config{Certificates: []tls.Certificate{good.TLS(t)}}, &tls.Config{Certificates: []tls.Certificate{bad.TLS(t)}}
	i.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if i.turned.Load() {
			return wrong, nil
		}
		return honest, nil
	}}
	i.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	i.StartTLS()
	t.Cleanup(i.Close)
	i.URL = "https://" + i.Listener.Addr().String()
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(good.Cert)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum, backup := sha256.Sum256(leaf.RawSubjectPublicKeyInfo), make([]byte, sha256.Size)
	rand.Read(backup)
	return i, caFile, base64.StdEncoding.EncodeToString(sum[:]) + "," + base64.StdEncoding.EncodeToString(backup)
}

// TestPinsHoldEverywhere: whichever way Nextcloud is asked, one whose key is
// none of the pinned ones is asked nothing, with a certificate that is valid.
func TestPinsHoldEverywhere(t *testing.T) {
	for _, provider := range []string{"oidc", "nextcloud"} {
		t.Run(provider, func(t *testing.T) {
			i, ca, pins := newImpostor(t, provider == "oidc")
			dir := t.TempDir()
			password := filepath.Join(dir, "password")
			if err := os.WriteFile(password, []byte("an app password"), 0o600); err != nil {
				t.Fatal(err)
			}
			client, hash := authn.NewSecret()
			addr := freeAddr(t)
			env := []string{"NEXTCLOUD_BASE_URL=" + i.URL, "NEXTCLOUD_CLIENT_ID=x", "NEXTCLOUD_CLIENT_SECRET=y", "NEXTCLOUD_REDIRECT_URI=http://" + addr + "/auth/callback",
				"ANTEROOM_SIGNIN_PROVIDER=" + provider, "ANTEROOM_NEXTCLOUD_CA_FILE=" + ca, "ANTEROOM_NEXTCLOUD_PINS=" + pins, "ANTEROOM_NEXTCLOUD_TIMEOUT=5s",
				"ANTEROOM_UPSTREAM=http://localhost:1", "ANTEROOM_SERVER_LISTEN=" + addr, "ANTEROOM_SERVER_ADMIN_LISTEN=127.0.0.1:0", "ANTEROOM_TELEMETRY_OTLP_ENDPOINT=http://localhost:1",
				`ANTEROOM_CLIENTS=[{name: indexer, secret_hash: "` + hash + `"}]`, "NEXTCLOUD_ADMIN_USER=admin", "NEXTCLOUD_ADMIN_PASSWORD=p",
				"NEXTCLOUD_WEBDAV_USERNAME=svc", "NEXTCLOUD_WEBDAV_PASSWORD_FILE=" + password, "NEXTCLOUD_CALDAV_USERNAME=svc", "NEXTCLOUD_CALDAV_PASSWORD_FILE=" + password,
				"ANTEROOM_INTEGRATIONS_CARDDAV_CREDENTIAL=user", "ANTEROOM_INTEGRATIONS_MAIL_NEXTCLOUD_ACCOUNT=1", "NEXTCLOUD_EMAIL_USERNAME=svc", "NEXTCLOUD_EMAIL_PASSWORD=p"}
			var said output
			sys := system{Environ: env, Out: io.Discard, Err: &said}
			cfg, faults := loadConfig("", false, sys.lookup, sys.Environ)
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			made := func() *house {
				h, err := build(cfg, slog.New(slog.NewTextHandler(&said, nil)), sys)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { h.sessions.Close(context.Background()); h.audit.Close() })
				return h
			}
			// discover looks for the provider once.
			discover := func(h *house) error {
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { h.signIn.Run(ctx); close(done) }()
				defer func() { cancel(); <-done }()
				before := h.signIn.Ready().Error()
				for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					if err := h.signIn.Ready(); err == nil || err.Error() != before {
						return err
					}
				}
				return errors.New("not in 10 s")
			}
			h := made()
			if err := discover(h); err != nil {
				t.Fatalf("with the pinned key: %v", err)
			}
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- h.server.Serve(l) }()
			t.Cleanup(func() { h.server.Shutdown(context.Background()); <-served })
			i.turned.Store(true)
			i.CloseClientConnections()

			jar, _ := cookiejar.New(nil)
			browser := &http.Client{Jar: jar, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			site := "http://" + addr
			ask := func(method, path string, body io.Reader) error {
				r, err := http.NewRequest(method, site+path, body)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(path, "/auth/") {
					r.SetBasicAuth("indexer", client.Reveal())
				}
				resp, err := browser.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				text, _ := io.ReadAll(resp.Body)
				if resp.StatusCode < 500 {
					t.Errorf("%s %s = %d %.300s, want 5xx", method, path, resp.StatusCode, text)
				}
				return fmt.Errorf("it answers %d", resp.StatusCode)
			}
			callback := func() error {
				resp, err := browser.Get(site + "/auth/login")
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				to, err := resp.Location()
				if err != nil {
					t.Fatalf("/auth/login = %d, want it to lead to the provider", resp.StatusCode)
				}
				return ask("GET", "/auth/callback?code=c&iss="+url.QueryEscape(i.URL)+"&state="+url.QueryEscape(to.Query().Get("state")), nil)
			}
			grant := func(refresh session.Secret, life time.Duration) session.Grant {
				return session.Grant{Identity: session.Identity{Subject: "testdoc", Username: "testdoc", Method: session.Method(provider)},
					Tokens: session.Tokens{Access: "a", Refresh: refresh, Issued: time.Now().Add(-time.Hour), Expiry: time.Now().Add(life)}}
			}
			base, _ := url.Parse(i.URL)
			flow := integrations.NewLoginFlow(base, h.tracedNextcloud(), "site")
			command := func(args ...string) error {
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
				defer cancel()
				var out bytes.Buffer
				return run(ctx, args, system{Environ: env, Out: &out, Err: &out})
			}
			cred := session.Credential{User: "testdoc", Secret: "p"}
			ways := map[string]func() error{
				"discovery": func() error { return discover(made()) },
				"code":      callback,
				"refresh":   func() error { _, err := h.signIn.Renew(t.Context(), grant("r", -time.Minute)); return err },
				"who it is": func() error { _, err := h.signIn.Renew(t.Context(), grant("", time.Hour)); return err },
				"revocation": func() error {
					h.signIn.SignOut(t.Context(), grant("r", time.Hour), "")
					return errors.New("it tells nobody")
				},
				"app password": func() error { _, err := h.signIn.ByPassword(t.Context(), "testdoc", "p"); return err },
				"access token": func() error { _, _, err := h.signIn.ByToken(t.Context(), "t"); return err },
				"logout token": func() error {
					_, err := h.signIn.VerifyLogout(t.Context(), "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEiLCJ0eXAiOiJsb2dvdXQrand0In0.e30.AAAA")
					return err
				},
				"login flow": func() error { _, err := h.granted.Start(t.Context(), "testdoc", "s"); return err },
				"login flow's answer": func() error {
					_, _, err := flow.Fetch(t.Context(), integrations.Flow{Endpoint: i.URL + "/login/v2/poll", Token: "t"})
					return err
				},
				"login flow's owner": func() error { _, err := flow.Owner(t.Context(), cred); return err },
				"login flow's end":   func() error { return flow.Revoke(t.Context(), cred) },
				"dav":                func() error { return ask("PROPFIND", "/dav/files/svc/", nil) },
				"dav, upload":        func() error { return ask("PUT", "/dav/files/svc/a", strings.NewReader("text")) },
				"dav, upload in parts": func() error {
					return ask("PUT", "/dav/files/svc/a", io.MultiReader(bytes.NewReader(make([]byte, 6<<20))))
				},
				"calendars":       func() error { return ask("PROPFIND", "/calendar/calendars/svc/", nil) },
				"JSON, files":     func() error { return ask("GET", "/integrations/files", nil) },
				"JSON, upload":    func() error { return ask("PUT", "/integrations/files/content?path=/a", strings.NewReader("text")) },
				"JSON, folder":    func() error { return ask("GET", "/integrations/files/search?name=a", nil) },
				"JSON, calendars": func() error { return ask("GET", "/integrations/calendars", nil) },
				"JSON, people":    func() error { return ask("GET", "/integrations/people", nil) },
				"JSON, mail":      func() error { return ask("GET", "/integrations/mail/folders", nil) },
				"doctor":          func() error { return command("doctor") },
				"connect":         func() error { return command("connect", "--to", filepath.Join(dir, "new")) },
				"connect rotate":  func() error { return command("connect", "rotate") },
			}
			for name, way := range ways {
				if err := way(); err == nil {
					t.Errorf("%s: no error, want one", name)
				}
				if n := i.asked.Swap(0); n > 0 {
					t.Errorf("%s: a server without the pinned key was asked %d times, %v the last", name, n, i.what.Load())
				}
			}
			// What was refused was refused for its key: without pins it is asked.
			open, err := integrations.NewClient(integrations.NextcloudConfig{URL: i.URL, CAFile: ca, Timeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := open.Get(i.URL + "/status.php"); err != nil || i.asked.Load() != 1 {
				t.Errorf("without pins: %v, asked %d times, want it asked once", err, i.asked.Load())
			} else {
				resp.Body.Close()
			}
		})
	}
}
