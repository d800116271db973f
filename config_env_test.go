package main

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anteroom/proxy"
	"anteroom/proxy/authz"
	"anteroom/session"
)

func TestEnvironment(t *testing.T) {
	t.Chdir("testdata/config/good")
	for _, tt := range []struct {
		name, value string
		got         func(*Config) any
		want        any
	}{
		{"ANTEROOM_UPSTREAM", "h2c://app:9", func(c *Config) any { return c.Upstream }, "h2c://app:9"},
		{"ANTEROOM_NEXTCLOUD_URL", "https://b.example.com", func(c *Config) any { return c.Nextcloud.URL }, "https://b.example.com"},
		{"ANTEROOM_SESSION_IDLE_TIMEOUT", "90s", func(c *Config) any { return c.Session.IdleTimeout }, 90 * time.Second},
		{"ANTEROOM_SESSION_COOKIE_NAME", "door", func(c *Config) any { return c.Session.Cookie.Name }, "door"},
		{"ANTEROOM_SERVER_H2C", "true", func(c *Config) any { return c.Server.H2C }, true},
		{"ANTEROOM_SERVER_MAX_HEADER_BYTES", "8192", func(c *Config) any { return c.Server.MaxHeaderBytes }, 8192},
		{"ANTEROOM_SERVER_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1", func(c *Config) any { return c.Server.TrustedProxies }, []string{"10.0.0.0/8", "192.0.2.1"}},
		{"ANTEROOM_IDENTITY_JWT_CLAIMS", "type=access, v=a=b", func(c *Config) any { return c.Identity.JWT.Claims }, map[string]string{"type": "access", "v": "a=b"}},
		{"ANTEROOM_IDENTITY_JWT_ROLES", `{"on call, nights": physician}`, func(c *Config) any { return c.Identity.JWT.Roles }, map[string]string{"on call, nights": "physician"}},
		{"ANTEROOM_SESSION_KEYS_FILE", "../secrets/keys", func(c *Config) any { return len(c.Session.Keys) }, 2},
		{"ANTEROOM_SIGNIN_CLIENT_SECRET_FILE", "../secrets/client", func(c *Config) any { return c.SignIn.ClientSecret }, session.Secret("canary-client-secret")},
		{"NEXTCLOUD_CLIENT_SECRET_FILE", "../secrets/client", func(c *Config) any { return c.SignIn.ClientSecret }, session.Secret("canary-client-secret")},
		{"NEXTCLOUD_CLIENT_SECRET", " spaces stay ", func(c *Config) any { return c.SignIn.ClientSecret }, session.Secret(" spaces stay ")},
		{"NEXTCLOUD_OIDC_ISSUER", "https://cloud.example.com/", func(c *Config) any { return c.SignIn.Issuer }, "https://cloud.example.com/"},
		{"NEXTCLOUD_IMAP_URL", "imaps://mail.example.com:993", func(c *Config) any { return c.Integrations.Mail.IMAP }, "imaps://mail.example.com:993"},
		{"NEXTCLOUD_SMTP_URL", "smtp://mail.example.com:587", func(c *Config) any { return c.Integrations.Mail.SMTP }, "smtp://mail.example.com:587"},
		{"ANTEROOM_ROUTES", `[{"path":"/docs","allow":"public"},{path: /admin, allow: {groups: [admin]}}]`, func(c *Config) any { return c.Routes }, []proxy.Route{
			{Sign: "none", Path: "/docs", Upstream: "http://localhost:8001", Allow: authz.Allow{Public: true}},
			{Sign: "none", Path: "/admin", Upstream: "http://localhost:8001", Allow: authz.Allow{Groups: []string{"admin"}}},
			{Sign: "none", Path: "/", Upstream: "http://localhost:8001"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			account := env{"NEXTCLOUD_EMAIL_USERNAME": "va@example.com", "NEXTCLOUD_EMAIL_PASSWORD": "x", "ANTEROOM_SERVER_ALLOW_PLAINTEXT": "application"} // which mail and plain upstreams need
			c := mustLoad(t, smallest().with(account).with(env{tt.name: tt.value}), "")
			if diff := cmp.Diff(tt.want, tt.got(c)); diff != "" {
				t.Errorf("%s=%s (-want +got):\n%s", tt.name, tt.value, diff)
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	t.Chdir(t.TempDir())
	file := "upstream: https://file:1\nnextcloud: {url: 'https://file.example.com'}\nsession: {lifetime: 9h}\n" +
		"signin: {client_id: file, client_secret_file: not-there, redirect_uri: 'https://app.example.com/auth/callback'}\n"
	if err := os.WriteFile("config.yaml", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, env{
		"NEXTCLOUD_BASE_URL":            "https://guide.example.com",
		"NEXTCLOUD_CLIENT_ID":           "guide",
		"NEXTCLOUD_CLIENT_SECRET_FILE":  "not-there-either",
		"ANTEROOM_SIGNIN_CLIENT_ID":     "ours",
		"ANTEROOM_SIGNIN_CLIENT_SECRET": "ours",
		"ANTEROOM_UPSTREAM":             "", // empty counts as unset
	}, "config.yaml")
	for _, tt := range []struct{ key, got, want string }{
		{"upstream, in the file", c.Upstream, "https://file:1"},
		{"session.lifetime, in the file", c.Session.Lifetime.String(), "9h0m0s"},
		{"session.idle_timeout, by default", c.Session.IdleTimeout.String(), "1h0m0s"},
		{"nextcloud.url, guide over file", c.Nextcloud.URL, "https://guide.example.com"},
		{"signin.client_id, ours over guide", c.SignIn.ClientID, "ours"},
		{"signin.client_secret, ours over guide and files that are not there", c.SignIn.ClientSecret.Reveal(), "ours"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %q, want %q", tt.key, tt.got, tt.want)
		}
	}
}

// TestGuide: the integration guide's own variables, word for word, are enough.
func TestGuide(t *testing.T) {
	c := mustLoad(t, env{
		"NEXTCLOUD_BASE_URL":        "http://localhost:8080",
		"NEXTCLOUD_OIDC_ISSUER":     "http://localhost:8080",
		"NEXTCLOUD_CLIENT_ID":       "s8dh2k3j4h5k6j7h8k9j0",
		"NEXTCLOUD_CLIENT_SECRET":   "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6",
		"NEXTCLOUD_REDIRECT_URI":    "http://localhost:8000/auth/callback",
		"NEXTCLOUD_WEBDAV_URL":      "http://localhost:8080/remote.php/dav",
		"NEXTCLOUD_WEBDAV_USERNAME": "admin",
		"NEXTCLOUD_WEBDAV_PASSWORD": "admin_dev_password",
		"NEXTCLOUD_CALDAV_URL":      "http://localhost:8080/remote.php/dav/calendars",
		"NEXTCLOUD_CALDAV_USERNAME": "admin",
		"NEXTCLOUD_CALDAV_PASSWORD": "calendar_password",
		"NEXTCLOUD_CARDDAV_URL":     "http://localhost:8080/remote.php/dav/addressbooks",
		"NEXTCLOUD_ADMIN_USER":      "admin",
		"NEXTCLOUD_ADMIN_PASSWORD":  "admin_dev_password",
		"NEXTCLOUD_EMAIL_USERNAME":  "user@example.com",
		"NEXTCLOUD_EMAIL_PASSWORD":  "mail_password",
		"NEXTCLOUD_TRUSTED_DOMAINS": "localhost nextcloud.local", // Nextcloud's own
		"ANTEROOM_UPSTREAM":         "http://localhost:8001",
	}, "")
	i := c.Integrations
	for _, tt := range []struct{ key, got, want string }{
		{"server.public_url", c.Server.PublicURL, "http://localhost:8000"},
		{"integrations.webdav.username", i.WebDAV.Username, "admin"},
		{"integrations.carddav.url", i.CardDAV.URL, "http://localhost:8080/remote.php/dav/addressbooks"},
		{"integrations.carddav.username", i.CardDAV.Username, "admin"},
		{"integrations.carddav.password", i.CardDAV.Password.Reveal(), "calendar_password"},
		{"integrations.directory.url", i.Directory.URL, "http://localhost:8080"},
		{"integrations.directory.password", i.Directory.Password.Reveal(), "admin_dev_password"},
		{"integrations.mail.username", i.Mail.Username, "user@example.com"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %q, want %q", tt.key, tt.got, tt.want)
		}
	}
}

func TestFaultsOfTheEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  env
		want string
	}{
		{"bad value", env{"ANTEROOM_SESSION_IDLE_TIMEOUT": "5x"}, "ANTEROOM_SESSION_IDLE_TIMEOUT: session.idle_timeout: is \"5x\"; write a duration such as 30m\n"},
		{"bad value of the guide's", env{"NEXTCLOUD_BASE_URL": "cloud"}, "NEXTCLOUD_BASE_URL: nextcloud.url: is \"cloud\"; write a URL that begins with http:// or https://\n"},
		{"misspelt", env{"ANTEROOM_SESSION_IDLE_TIME_OUT": "5m"}, "ANTEROOM_SESSION_IDLE_TIME_OUT: is not a variable; did you mean ANTEROOM_SESSION_IDLE_TIMEOUT?\n"},
		{"unlike any", env{"ANTEROOM_COLOUR_OF_THE_FRONT_PAGE": "blue"}, "ANTEROOM_COLOUR_OF_THE_FRONT_PAGE: is not a variable; it is ANTEROOM_ and a key of the configuration, such as ANTEROOM_UPSTREAM\n"},
		{"misspelt, of the guide", env{"NEXTCLOUD_CLIENT_SECERT": "canary"}, "NEXTCLOUD_CLIENT_SECERT: is not a variable; did you mean NEXTCLOUD_CLIENT_SECRET?\n"},
		{"misspelt twin, of the guide", env{"NEXTCLOUD_ADMIN_PASSWORD_FLIE": "x", "NEXTCLOUD_ADMIN_USER": "admin"}, "NEXTCLOUD_ADMIN_PASSWORD_FLIE: is not a variable; did you mean NEXTCLOUD_ADMIN_PASSWORD_FILE?\n"},
		{"no secret, no twin", env{"ANTEROOM_SIGNIN_CLIENT_ID_FILE": "x"}, "ANTEROOM_SIGNIN_CLIENT_ID_FILE: is not a variable; did you mean ANTEROOM_SIGNIN_CLIENT_ID?\n"},
		{"both twins", env{"NEXTCLOUD_CLIENT_SECRET": "canary", "NEXTCLOUD_CLIENT_SECRET_FILE": "x"}, "NEXTCLOUD_CLIENT_SECRET_FILE: signin.client_secret: stands beside NEXTCLOUD_CLIENT_SECRET; keep one of the two\n"},
		{"secret's file not there", env{"ANTEROOM_IDENTITY_JWT_SECRET_FILE": "not-there", "ANTEROOM_IDENTITY_JWT_ALGORITHM": "HS256"}, "ANTEROOM_IDENTITY_JWT_SECRET_FILE: identity.jwt.secret: names \"not-there\", which cannot be read: no such file or directory\n"},
		{"empty item", env{"ANTEROOM_SIGNIN_ALLOWED_GROUPS": "a,,b"}, "ANTEROOM_SIGNIN_ALLOWED_GROUPS: signin.allowed_groups: has an empty item; write a,b,c\n"},
		{"no map", env{"ANTEROOM_IDENTITY_JWT_CLAIMS": "type"}, "ANTEROOM_IDENTITY_JWT_CLAIMS: identity.jwt.claims: is \"type\"; write name=value,name=value\n"},
		{"routes' values", env{"ANTEROOM_ROUTES": "[{path: docs, alow: public}]"}, "ANTEROOM_ROUTES: routes[0].alow: is not a key; did you mean allow?\nANTEROOM_ROUTES: routes[0].path: is \"docs\"; begin it with /\n"},
		{"routes are no YAML", env{"ANTEROOM_ROUTES": "[{"}, "ANTEROOM_ROUTES: routes: is not YAML: did not find expected node content\n"},
		{"second entry's rule", env{"ANTEROOM_ROUTES": "[{path: /a}, {path: /a/b}]"}, "ANTEROOM_ROUTES: routes[1]: is never reached: routes[0] comes first and takes all of it; put this one above\n"},
		{"misspelt store", env{"ANTEROOM_SESSION_STORE": "redus", "ANTEROOM_SESSION_REDIS_URL": "redis://localhost"}, "ANTEROOM_SESSION_STORE: session.store: is \"redus\"; write memory, cookie or redis\n"},
		{"user without password", env{"NEXTCLOUD_ADMIN_USER": "admin"}, "integrations.directory.password: is not set, though username is; set both or neither\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, faults := smallest().with(tt.env).load("", false)
			if c != nil {
				t.Error("loadConfig = a configuration, want none")
			}
			if diff := cmp.Diff(tt.want, faultText(faults)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestVariablesThatAreNotOurs: what the system sets beside us is no fault.
func TestVariablesThatAreNotOurs(t *testing.T) {
	mustLoad(t, smallest().with(env{
		"ANTEROOM_CONFIG":                 "config.yaml",
		"ANTEROOM_NO_SUCH_KEY":            "", // empty counts as unset
		"NEXTCLOUD_TRUSTED_DOMAINS":       "localhost",
		"NEXTCLOUD_TABLE_PREFIX":          "oc_",
		"NEXTCLOUD_ADMIN_USER_FILE":       "/run/secrets/admin",
		"NEXTCLOUD_DATA_DIR":              "/data",
		"NEXTCLOUD_URL":                   "https://cloud.example.com", // somebody else's
		"NEXTCLOUD_USERNAME":              "va",
		"NEXTCLOUD_PASSWORD":              "x",
		"NEXTCLOUD_DAV_URL":               "https://cloud.example.com/dav",
		"NEXTCLOUD_FTP_URL":               "ftp://cloud.example.com",
		"NEXTCLOUD_PORT":                  "tcp://10.0.0.3:80", // Kubernetes, for a Service called nextcloud
		"NEXTCLOUD_SERVICE_HOST":          "10.0.0.3",
		"ANTEROOM_SERVICE_HOST":           "10.0.0.1", // Kubernetes, for a Service called anteroom
		"ANTEROOM_SERVICE_PORT":           "8000",
		"ANTEROOM_SERVICE_PORT_HTTP":      "8000",
		"ANTEROOM_PORT":                   "tcp://10.0.0.1:8000",
		"ANTEROOM_PORT_8000_TCP":          "tcp://10.0.0.1:8000",
		"ANTEROOM_PORT_8000_TCP_PROTO":    "tcp",
		"ANTEROOM_PORT_8000_TCP_ADDR":     "10.0.0.1",
		"ANTEROOM_ADMIN_SERVICE_HOST":     "10.0.0.2", // and for one called anteroom-admin
		"ANTEROOM_ADMIN_PORT":             "tcp://10.0.0.2:9090",
		"ANTEROOM_ADMIN_PORT_9090_TCP":    "tcp://10.0.0.2:9090",
		"ANTEROOM_ADMIN_SERVICE_PORT_WEB": "9090",
	}), "")
}

// TestSecretFileIsBounded: a secret's file is a small one, or it is another's.
func TestSecretFileIsBounded(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("large", make([]byte, maxSecretBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	for name, why := range map[string]string{"large": "is larger than 64 KiB", "pipe": "is a named pipe, not a regular file", "/dev/zero": "is a device, not a regular file"} {
		_, faults := smallest().with(env{"NEXTCLOUD_CLIENT_SECRET_FILE": name}).load("", false)
		want := fmt.Sprintf("NEXTCLOUD_CLIENT_SECRET_FILE: signin.client_secret: names %q, which cannot be read: %s\n", name, why)
		if got := faultText(faults); got != want {
			t.Errorf("faults = %q, want %q", got, want)
		}
	}
}
