package proxy

import (
	"time"

	"anteroom/proxy/authz"
	"anteroom/proxy/throttle"
)

// Config is the section "server": where Anteroom listens and what it bears.
type Config struct {
	Listen         string        `yaml:"listen" default:":8000" doc:"address of the public listener"`
	PublicURL      string        `yaml:"public_url" doc:"the site's origin as browsers see it; default: the origin of signin.redirect_uri"`
	Hosts          []string      `yaml:"hosts" doc:"further Host names to answer to; any other is refused with 421"`
	AllowedOrigins []string      `yaml:"allowed_origins" doc:"other origins whose pages may open WebSockets here and read our 401 across origins"`
	TLS            TLSConfig     `yaml:"tls"`
	HSTS           int           `yaml:"hsts" default:"31536000" doc:"for how many seconds browsers are told to come by https alone (Strict-Transport-Security, RFC 6797), where the site is https; 0: they are not told"`
	AllowPlaintext []string      `yaml:"allow_plaintext" doc:"what may go to another machine unencrypted, each by its name: public (the site), nextcloud, application, redis, audit, telemetry; empty: nothing"`
	H2C            bool          `yaml:"h2c" doc:"also speak HTTP/2 without TLS, with prior knowledge only"`
	TrustedProxies []string      `yaml:"trusted_proxies" doc:"CIDRs of front proxies whose X-Forwarded-* are believed; none by default"`
	AdminListen    string        `yaml:"admin_listen" default:"127.0.0.1:9090" doc:"address of the admin listener: /healthz, /readyz, /metrics"`
	ExtAuthzListen string        `yaml:"ext_authz_listen" doc:"address at which Envoy asks over gRPC (external authorization, and health); empty: none"`
	MaxHeaderBytes int           `yaml:"max_header_bytes" default:"65536" doc:"largest request header"`
	HeaderTimeout  time.Duration `yaml:"header_timeout" default:"10s" doc:"how long a client may take to send its header"`
	IdleTimeout    time.Duration `yaml:"idle_timeout" default:"2m" doc:"how long an unused connection is kept"`
	DialTimeout    time.Duration `yaml:"dial_timeout" default:"5s" doc:"how long connecting to the application may take"`
	DrainTimeout   time.Duration `yaml:"drain_timeout" default:"20s" doc:"how long requests may go on after a stop signal"`

	MaxURLBytes              int           `yaml:"max_url_bytes" default:"16384" doc:"longest URL, with its query"`
	MaxMessageBytes          int           `yaml:"max_message_bytes" default:"67108864" doc:"longest WebSocket message, either way, as it is sent: compressed where it is; one that is longer closes the connection with 1009. 0: any length"`
	BodyTimeout              time.Duration `yaml:"body_timeout" default:"30s" doc:"how long a client may keep us waiting for its body, at one go and, beyond the time 500 bytes a second take, in all; until the answer begins"`
	WriteTimeout             time.Duration `yaml:"write_timeout" default:"1m" doc:"how long a client may take nothing of what is sent to it"`
	MaxConnections           int           `yaml:"max_connections" default:"10000" doc:"most connections of clients at a time; 0: any number"`
	MaxConnectionsPerAddress int           `yaml:"max_connections_per_address" default:"1000" doc:"and of one address, or of one IPv6 /64; trusted proxies excepted; 0: any number"`

	SignInRate        throttle.Rate `yaml:"sign_in_rate" default:"600 in 1m" doc:"how often one address (IPv6: one /64) may begin or finish a sign-in, on all replicas together where they share Redis; or off"`
	SignInAccountRate throttle.Rate `yaml:"sign_in_account_rate" default:"30 in 10m" doc:"how often one person may sign in; or off"`
	TokenRate         throttle.Rate `yaml:"token_rate" default:"3000 in 1m" doc:"how often one address may ask /auth/token; or off"`
	TokenAccountRate  throttle.Rate `yaml:"token_account_rate" default:"300 in 1m" doc:"how often one person may; or off"`
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
	Sign       string      `yaml:"sign" default:"none" oneof:"none,request,body" doc:"requests to the application carry an RFC 9421 signature by the JWT's key: request, with a digest of bodies up to 1 MiB; body, where longer bodies, and those of unknown length, are refused; none"`
	JWTInQuery bool        `yaml:"jwt_in_query" doc:"also set the JWT as query parameter identity.jwt.query (for WebSockets)"`
}
