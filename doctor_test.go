package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anteroom/demo"
	"anteroom/integrations/doctor"
	"anteroom/integrations/mail/mailtest"
	"anteroom/test/redistest"
)

// clinic is a set-up in good order: everything that the doctor looks at, each
// on a socket of its own, and Anteroom before it.
type clinic struct {
	*testing.T
	cloud *demo.Nextcloud
	post  *mailtest.Servers
	env   map[string]string
	faulty
}

// faulty is what stands between Anteroom and Nextcloud, and spoils answers.
type faulty struct {
	request func(*http.Request)
	answer  func(*http.Response) error
	serve   func(w http.ResponseWriter, r *http.Request) bool // true: it answered
}

func openClinic(t *testing.T, o demo.Options) *clinic {
	c := &clinic{T: t, cloud: demo.NewNextcloud(o)}
	cloud := c.listen(c.cloud)
	u, _ := url.Parse(cloud)
	between := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(u)
		r.Out.Host = r.In.Host
		if c.request != nil {
			c.request(r.Out)
		}
	}, ModifyResponse: func(r *http.Response) error {
		if c.answer != nil {
			return c.answer(r)
		}
		return nil
	}}
	seen := c.listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.serve == nil || !c.serve(w, r) {
			between.ServeHTTP(w, r)
		}
	}))
	app := c.listen(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	site := "http://" + freeAddr(t)
	redis := redistest.Start(t, redistest.Options{})
	c.post = mailtest.Start(t, mailtest.Rich)
	c.cloud.AddRedirectURI(demo.DefaultClientID, site+"/auth/callback")
	user, secret := c.appPassword(cloud)
	c.env = map[string]string{
		"NEXTCLOUD_BASE_URL": seen, "NEXTCLOUD_CLIENT_ID": demo.DefaultClientID, "NEXTCLOUD_CLIENT_SECRET": demo.DefaultClientSecret,
		"NEXTCLOUD_REDIRECT_URI": site + "/auth/callback", "ANTEROOM_UPSTREAM": app,
		"NEXTCLOUD_WEBDAV_USERNAME": user, "NEXTCLOUD_WEBDAV_PASSWORD": secret,
		"NEXTCLOUD_CALDAV_USERNAME": user, "NEXTCLOUD_CALDAV_PASSWORD": secret,
		"NEXTCLOUD_CARDDAV_USERNAME": user, "NEXTCLOUD_CARDDAV_PASSWORD": secret,
		"NEXTCLOUD_IMAP_URL": "imaps://" + c.post.Addr, "NEXTCLOUD_SMTP_URL": "smtps://" + c.post.SMTP, "ANTEROOM_INTEGRATIONS_MAIL_CA_FILE": c.post.File,
		"NEXTCLOUD_EMAIL_USERNAME": mailtest.User, "NEXTCLOUD_EMAIL_PASSWORD": mailtest.Password,
		"NEXTCLOUD_ADMIN_USER": "admin", "NEXTCLOUD_ADMIN_PASSWORD": "admin_dev_password",
		"ANTEROOM_SESSION_STORE": "redis", "ANTEROOM_SESSION_REDIS_URL": "redis://" + redis.Addr,
		"ANTEROOM_SESSION_KEYS":  "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
		"ANTEROOM_SERVER_LISTEN": strings.TrimPrefix(site, "http://"), "ANTEROOM_SERVER_ADMIN_LISTEN": freeAddr(t),
	}
	return c
}

func (c *clinic) listen(h http.Handler) string {
	s := httptest.NewServer(h)
	c.Cleanup(s.Close)
	return s.URL
}

// appPassword is one of testdoc's.
func (c *clinic) appPassword(cloud string) (user, secret string) {
	r, _ := http.NewRequest("GET", cloud+"/ocs/v2.php/core/getapppassword?format=json", nil)
	r.SetBasicAuth(demo.DefaultUser, demo.DefaultPassword)
	r.Header.Set("OCS-APIRequest", "true")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	var said struct {
		OCS struct {
			Data struct {
				Password string `json:"apppassword"`
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || said.OCS.Data.Password == "" {
		c.Fatalf("getapppassword = %d %v", resp.StatusCode, err)
	}
	return demo.DefaultUser, said.OCS.Data.Password
}

func (c *clinic) environ() (all []string) {
	for name, value := range c.env {
		if value != "" {
			all = append(all, name+"="+value)
		}
	}
	return all
}

// opens starts Anteroom itself.
func (c *clinic) opens() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	var said output
	env := c.environ()
	go func() { done <- run(ctx, nil, system{Environ: env, Out: &said, Err: &said}) }()
	c.Cleanup(func() { cancel(); <-done })
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", c.env["ANTEROOM_SERVER_LISTEN"])
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			c.Fatalf("Anteroom does not start:\n%s", said.String())
		}
	}
}

// look has the doctor look.
func (c *clinic) look(args ...string) (found []doctor.Finding, text string, err error) {
	c.Helper()
	var out, errs bytes.Buffer
	err = run(context.Background(), append([]string{"doctor"}, args...), system{Environ: c.environ(), Out: &out, Err: &errs})
	if slices.Contains(args, "--json") {
		if err := json.Unmarshal(out.Bytes(), &found); err != nil {
			c.Fatalf("%v: %s", err, out.Bytes())
		}
	}
	for name, secret := range c.env {
		if regexp.MustCompile("SECRET|PASSWORD|KEYS").MatchString(name) && secret != "" && strings.Contains(out.String()+errs.String(), secret) {
			c.Errorf("the doctor says %s", name)
		}
	}
	return found, out.String(), err
}

// TestDoctorSaysWhichSecrets: what lies beside the file of a secret that nobody
// has Nextcloud exchange is no exchange that was broken off.
func TestDoctorSaysWhichSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := &Config{SecretFiles: map[string]secretFile{"signin.client_secret": {Path: file}}}
	if said := cfg.said("signin.client_secret"); strings.Contains(said, "rotate") {
		t.Errorf("said = %q, want the file alone", said)
	}
}

// TestDoctorFindsWhatIsBroken breaks one thing at a time: its line fails, no
// other does, and the remedy names what to change.
func TestDoctorFindsWhatIsBroken(t *testing.T) {
	selfSigned := httptest.NewUnstartedServer(http.NotFoundHandler())
	selfSigned.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are meant to
	selfSigned.StartTLS()
	t.Cleanup(selfSigned.Close)
	pinned := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(pinned, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: selfSigned.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	oidc06, oidc20, builtIn := demo.Options{OIDC: demo.OIDC06}, demo.Options{OIDC: demo.OIDC20}, demo.Options{OIDC: demo.NoOIDC}
	set := func(kv ...string) func(*clinic) {
		return func(c *clinic) {
			for i := 0; i < len(kv); i += 2 {
				c.env[kv[i]] = strings.ReplaceAll(kv[i+1], "{base}", c.env["NEXTCLOUD_BASE_URL"])
			}
		}
	}
	said := func(path string, status int, body string) func(*clinic) {
		return func(c *clinic) {
			c.serve = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != path {
					return false
				}
				w.WriteHeader(status)
				w.Write([]byte(body))
				return true
			}
		}
	}
	mailApp := func(status int, body string) func(*clinic) {
		return func(c *clinic) {
			set("NEXTCLOUD_IMAP_URL", "", "NEXTCLOUD_SMTP_URL", "", "ANTEROOM_INTEGRATIONS_MAIL_CA_FILE", "", "ANTEROOM_INTEGRATIONS_MAIL_NEXTCLOUD_ACCOUNT", "3",
				"NEXTCLOUD_EMAIL_USERNAME", c.env["NEXTCLOUD_WEBDAV_USERNAME"], "NEXTCLOUD_EMAIL_PASSWORD", c.env["NEXTCLOUD_WEBDAV_PASSWORD"])(c)
			if status != 0 {
				said("/ocs/v2.php/apps/mail/account/list", status, body)(c)
			}
		}
	}
	for _, tc := range []struct {
		name   string
		with   demo.Options
		breaks func(*clinic)
		line   string // that fails, or that is to look at
		state  doctor.State
		remedy string // a part of it
	}{
		{"nothing, oidc 2.0", oidc20, set(), "", "", ""},
		{"nothing, oidc 0.6", oidc06, set(), "", "", ""},
		{"nothing, built-in", builtIn, set(), "", "", ""},
		{"configuration", oidc20, set("ANTEROOM_SESSION_LIFETIME", "forever"), "configuration", doctor.Failed, "anteroom check"},
		{"DNS", oidc20, set("NEXTCLOUD_BASE_URL", "https://nobody.invalid:8080"), doctor.Address, doctor.Failed, "NEXTCLOUD_BASE_URL"},
		{"TCP", oidc20, set("NEXTCLOUD_BASE_URL", "http://"+freeAddr(t)), doctor.Connection, doctor.Failed, "nextcloud.connect_to"},
		{"authority", oidc20, set("NEXTCLOUD_BASE_URL", selfSigned.URL), doctor.Certificate, doctor.Failed, "nextcloud.ca_file"},
		{"name in the certificate", oidc20, set("NEXTCLOUD_BASE_URL", "https://cloud.invalid", "ANTEROOM_NEXTCLOUD_CONNECT_TO", strings.TrimPrefix(selfSigned.URL, "https://"), "ANTEROOM_NEXTCLOUD_CA_FILE", pinned), doctor.Certificate, doctor.Failed, "NEXTCLOUD_BASE_URL"},
		{"pins", oidc20, set("NEXTCLOUD_BASE_URL", selfSigned.URL, "ANTEROOM_NEXTCLOUD_CA_FILE", pinned, "ANTEROOM_NEXTCLOUD_PINS", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=, LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="), doctor.Certificate, doctor.Failed, "nextcloud.pins"},
		{"clock", oidc20, func(c *clinic) {
			c.answer = func(r *http.Response) error {
				r.Header.Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
				return nil
			}
		}, "clock", doctor.Failed, "NTP"},
		{"maintenance", oidc20, func(c *clinic) { c.cloud.SetMaintenance(true) }, doctor.Status, doctor.Failed, "occ maintenance:mode --off"},
		{"another server", oidc20, said("/status.php", 404, "not found"), doctor.Status, doctor.Failed, "NEXTCLOUD_BASE_URL"},
		{"untrusted domain", oidc20, said("/status.php", 400, `{"error":"Trusted domain error.","code":15}`), doctor.Status, doctor.Failed, "trusted_domains"},
		{"not installed", oidc20, said("/status.php", 200, `{"installed":false}`), doctor.Status, doctor.Failed, "installation"},
		{"no OpenID Connect", builtIn, set("ANTEROOM_SIGNIN_PROVIDER", "oidc"), doctor.Provider, doctor.Failed, "signin.provider"},
		{"issuer", oidc20, set("NEXTCLOUD_OIDC_ISSUER", "{base}/other"), "issuer", doctor.Failed, "NEXTCLOUD_OIDC_ISSUER"},
		{"secret", oidc20, set("NEXTCLOUD_CLIENT_SECRET", "wrong"), "client", doctor.Failed, "NEXTCLOUD_CLIENT_SECRET"},
		{"redirect URI, built-in", builtIn, set("NEXTCLOUD_REDIRECT_URI", "", "ANTEROOM_SERVER_PUBLIC_URL", "http://localhost:9999"), "redirect URI", doctor.Failed, "NEXTCLOUD_REDIRECT_URI"},
		{"client, built-in", builtIn, set("NEXTCLOUD_CLIENT_ID", "nobody"), "redirect URI", doctor.Failed, "NEXTCLOUD_CLIENT_ID"},
		{"keys", oidc20, said("/index.php/apps/oidc/jwks", 200, `{"keys":[]}`), "signing keys", doctor.Failed, "signing keys"},
		{"WebDAV password", oidc20, set("NEXTCLOUD_WEBDAV_PASSWORD", "wrong"), "WebDAV", doctor.Failed, "NEXTCLOUD_WEBDAV_PASSWORD"},
		{"WebDAV path", oidc20, set("NEXTCLOUD_WEBDAV_URL", "{base}/dav"), "WebDAV", doctor.Failed, "/remote.php/dav, not /webdav or /dav"},
		{"WebDAV, Method not allowed", oidc20, func(c *clinic) {
			set("NEXTCLOUD_WEBDAV_URL", "{base}/webdav")(c)
			said("/webdav", 405, "")(c)
		}, "WebDAV", doctor.Failed, "NEXTCLOUD_WEBDAV_URL"},
		{"old WebDAV", oidc20, set("NEXTCLOUD_WEBDAV_URL", "{base}/remote.php/webdav"), "WebDAV", doctor.Warning, "/remote.php/dav"},
		{"calendar", oidc20, set("NEXTCLOUD_CALDAV_URL", "{base}/remote.php/dav/calendars/nobody/x"), "CalDAV", doctor.Failed, "NEXTCLOUD_CALDAV_URL"},
		{"address of a server without TLS", oidc20, func(c *clinic) {
			c.env["NEXTCLOUD_CARDDAV_URL"] = strings.Replace(c.env["NEXTCLOUD_BASE_URL"], "http:", "https:", 1) + "/remote.php/dav"
		}, "CardDAV", doctor.Failed, "host and port in integrations.carddav.url"},
		{"scope", oidc20, set("ANTEROOM_INTEGRATIONS_WEBDAV_SCOPE", "/files/testdoc/Nöwhere"), "WebDAV", doctor.Failed, "INTEGRATIONS_WEBDAV_SCOPE"},
		{"a scope that is there", oidc20, set("ANTEROOM_INTEGRATIONS_WEBDAV_SCOPE", "/files/testdoc/Documents", "ANTEROOM_INTEGRATIONS_CALDAV_SCOPE", "/testdoc/personal"), "", "", ""},
		{"everybody's own scope", oidc20, set("ANTEROOM_INTEGRATIONS_WEBDAV_SCOPE", "/files/testdoc/{user}"), "", "", ""},
		{"address books", oidc20, set("NEXTCLOUD_CARDDAV_PASSWORD", "wrong"), "CardDAV", doctor.Failed, "NEXTCLOUD_CARDDAV_PASSWORD"},
		{"user password", oidc20, set("NEXTCLOUD_WEBDAV_PASSWORD", demo.DefaultPassword), "app password for WebDAV", doctor.Warning, "NEXTCLOUD_WEBDAV_PASSWORD"},
		{"directory", oidc20, set("NEXTCLOUD_ADMIN_USER", "nurse", "NEXTCLOUD_ADMIN_PASSWORD", "nurse123"), "directory", doctor.Failed, "NEXTCLOUD_ADMIN_USER"},
		{"directory's password", oidc20, set("NEXTCLOUD_ADMIN_PASSWORD", "wrong"), "directory", doctor.Failed, "NEXTCLOUD_ADMIN_PASSWORD"},
		{"directory's address", oidc20, set("ANTEROOM_INTEGRATIONS_DIRECTORY_URL", "{base}/elsewhere"), "directory", doctor.Failed, "INTEGRATIONS_DIRECTORY_URL"},
		{"directory at another server", oidc20, set("ANTEROOM_INTEGRATIONS_DIRECTORY_URL", "http://"+freeAddr(t)), "directory", doctor.Failed, "host and port in integrations.directory.url"},
		{"directory in trouble", oidc20, said("/ocs/v2.php/cloud/users", 500, ""), "directory", doctor.Failed, "nextcloud.log"},
		{"IMAP address", oidc20, set("NEXTCLOUD_IMAP_URL", "imaps://"+freeAddr(t)), "IMAP", doctor.Failed, "NEXTCLOUD_IMAP_URL"},
		{"IMAP without TLS", oidc20, func(c *clinic) {
			c.env["NEXTCLOUD_IMAP_URL"] = strings.Replace(c.env["NEXTCLOUD_BASE_URL"], "http:", "imap:", 1)
		}, "IMAP", doctor.Failed, "NEXTCLOUD_IMAP_URL"},
		{"mail certificate", oidc20, func(c *clinic) {
			c.env["ANTEROOM_INTEGRATIONS_MAIL_CA_FILE"] = pinned
			c.env["NEXTCLOUD_SMTP_URL"] = ""
		}, "IMAP", doctor.Failed, "integrations.mail.ca_file"},
		{"mail password", oidc20, set("NEXTCLOUD_EMAIL_PASSWORD", "wrong", "NEXTCLOUD_SMTP_URL", ""), "IMAP", doctor.Failed, "NEXTCLOUD_EMAIL_PASSWORD"},
		{"SMTP password", oidc20, set("NEXTCLOUD_EMAIL_PASSWORD", "wrong", "NEXTCLOUD_IMAP_URL", ""), "SMTP", doctor.Failed, "NEXTCLOUD_EMAIL_PASSWORD"},
		{"SMTP address", oidc20, set("NEXTCLOUD_SMTP_URL", "smtps://"+freeAddr(t)), "SMTP", doctor.Failed, "NEXTCLOUD_SMTP_URL"},
		{"no Mail app", oidc20, mailApp(0, ""), "Mail app", doctor.Failed, "NEXTCLOUD_IMAP_URL"},
		{"Mail app", oidc20, mailApp(200, `{"ocs":{"data":[{"id":1,"email":"a@example.com"},{"id":3,"email":"b@example.com"}]}}`), "", "", ""},
		{"Mail app's account", oidc20, mailApp(200, `{"ocs":{"data":[{"id":1},{"id":4}]}}`), "Mail app", doctor.Failed, "MAIL_NEXTCLOUD_ACCOUNT) to one that is there: 1, 4."},
		{"Mail app without accounts", oidc20, mailApp(200, `{"ocs":{"data":[]}}`), "Mail app", doctor.Failed, "MAIL_NEXTCLOUD_ACCOUNT"},
		{"Mail app's user", oidc20, mailApp(401, `{"ocs":{"meta":{"statuscode":997},"data":[]}}`), "Mail app", doctor.Failed, "NEXTCLOUD_EMAIL_PASSWORD"},
		{"Mail app in trouble", oidc20, mailApp(500, ""), "Mail app", doctor.Failed, "nextcloud.log"},
		{"Redis", oidc20, set("ANTEROOM_SESSION_REDIS_URL", "redis://"+freeAddr(t)), "Redis", doctor.Failed, "session.redis.url"},
		{"Redis user with the least rights", oidc20, func(c *clinic) {
			s := redistest.Start(c.T, redistest.Options{Users: map[string]string{"anteroom": "on >pw " + strings.Replace(redistest.ACL, " +info", "", 1)}})
			c.env["ANTEROOM_SESSION_REDIS_URL"] = "redis://anteroom:pw@" + s.Addr
		}, "", "", ""},
		{"Redis user with too few", oidc20, func(c *clinic) {
			s := redistest.Start(c.T, redistest.Options{Users: map[string]string{"anteroom": "on >pw ~anteroom:* +get"}})
			c.env["ANTEROOM_SESSION_REDIS_URL"] = "redis://anteroom:pw@" + s.Addr
		}, "Redis", doctor.Failed, "docs/sessions.md"},
		{"replicas that cannot be waited for", oidc20, func(c *clinic) {
			s := redistest.Start(c.T, redistest.Options{Users: map[string]string{"anteroom": "on >pw " + strings.Replace(redistest.ACL, " +wait", "", 1)}})
			s.Replicate()
			c.env["ANTEROOM_SESSION_REDIS_URL"] = "redis://anteroom:pw@" + s.Addr
		}, "Redis", doctor.Warning, "+wait"},
		{"eviction", oidc20, func(c *clinic) {
			s := redistest.Start(c.T, redistest.Options{Args: []string{"--maxmemory", "10mb", "--maxmemory-policy", "allkeys-lru"}})
			c.env["ANTEROOM_SESSION_REDIS_URL"] = "redis://" + s.Addr
		}, "Redis", doctor.Failed, "noeviction"},
		{"WebDAV password in a file", oidc20, func(c *clinic) {
			file := filepath.Join(c.TempDir(), "password")
			if err := os.WriteFile(file, []byte("wrong"), 0o600); err != nil {
				c.Fatal(err)
			}
			set("NEXTCLOUD_WEBDAV_PASSWORD", "", "NEXTCLOUD_WEBDAV_PASSWORD_FILE", file)(c)
		}, "WebDAV", doctor.Failed, "the file of integrations.webdav.password_file (NEXTCLOUD_WEBDAV_PASSWORD_FILE)"},
		{"WebDAV password, half exchanged", oidc20, func(c *clinic) {
			file := filepath.Join(c.TempDir(), "password")
			for _, name := range []string{file, file + ".new"} {
				if err := os.WriteFile(name, []byte("wrong"), 0o600); err != nil {
					c.Fatal(err)
				}
			}
			set("NEXTCLOUD_WEBDAV_PASSWORD", "", "NEXTCLOUD_WEBDAV_PASSWORD_FILE", file)(c)
		}, "WebDAV", doctor.Failed, "(NEXTCLOUD_WEBDAV_PASSWORD_FILE; an exchange of it was broken off: anteroom connect rotate"},
		{"a service account that is not used", oidc20, set("NEXTCLOUD_CARDDAV_PASSWORD", "wrong", "ANTEROOM_INTEGRATIONS_CARDDAV_CREDENTIAL", "user"), "", "", ""},
		{"the application is the site", oidc20, func(c *clinic) {
			site := c.listen(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"reason":"no_route"}`) }))
			c.cloud.AddRedirectURI(demo.DefaultClientID, site+"/auth/callback")
			set("NEXTCLOUD_REDIRECT_URI", site+"/auth/callback", "ANTEROOM_UPSTREAM", site)(c)
		}, "application at ", doctor.Warning, "ANTEROOM_UPSTREAM"},
		{"persistence", oidc20, func(c *clinic) {
			s := redistest.Start(c.T, redistest.Options{Args: []string{"--appendonly", "no"}})
			c.env["ANTEROOM_SESSION_REDIS_URL"] = "redis://" + s.Addr
		}, "Redis", doctor.Warning, "appendonly"},
		{"application", oidc20, set("ANTEROOM_UPSTREAM", "http://"+freeAddr(t)), "application at ", doctor.Failed, "ANTEROOM_UPSTREAM"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := openClinic(t, tc.with)
			tc.breaks(c)
			found, _, err := c.look("--json")
			fails := tc.state == doctor.Failed
			if (err != nil) != fails {
				t.Errorf("doctor = %v, want an error: %v", err, fails)
			}
			hit := tc.line == ""
			for _, f := range found {
				switch {
				case tc.line != "" && strings.HasPrefix(f.Name, tc.line) && f.State == tc.state:
					hit = true
					if !strings.Contains(f.Remedy, tc.remedy) {
						t.Errorf("%s: the remedy is %q, want one that names %q", f.Name, f.Remedy, tc.remedy)
					}
				case f.State == doctor.Failed, f.State == doctor.Warning && f.Name != "Redis":
					t.Errorf("%s is %s, too: %s → %s", f.Name, f.State, f.Detail, f.Remedy)
				}
				if (f.State == doctor.Failed || f.State == doctor.Warning) && f.Remedy == "" {
					t.Errorf("%s is %s, and nothing is said to do about it", f.Name, f.State)
				}
			}
			if !hit {
				t.Errorf("%q is not %s: %+v", tc.line, tc.state, found)
			}
		})
	}
}

// TestDoctorOnFrontProxies: what stands before Anteroom, and what it does to
// requests and answers.
func TestDoctorOnFrontProxies(t *testing.T) {
	const headers, cookies = "headers through the front proxy", "cookies through the front proxy"
	for _, tc := range []struct {
		name    string
		rewrite func(r *httputil.ProxyRequest)
		answer  func(*http.Response) error
		env     []string
		line    string
		state   doctor.State
		remedy  string
	}{
		{"as it should be", func(r *httputil.ProxyRequest) { r.SetXForwarded() }, nil, []string{"ANTEROOM_SERVER_TRUSTED_PROXIES", "127.0.0.2"}, headers, doctor.OK, ""},
		{"looked at from within", func(r *httputil.ProxyRequest) { r.SetXForwarded() }, nil, []string{"ANTEROOM_SERVER_TRUSTED_PROXIES", "127.0.0.0/8"}, headers, doctor.Unknown, ""},
		{"not trusted", func(r *httputil.ProxyRequest) { r.SetXForwarded() }, nil, nil, headers, doctor.Warning, "127.0.0.2 in server.trusted_proxies"},
		{"Host changed", func(r *httputil.ProxyRequest) { r.Out.Host = "backend" }, nil, nil, headers, doctor.Failed, "proxy_set_header Host"},
		{"passes on what clients say", func(r *httputil.ProxyRequest) {
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			r.Out.Header.Set("X-Forwarded-Proto", "http")
		}, nil, []string{"ANTEROOM_SERVER_TRUSTED_PROXIES", "127.0.0.2"}, headers, doctor.Failed, "server.trusted_proxies"},
		{"drops cookies", func(r *httputil.ProxyRequest) { r.Out.Header.Del("Cookie") }, nil, nil, cookies, doctor.Failed, "Cookie"},
		{"drops Set-Cookie", nil, func(r *http.Response) error { r.Header.Del("Set-Cookie"); return nil }, nil, cookies, doctor.Failed, "Set-Cookie"},
		{"changes cookies", nil, func(r *http.Response) error {
			r.Header.Set("Set-Cookie", strings.Replace(r.Header.Get("Set-Cookie"), "Path=/auth/mirror", "Path=/app", 1))
			return nil
		}, nil, cookies, doctor.Failed, "proxy_cookie_path"},
		{"small buffers", nil, func(r *http.Response) error {
			n := 0
			for name, values := range r.Header {
				n += len(name) + len(strings.Join(values, ""))
			}
			if n > 4096 {
				r.StatusCode, r.Body, r.Header, r.ContentLength = 502, http.NoBody, http.Header{}, 0
			}
			return nil
		}, []string{"ANTEROOM_SESSION_STORE", "cookie", "ANTEROOM_SESSION_REDIS_URL", ""}, cookies, doctor.Failed, "proxy_buffer_size"},
		{"another server", func(r *httputil.ProxyRequest) { r.Out.URL.Path = "/auth/login" }, nil, nil, "site", doctor.Failed, "server.public_url"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := openClinic(t, demo.Options{OIDC: demo.OIDC20})
			behind, _ := url.Parse("http://" + c.env["ANTEROOM_SERVER_LISTEN"])
			front := c.listen(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(behind)
				r.Out.Host = r.In.Host
				r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"] // which SetXForwarded appends to
				if tc.rewrite != nil {
					tc.rewrite(r)
				}
			}, ModifyResponse: tc.answer, Transport: &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext}})
			c.env["NEXTCLOUD_REDIRECT_URI"] = front + "/auth/callback"
			c.cloud.AddRedirectURI(demo.DefaultClientID, front+"/auth/callback")
			for i := 0; i < len(tc.env); i += 2 {
				c.env[tc.env[i]] = tc.env[i+1]
			}
			c.opens()
			found, text, _ := c.look("--json")
			i := slices.IndexFunc(found, func(f doctor.Finding) bool { return f.Name == tc.line })
			if i < 0 || found[i].State != tc.state || !strings.Contains(found[i].Remedy, tc.remedy) {
				t.Errorf("%s is not %s with %q:\n%s", tc.line, tc.state, tc.remedy, text)
			}
		})
	}
}

// TestDoctorWithoutKeys: what was not asked is not said to have failed.
func TestDoctorWithoutKeys(t *testing.T) {
	c := openClinic(t, demo.Options{OIDC: demo.OIDC20})
	c.env["ANTEROOM_SESSION_STORE"], c.env["ANTEROOM_SESSION_REDIS_URL"], c.env["ANTEROOM_SESSION_KEYS"] = "memory", "", ""
	found, text, err := c.look("--json")
	for _, line := range []string{"headers through the front proxy", "cookies through the front proxy"} {
		if !slices.ContainsFunc(found, func(f doctor.Finding) bool { return f.Name == line && strings.Contains(f.Detail, "session.keys") }) || err != nil {
			t.Errorf("%s does not name session.keys: %v\n%s", line, err, text)
		}
	}
}

// TestDoctorAsPeopleSeeIt holds both outcomes against what they should look
// like.
func TestDoctorAsPeopleSeeIt(t *testing.T) {
	for _, name := range []string{"well", "ill"} {
		c := openClinic(t, demo.Options{OIDC: demo.OIDC20})
		c.opens()
		if name == "ill" {
			c.env["NEXTCLOUD_CLIENT_SECRET"], c.env["NEXTCLOUD_WEBDAV_PASSWORD"] = "wrong", "wrong, too"
			c.env["NEXTCLOUD_CALDAV_PASSWORD"] = "wrong, too"
			c.env["ANTEROOM_UPSTREAM"] = "http://" + freeAddr(t)
		}
		_, text, err := c.look()
		if (err != nil) != (name == "ill") {
			t.Errorf("%s: %v", name, err)
		}
		text = regexp.MustCompile(`(localhost|127\.0\.0\.1):\d+`).ReplaceAllString(text, "$1:PORT")
		text = regexp.MustCompile(`in [\d.]+(ms|µs|s)`).ReplaceAllString(text, "in TIME")
		text = regexp.MustCompile(`version \d+\.\d+\.\d+, answers`).ReplaceAllString(text, "version N, answers")
		file := filepath.Join("testdata", "doctor", name+".txt")
		if os.Getenv("UPDATE") != "" {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), text); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

// TestReadinessInDetail: the admin listener says what the doctor would, but for
// what takes a password to find out.
func TestReadinessInDetail(t *testing.T) {
	c := openClinic(t, demo.Options{OIDC: demo.OIDC20})
	c.opens()
	c.cloud.SetMaintenance(true)
	refused := c.cloud.FailedLogins()
	status, body := get(t, "http://"+c.env["ANTEROOM_SERVER_ADMIN_LISTEN"]+"/readyz?verbose")
	var said struct {
		Ready    bool
		Checks   map[string]string
		Findings []doctor.Finding
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	i := slices.IndexFunc(said.Findings, func(f doctor.Finding) bool { return f.Name == doctor.Status })
	if i < 0 || said.Findings[i].State != doctor.Failed || len(said.Findings) < 9 {
		t.Errorf("readyz?verbose = %s", body)
	}
	if n := c.cloud.FailedLogins() - refused; n > 0 || strings.Contains(body, "WebDAV") {
		t.Errorf("it showed passwords, %d of which were wrong: %s", n, body)
	}
}

// TestMirrorIsForDoctors: nobody without the site's keys learns how requests
// arrive.
func TestMirrorIsForDoctors(t *testing.T) {
	w := found(t, demo.Options{})
	for _, header := range []string{"", "x", strings.Repeat("x", 4000)} {
		resp, body := w.ask(nil, "GET", "/auth/mirror", "", "Anteroom-Mirror: "+header)
		if resp.StatusCode != http.StatusNotFound || strings.Contains(body, "Peer") || len(resp.Cookies()) > 0 {
			t.Errorf("mirror with %.10q = %d %s", header, resp.StatusCode, body)
		}
	}
}
