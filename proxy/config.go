package proxy

import (
	"time"

	"anteroom/proxy/authz"
)

// Config is the section "server": where Anteroom listens and what it bears.
type Config struct {
	Listen         string        `yaml:"listen" default:":8000" doc:"address of the public listener"`
	PublicURL      string        `yaml:"public_url" doc:"the site's origin as browsers see it; default: the origin of signin.redirect_uri"`
	Hosts          []string      `yaml:"hosts" doc:"further Host names to answer to; any other is refused with 421"`
	AllowedOrigins []string      `yaml:"allowed_origins" doc:"other origins whose pages may open WebSockets here and read our 401 across origins"`
	TLS            TLSConfig     `yaml:"tls"`
	H2C            bool          `yaml:"h2c" doc:"also speak HTTP/2 without TLS, with prior knowledge only"`
	TrustedProxies []string      `yaml:"trusted_proxies" doc:"CIDRs of front proxies whose X-Forwarded-* are believed; none by default"`
	AdminListen    string        `yaml:"admin_listen" default:"127.0.0.1:9090" doc:"address of the admin listener: /healthz, /readyz, /metrics"`
	ExtAuthzListen string        `yaml:"ext_authz_listen" doc:"address at which Envoy asks over gRPC (external authorization, and health); empty: none"`
	MaxHeaderBytes int           `yaml:"max_header_bytes" default:"65536" doc:"largest request header"`
	HeaderTimeout  time.Duration `yaml:"header_timeout" default:"10s" doc:"how long a client may take to send its header"`
	IdleTimeout    time.Duration `yaml:"idle_timeout" default:"2m" doc:"how long an unused connection is kept"`
	DialTimeout    time.Duration `yaml:"dial_timeout" default:"5s" doc:"how long connecting to the application may take"`
	DrainTimeout   time.Duration `yaml:"drain_timeout" default:"20s" doc:"how long requests may go on after a stop signal"`
}

// TLSConfig is the section "server.tls".
type TLSConfig struct {
	Cert     string `yaml:"cert" doc:"PEM file with the certificate chain; taken up again when it changes"`
	Key      string `yaml:"key" doc:"PEM file with the private key"`
	ClientCA string `yaml:"client_ca" doc:"PEM file; when set, only clients with a certificate of these authorities may connect"`
}

// NoUpstream is the upstream of a route that no application is behind: front
// proxies ask about it, and forward requests themselves.
const NoUpstream = "none"

// Route is one entry of "routes": a part of the site, the application behind
// it, and who may pass. The first that matches is taken.
type Route struct {
	Path       string      `yaml:"path" default:"/" doc:"path prefix, matched at segment boundaries"`
	Host       string      `yaml:"host" doc:"only this Host; empty: any of ours"`
	Methods    []string    `yaml:"methods" doc:"only these methods; empty: any"`
	Upstream   string      `yaml:"upstream" doc:"http://, https://, h2c:// or unix:/path/to/socket; none: front proxies ask about it, nothing is forwarded; default the top-level upstream"`
	Allow      authz.Allow `yaml:"allow" doc:"public, signed-in (default), or {groups: [], users: []}"`
	Audience   string      `yaml:"audience" doc:"the JWT's aud on this route; default identity.jwt.audience"`
	JWTInQuery bool        `yaml:"jwt_in_query" doc:"also set the JWT as query parameter identity.jwt.query (for WebSockets)"`
}
