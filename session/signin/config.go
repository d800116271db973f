package signin

import "anteroom/session"

// Config is the section "signin": Anteroom as relying party of one Nextcloud.
type Config struct {
	Provider      string         `yaml:"provider" default:"auto" oneof:"auto,oidc,nextcloud" doc:"oidc (OpenID Connect), nextcloud (its built-in OAuth2), or auto: ask the server which it offers"`
	Issuer        string         `yaml:"issuer" doc:"the provider's issuer URL; default nextcloud.url"`
	ClientID      string         `yaml:"client_id" doc:"client identifier, as Nextcloud shows it"`
	ClientSecret  session.Secret `yaml:"client_secret" doc:"client secret, as Nextcloud shows it; empty for a public client"`
	RedirectURI   string         `yaml:"redirect_uri" doc:"exactly as registered at Nextcloud; default server.public_url + /auth/callback"`
	Scopes        []string       `yaml:"scopes" doc:"OpenID Connect scopes; default: openid profile email groups roles offline_access, of these what the provider lists"`
	Claims        Claims         `yaml:"claims"`
	AllowedGroups []string       `yaml:"allowed_groups" doc:"only members of one of these may enter; empty: no limit by group"`
	AccessTokens  string         `yaml:"access_tokens" default:"own" oneof:"own,any,none" doc:"which of the provider's access tokens programs may come with as Bearer: own (given to this client, which the provider has to confirm by introspection; Nextcloud's built-in OAuth2 ones always), any that userinfo honours, whichever client they were given to, or none"`
	AllowedUsers  []string       `yaml:"allowed_users" doc:"these may enter whatever their groups; empty: no limit by user"`
}

// Claims is the section "signin.claims": which claim carries what.
type Claims struct {
	User     string `yaml:"user" default:"sub" doc:"claim with the person's stable id"`
	Username string `yaml:"username" default:"preferred_username" doc:"claim with the login name"`
	Name     string `yaml:"name" default:"name" doc:"claim with the display name"`
	Email    string `yaml:"email" default:"email" doc:"claim with the mail address"`
	Groups   string `yaml:"groups" default:"groups" doc:"claim with the groups; where it is absent, roles is read (older Nextcloud)"`
}
