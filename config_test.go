package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"anteroom/integrations"
	"anteroom/proxy"
	"anteroom/proxy/authz"
	"anteroom/session"
)

// env is an environment; load loads a configuration in it.
type env map[string]string

func (e env) load(path string, explicit bool) (*Config, []Fault) {
	var environ []string
	for k, v := range e {
		environ = append(environ, k+"="+v)
	}
	slices.Sort(environ)
	return loadConfig(path, explicit, func(name string) (string, bool) { v, ok := e[name]; return v, ok }, environ)
}

// smallest is the least that makes a configuration whole.
func smallest() env {
	return env{
		"NEXTCLOUD_BASE_URL":     "https://cloud.example.com",
		"NEXTCLOUD_CLIENT_ID":    "abc",
		"NEXTCLOUD_REDIRECT_URI": "https://app.example.com/auth/callback",
		"ANTEROOM_UPSTREAM":      "http://localhost:8001",
	}
}

func (e env) with(more env) env {
	all := env{}
	for _, m := range []env{e, more} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

func mustLoad(t *testing.T, e env, path string) *Config {
	t.Helper()
	c, faults := e.load(path, path != "")
	if len(faults) > 0 || c == nil {
		t.Fatalf("loadConfig(%q) = faults, want none:\n%s", path, faultText(faults))
	}
	return c
}

func faultText(faults []Fault) string {
	var b bytes.Buffer
	writeFaults(&b, faults)
	return b.String()
}

// TestBadConfigurations compares everything that is said about each file of
// testdata/config/bad with the .txt beside it.
func TestBadConfigurations(t *testing.T) {
	t.Chdir("testdata/config/bad")
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("files = %v, %v, want some", files, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			want, err := os.ReadFile(strings.TrimSuffix(name, ".yaml") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			c, faults := env{}.load(name, true)
			if c != nil {
				t.Errorf("loadConfig(%s) = a configuration, want none", name)
			}
			got := faultText(faults)
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("faults of %s (-want +got):\n%s", name, diff)
			}
			if strings.Contains(got, "canary") {
				t.Errorf("faults of %s show a secret:\n%s", name, got)
			}
		})
	}
}

func TestSmallestConfiguration(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  env
		file string
	}{
		{"by environment", smallest(), ""},
		{"by file", nil, "testdata/config/good/smallest.yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, tt.env, tt.file)
			want := map[string]string{
				c.Server.PublicURL:         "https://app.example.com",
				c.SignIn.RedirectURI:       "https://app.example.com/auth/callback",
				c.SignIn.Issuer:            "https://cloud.example.com",
				c.Nextcloud.URL:            "https://cloud.example.com",
				c.Server.Listen:            ":8000",
				c.Identity.JWT.Algorithm:   "ES256",
				c.Integrations.WebDAV.URL:  "https://cloud.example.com/remote.php/dav",
				c.Integrations.CardDAV.URL: "https://cloud.example.com/remote.php/dav/addressbooks",
			}
			for got, want := range want {
				if got != want {
					t.Errorf("value = %q, want %q", got, want)
				}
			}
			if c.Session.IdleTimeout != time.Hour || c.Session.Lifetime != 12*time.Hour {
				t.Errorf("session = %v, %v, want 1h, 12h", c.Session.IdleTimeout, c.Session.Lifetime)
			}
			routes := []proxy.Route{{Sign: "none", Path: "/", Upstream: "http://localhost:8001"}}
			if diff := cmp.Diff(routes, c.Routes); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWholeConfiguration(t *testing.T) {
	t.Chdir("testdata/config/good")
	c := mustLoad(t, nil, "voiceassist.yaml")
	routes := []proxy.Route{
		{Sign: "none", Path: "/docs", Methods: []string{"GET", "HEAD"}, Upstream: "http://voiceassist:8000", Allow: authz.Allow{Public: true}},
		{Sign: "none", Path: "/api/realtime", Upstream: "http://voiceassist:8000", JWTInQuery: true},
		{Sign: "none", Path: "/admin", Upstream: "unix:/run/admin.sock", Audience: "admin", Allow: authz.Allow{Groups: []string{"admin"}, Users: []string{"root", "testdoc"}}},
		{Sign: "none", Path: "/", Host: "voice.example.com", Upstream: "h2c://voice:8001"},
		{Sign: "none", Path: "/", Upstream: "http://voiceassist:8000"},
	}
	keys := []session.Secret{"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="}
	account := integrations.DAV{URL: "https://cloud.example.com/nextcloud/remote.php/dav/addressbooks", Username: "svc", Password: "canary-dav-password", Mount: "/contacts", Credential: "service"}
	for _, tt := range []struct {
		key       string
		got, want any
	}{
		{"routes", c.Routes, routes},
		{"nextcloud.url", c.Nextcloud.URL, "https://cloud.example.com/nextcloud"},
		{"signin.issuer", c.SignIn.Issuer, "https://cloud.example.com/nextcloud/"},
		{"signin.redirect_uri", c.SignIn.RedirectURI, "https://voiceassist.example.com/auth/callback"},
		{"signin.client_id", c.SignIn.ClientID, "0123"},
		{"signin.client_secret", c.SignIn.ClientSecret, session.Secret("canary-client-secret")},
		{"signin.allowed_groups", c.SignIn.AllowedGroups, []string{"doctors", "nurses, ward 3"}},
		{"server.public_url", c.Server.PublicURL, "https://voiceassist.example.com"},
		{"server.hosts", c.Server.Hosts, []string{"voice.example.com", "localhost:8000"}},
		{"server.allowed_origins", c.Server.AllowedOrigins, []string{"https://admin.example.com"}},
		{"session.keys", c.Session.Keys, keys},
		{"session.cookie.domain", c.Session.Cookie.Domain, "example.com"},
		{"identity.headers.name", c.Identity.Headers.Name, ""},
		{"identity.headers.email", c.Identity.Headers.Email, ""},
		{"identity.jwt.secret", c.Identity.JWT.Secret, session.Secret("canary-jwt-secret-canary-jwt-secret")},
		{"identity.jwt.claims", c.Identity.JWT.Claims, map[string]string{"type": "access", "version": "1"}},
		{"identity.jwt.roles", c.Identity.JWT.Roles, map[string]string{"on call, nights": "physician"}},
		{"identity.strip", c.Identity.Strip, []string{}},
		{"integrations.carddav", c.Integrations.CardDAV, account},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.key, diff)
		}
	}
}

func TestRoutesWithoutTopLevelUpstreamStandAlone(t *testing.T) {
	c := mustLoad(t, nil, "testdata/config/good/routes-alone.yaml")
	want := []proxy.Route{{Sign: "none", Path: "/a", Upstream: "http://localhost:1"}}
	if diff := cmp.Diff(want, c.Routes); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

// TestPrintedConfigurationLoadsAgain: what check --print-config prints means
// the same, and shows no secret.
func TestPrintedConfigurationLoadsAgain(t *testing.T) {
	t.Chdir("testdata/config/good")
	for _, name := range []string{"smallest.yaml", "voiceassist.yaml", "routes-alone.yaml"} {
		c := mustLoad(t, nil, name)
		text := redactedConfig(c)
		if strings.Contains(text, "canary") || strings.Contains(text, "AAEC") {
			t.Errorf("redactedConfig(%s) shows a secret:\n%s", name, text)
		}
		// Secrets have to be given again; [redacted] is neither a key nor long enough.
		secrets := env{}
		if len(c.Session.Keys) > 0 {
			secrets["ANTEROOM_SESSION_KEYS_FILE"], secrets["ANTEROOM_IDENTITY_JWT_SECRET_FILE"] = "../secrets/keys", "../secrets/jwt"
			secrets["ANTEROOM_SIGNIN_CLIENT_SECRET_FILE"] = "../secrets/client"
			secrets["ANTEROOM_INTEGRATIONS_CALDAV_PASSWORD_FILE"], secrets["ANTEROOM_INTEGRATIONS_CARDDAV_PASSWORD_FILE"] = "../secrets/dav", "../secrets/dav"
		}
		file := filepath.Join(t.TempDir(), "printed.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		equateEmpty := cmp.FilterPath(func(p cmp.Path) bool { k := p.Last().Type().Kind(); return k == reflect.Slice || k == reflect.Map },
			cmp.FilterValues(func(a, b any) bool { return reflect.ValueOf(a).Len()+reflect.ValueOf(b).Len() == 0 }, cmp.Ignore()))
		if diff := cmp.Diff(c, mustLoad(t, secrets, file), equateEmpty); diff != "" {
			t.Errorf("%s printed and loaded again (-want +got):\n%s", name, diff)
		}
	}
}

// TestPrintedQueries: tokens are kept in queries of URLs, too.
func TestPrintedQueries(t *testing.T) {
	for text, want := range map[string]string{
		"https://collector/x?token=canary-a&plain&b=": "https://collector/x?token=[redacted]&[redacted]&b=[redacted]",
		"http://localhost:1/?canary":                  "http://localhost:1/?[redacted]",
		"https://collector/x":                         "https://collector/x",
		"what is it?":                                 "what is it?",
	} {
		c := mustLoad(t, nil, "testdata/config/good/smallest.yaml")
		c.Audit.Output, c.Audit.Copies = text, []string{text}
		if printed := redactedConfig(c); strings.Contains(printed, "canary") || strings.Count(printed, want) != 2 {
			t.Errorf("%s is printed as\n%s\nwant %s", text, printed, want)
		}
	}
}

func TestFileNotThere(t *testing.T) {
	t.Chdir(t.TempDir())
	mustLoad(t, smallest(), "")
	if _, faults := smallest().load("config.yaml", false); len(faults) > 0 {
		t.Errorf("loadConfig(absent, not asked for) = %s, want no fault", faultText(faults))
	}
	_, faults := smallest().load("config.yaml", true)
	if got, want := faultText(faults), "config.yaml: cannot be read: no such file or directory\n"; got != want {
		t.Errorf("loadConfig(absent, asked for) = %q, want %q", got, want)
	}
	if err := os.WriteFile("large.yaml", bytes.Repeat([]byte("#"), maxConfigBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, faults = smallest().load("large.yaml", true)
	if got, want := faultText(faults), "large.yaml: cannot be read: is larger than 1024 KiB\n"; got != want {
		t.Errorf("loadConfig(large) = %q, want %q", got, want)
	}
}

// TestEveryKeyIsDocumented: each leaf has a doc tag and its own variables, and
// each default is one of the words it may be.
func TestEveryKeyIsDocumented(t *testing.T) {
	seen := map[string]string{}
	for _, k := range configReference() {
		if k.Doc == "" {
			t.Errorf("%s has no doc tag, want one", k.Path)
		}
		if k.Default != "" && len(k.OneOf) > 0 && !slices.Contains(k.OneOf, k.Default) {
			t.Errorf("%s has the default %q, want one of %v", k.Path, k.Default, k.OneOf)
		}
		names := []string{k.Env}
		if k.Secret {
			names = append(names, k.Env+"_FILE")
		}
		for _, n := range names {
			if other := seen[n]; n != "" && other != "" {
				t.Errorf("%s is the variable of %s and %s, want one key", n, k.Path, other)
			}
			seen[n] = k.Path
		}
	}
	for _, g := range guideNames() {
		if seen[envName(g.key)] == "" {
			t.Errorf("%s stands for %s, which is no key", g.name, g.key)
		}
	}
}

// TestDefaultFile: config.yaml as it stands changes nothing, and names every
// key there is.
func TestDefaultFile(t *testing.T) {
	if diff := cmp.Diff(mustLoad(t, smallest(), ""), mustLoad(t, smallest(), "config.yaml")); diff != "" {
		t.Errorf("config.yaml against the defaults (-defaults +file):\n%s", diff)
	}
	text, err := os.ReadFile("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// A key without a default is commented out, with no space after the #.
	text = regexp.MustCompile(`(?m)^( *)#([^ #\n])`).ReplaceAll(text, []byte("$1$2"))
	var root map[string]any
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatalf("config.yaml with every key in force: %v", err)
	}
	named := map[string]bool{}
	gather(root, "", named)
	for _, k := range configReference() {
		if !named[k.Path] {
			t.Errorf("config.yaml does not name %s, want every key", k.Path)
		}
	}
	_, faults := parseConfig("config.yaml", text, func(string) (string, bool) { return "", false }, nil)
	for _, f := range faults {
		if strings.Contains(f.Problem, "not a key") || f.Key == "" {
			t.Errorf("config.yaml with every key in force: %s", f)
		}
	}
}

func gather(v any, path string, named map[string]bool) {
	named[path] = true
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			gather(x, join(path, k), named)
		}
	case []any:
		for _, x := range v {
			gather(x, path+"[]", named)
		}
	}
}

// FuzzLoadConfig: whatever a file says, there is a configuration or there are
// faults, never both or neither, and a configuration can be printed.
func FuzzLoadConfig(f *testing.F) {
	for _, pattern := range []string{"testdata/config/*/*.yaml", "config.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte("/dev/")) || bytes.Contains(data, []byte("/proc/")) {
			t.Skip("names what is no file")
		}
		c, faults := parseConfig("fuzz.yaml", data, func(string) (string, bool) { return "", false }, nil)
		if (c == nil) != (len(faults) > 0) {
			t.Fatalf("parseConfig = %v with %d faults, want one or the other", c != nil, len(faults))
		}
		for _, f := range faults {
			if s := f.String(); strings.ContainsAny(s, "\n\x00") {
				t.Errorf("fault %q is more than a line", s)
			}
		}
		if c != nil && redactedConfig(c) == "" {
			t.Error("redactedConfig = nothing, want the configuration")
		}
	})
}

// TestEveryDocumentedVariable is one: of each key that the reference gives a
// variable, the loader knows it.
func TestEveryDocumentedVariable(t *testing.T) {
	known := map[string]bool{}
	for _, l := range leaves(reflect.ValueOf(&Config{}).Elem(), "") {
		known[envName(l.path)] = true
	}
	for _, k := range configReference() {
		if k.Env != "" && !known[k.Env] {
			t.Errorf("%s has the variable %s in the reference, which nobody reads", k.Path, k.Env)
		}
	}
}

// TestAllowInVariables: its members have variables, each beside the others.
func TestAllowInVariables(t *testing.T) {
	cfg, faults := smallest().with(env{"NEXTCLOUD_WEBDAV_USERNAME": "svc", "NEXTCLOUD_WEBDAV_PASSWORD": "x",
		"ANTEROOM_INTEGRATIONS_WEBDAV_ALLOW_GROUPS": "doctors, nurses", "ANTEROOM_INTEGRATIONS_WEBDAV_ALLOW_USERS": "ada"}).load("", false)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	want := authz.Allow{Groups: []string{"doctors", "nurses"}, Users: []string{"ada"}}
	if diff := cmp.Diff(want, cfg.Integrations.WebDAV.Allow); diff != "" {
		t.Errorf("allow (-want +got)\n%s", diff)
	}
}
