package upstream

import (
	"time"

	"anteroom/session"
)

// Config is the section "identity": what the application learns about a caller.
type Config struct {
	Headers   HeaderConfig    `yaml:"headers"`
	JWT       JWTConfig       `yaml:"jwt"`
	Provision ProvisionConfig `yaml:"provision"`
	Strip     []string        `yaml:"strip" default:"Remote-User,Remote-Name,Remote-Email,Remote-Groups,X-Remote-User,X-Remote-Group,X-Auth-Request-User,X-Auth-Request-Email,X-Auth-Request-Groups,X-Auth-Request-Preferred-Username,X-WebAuth-User" doc:"further header names a client may never set towards the application"`
}

// HeaderConfig is the section "identity.headers": which header carries what.
// An empty name (the word none) leaves that header out; it is stripped still.
type HeaderConfig struct {
	User              string `yaml:"user" default:"X-Forwarded-User" doc:"header with the person's stable id"`
	PreferredUsername string `yaml:"preferred_username" default:"X-Forwarded-Preferred-Username" doc:"header with the login name"`
	Email             string `yaml:"email" default:"X-Forwarded-Email" doc:"header with the mail address"`
	Name              string `yaml:"name" default:"X-Forwarded-Name" doc:"header with the display name (percent-encoded UTF-8 where not ASCII)"`
	Groups            string `yaml:"groups" default:"X-Forwarded-Groups" doc:"header with the groups, comma-separated"`
	GroupsMax         int    `yaml:"groups_max_bytes" default:"4096" doc:"longest groups header; above it whole groups are left out from the end and X-Forwarded-Groups-Truncated: true is set"`
}

// JWTConfig is the section "identity.jwt": the signed identity assertion.
type JWTConfig struct {
	Algorithm string            `yaml:"algorithm" default:"ES256" oneof:"ES256,EdDSA,RS256,HS256,none" doc:"signature algorithm; none: no JWT is made"`
	Lifetime  time.Duration     `yaml:"lifetime" default:"5m" doc:"how long one JWT is valid (exp - iat)"`
	Audience  string            `yaml:"audience" doc:"the aud claim; default the origin of the route's upstream; the word none leaves it out"`
	Header    string            `yaml:"header" default:"Authorization" doc:"request header that carries it, as 'Bearer <jwt>' in Authorization, bare in any other"`
	Query     string            `yaml:"query" default:"token" doc:"query parameter used on routes with jwt_in_query"`
	Claims    map[string]string `yaml:"claims" doc:"extra claims with fixed values, such as type: access"`
	Roles     map[string]string `yaml:"roles" doc:"group to role: the first match in alphabetical order of groups sets the claim role"`
	Role      string            `yaml:"default_role" doc:"the claim role where no group matches; empty: no claim"`
	Secret    session.Secret    `yaml:"secret" doc:"shared secret for HS256, at least 32 bytes"`
	Keys      string            `yaml:"keys_file" doc:"private JWK Set made by 'anteroom keys new --jwt'; default: keys made at start and renewed daily, in memory"`
}
