package integrations

import (
	"strings"
	"time"

	"anteroom/session"
)

// NextcloudConfig is the section "nextcloud": the server everything talks to.
type NextcloudConfig struct {
	URL       string        `yaml:"url" doc:"base URL of Nextcloud as browsers see it, with its webroot if it has one"`
	ConnectTo string        `yaml:"connect_to" doc:"host:port to dial instead of the URL's own, where this process reaches Nextcloud by another name; Host header and certificate stay those of url"`
	CAFile    string        `yaml:"ca_file" doc:"PEM file of authorities to trust for Nextcloud, instead of the system's; read again when it changes"`
	Pins      []string      `yaml:"pins" doc:"SPKI SHA-256 pins (base64) of Nextcloud's chain; at least two, one a backup"`
	Timeout   time.Duration `yaml:"timeout" default:"10s" doc:"how long one call to Nextcloud may take"`
}

// Config is the section "integrations".
type Config struct {
	WebDAV    DAV       `yaml:"webdav"`
	CalDAV    DAV       `yaml:"caldav"`
	CardDAV   DAV       `yaml:"carddav"`
	Directory Directory `yaml:"directory"`
	Mail      Mail      `yaml:"mail"`

	RotateEvery time.Duration `yaml:"rotate_every" default:"0s" doc:"have Nextcloud exchange service accounts' app passwords that are kept in files at this age (720h); 0s: never"`
}

// Directory is the section "integrations.directory": who there is at Nextcloud.
type Directory struct {
	URL      string         `yaml:"url" doc:"where the service lives; default nextcloud.url"`
	Username string         `yaml:"username" doc:"an account that may list users: an administrator, or of a group"`
	Password session.Secret `yaml:"password" doc:"its app password"`
	File     *SecretFile    `yaml:"-"` // that password is kept in, and may change in; nil: in none
	Allow    session.Allow  `yaml:"allow" doc:"who may look people up, but for themselves: groups:, users: and clients: lists, or signed-in; unset: configured clients"`
}

// Account is the service account, with its password as it is now.
func (d Directory) Account() session.Credential {
	return session.Credential{User: d.Username, Secret: inForce(d.Password, d.File)}
}

// inForce is a password as it is now.
func inForce(said session.Secret, kept *SecretFile) session.Secret {
	if kept != nil {
		return kept.Secret()
	}
	return said
}

// NoMount is the mount of a DAV service that is not served.
const NoMount = "none"

// DAV is a Nextcloud service that people and programs reach through us, and how.
type DAV struct {
	URL        string         `yaml:"url" doc:"where the service lives; default below nextcloud.url"`
	Username   string         `yaml:"username" doc:"service account"`
	Password   session.Secret `yaml:"password" doc:"its app password"`
	File       *SecretFile    `yaml:"-"` // that password is kept in, and may change in; nil: in none
	Mount      string         `yaml:"mount" doc:"the path it has here; none: not served. Default /dav, /calendar or /contacts once anything but url is said"`
	Credential string         `yaml:"credential" oneof:"service,user" doc:"whose credential goes to Nextcloud: the service account's, or each person's own; default service where there is one, else user"`
	Allow      session.Allow  `yaml:"allow" doc:"who may use it: signed-in, or groups:, users: and clients: lists; unset: configured clients where the service account is used, whoever is signed in where each uses their own"`
	ReadOnly   bool           `yaml:"read_only" doc:"nothing may be changed through it"`
	Scope      string         `yaml:"scope" doc:"a path below url that everything stays within, such as /files/voiceassist/Shared; {user} stands for the caller's id"`
}

// Said reports whether anything was said of it that has it served.
func (d DAV) Said() bool {
	return d.Username != "" || d.Credential != "" || d.Mount != "" && d.Mount != NoMount || d.Allow.Said()
}

// Program reports whether programs reach it as JSON.
func (d DAV) Program() bool { return d.URL != "" && d.Said() }

// Account is the service account that is used, with its password as it is now.
func (d DAV) Account() session.Credential {
	return session.Credential{User: d.Username, Secret: inForce(d.Password, d.File)}
}

// ByService reports whether the service account is used, not each person's own
// credential.
func (d DAV) ByService() bool { return d.Credential == "service" }

// Allows reports whether who may use it. What uses the service account is for
// configured clients alone until somebody is allowed by name, group or the word
// signed-in; what uses each person's own is for whoever is signed in.
func (d *DAV) Allows(who *session.Identity) bool {
	switch client := who.Method == session.ByClient; {
	case d.Allow.Said():
		return d.Allow.Permits(who)
	case client:
		return d.ByService()
	}
	return !d.ByService()
}

// ScopeOf is the scope's segments with {user} filled in, nil for all there is;
// false for somebody whose id is no name of a folder.
func (d *DAV) ScopeOf(who *session.Identity) (scope []string, ok bool) {
	s := strings.Trim(d.Scope, "/")
	if s == "" {
		return nil, true
	}
	scope = strings.Split(s, "/")
	for i, s := range scope {
		if s != "{user}" {
			continue
		}
		if scope[i] = who.Subject; !plainName(scope[i]) {
			return nil, false
		}
	}
	return scope, true
}

func plainName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, `/\`)
}

// ByUser reports whether it is served with each person's own credential.
func (d DAV) ByUser() bool { return d.Credential == "user" && d.Mount != NoMount && d.Mount != "" }

// Mail is the section "integrations.mail": one mail account, for programs.
type Mail struct {
	IMAP      string         `yaml:"imap_url" doc:"imaps://host:993, or imap://host:143 with STARTTLS; never in clear"`
	SMTP      string         `yaml:"smtp_url" doc:"smtps://host:465, or smtp://host:587 with STARTTLS; never in clear"`
	Username  string         `yaml:"username" doc:"mail account"`
	Password  session.Secret `yaml:"password" doc:"its password"`
	From      string         `yaml:"from" doc:"the address that mail is sent from; default the username"`
	CAFile    string         `yaml:"ca_file" doc:"PEM file of authorities to trust for the mail servers, instead of the system's; read again when it changes"`
	Nextcloud int            `yaml:"nextcloud_account" doc:"id of an account in Nextcloud's Mail app, to use where imap_url is empty; username and password are Nextcloud's then"`
	File      *SecretFile    `yaml:"-"` // that password is kept in, and may change in; nil: in none
	Allow     session.Allow  `yaml:"allow" doc:"who may use it: signed-in, or groups:, users: and clients: lists; unset: configured clients"`
	AppURL    string         `yaml:"-"` // base URL of the Nextcloud that the Mail app is in
	ReadOnly  bool           `yaml:"read_only" doc:"nothing may be changed or sent through it"`

	Roots *session.Authorities `yaml:"-"` // those of CAFile, where somebody renews them; nil: they are read once
}

// Said reports whether there is any mail to be had.
func (m Mail) Said() bool { return m.IMAP != "" || m.SMTP != "" || m.Nextcloud != 0 }

// Account is the account at the mail servers, or at Nextcloud for its Mail app,
// with its password as it is now.
func (m Mail) Account() session.Credential {
	return session.Credential{User: m.Username, Secret: inForce(m.Password, m.File)}
}
