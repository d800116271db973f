package demo

import (
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// OIDCVersion says which version of the oidc app a [Nextcloud] has.
type OIDCVersion int

// The versions of the oidc app. They differ in where claims are found, in when
// there is a refresh token, and in whether PKCE is verified.
const (
	OIDC06 OIDCVersion = iota // 0.6.2, for Nextcloud 23 to 27
	OIDC20                    // 2.0.9, for Nextcloud 32 and later
	NoOIDC                    // not installed: the built-in OAuth2 alone
)

// Options of the pretend Nextcloud. The zero value is a Nextcloud 24 with both
// the oidc app and the built-in OAuth2, the users of [DefaultUsers] and the
// client of [DefaultClients].
type Options struct {
	BaseURL    string           // scheme and host as browsers see them; "": taken from each request's Host, as the real one does
	Now        func() time.Time // nil: time.Now
	OIDC       OIDCVersion
	Modern     bool          // the built-in OAuth2 of a recent server: PKCE verified, codes used once and within 10 minutes, atomic rotation; implied by OIDC20
	Strict     bool          // as no Nextcloud does: a refresh token of the built-in OAuth2 that comes a second time ends its grant (RFC 9700, section 4.14.2), and rotation does not mind the caller going away
	NamesLogin bool          // as no Nextcloud does: id_tokens have a sid, "login-1" that of the first sign-in
	AccessTTL  time.Duration // lifetime of access tokens; 0: 3600 s (OAuth2), 900 s (oidc)
	RefreshTTL time.Duration // how long an oidc refresh token may lie idle; 0: 1800 s (OIDC06), 900 s (OIDC20)
	Users      []User        // nil: DefaultUsers
	Clients    []Client      // nil: DefaultClients
	Log        *slog.Logger  // nil: nothing is logged; one debug line a request, without query, credentials or body
}

const (
	maxBody   = 1 << 20  // of a form or JSON body
	maxUpload = 64 << 20 // of a file put by WebDAV
)

// Nextcloud is a pretend Nextcloud. It is an [http.Handler], safe for
// concurrent use, and so are its knobs. Make one with [NewNextcloud].
type Nextcloud struct {
	o        Options
	users    *directory
	clients  *registry
	sessions *sessions
	oauth2   *grants // built-in OAuth2, and app passwords
	oidc     *grants
	keys     *keyring
	knobs    *knobs
	pages    *pages
	homes    *homes
	flows    loginFlows
	routes   map[string]route
	prefixes []prefix
}

// route is one exact path and what answers there.
type route struct {
	endpoint Endpoint
	serve    http.HandlerFunc
	own      bool // the handler applies the endpoint's latency by itself
}

// prefix is a part of the tree with one handler.
type prefix struct {
	path string
	route
}

// NewNextcloud makes a Nextcloud. It starts nothing and touches no network.
func NewNextcloud(o Options) *Nextcloud {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OIDC == OIDC20 {
		o.Modern = true
	}
	hint := ""
	if o.Users == nil {
		o.Users, hint = DefaultUsers(), DefaultUser+" / "+DefaultPassword
	}
	if o.Clients == nil {
		o.Clients = DefaultClients()
	}
	n := &Nextcloud{
		o: o, users: newDirectory(o.Users), clients: newRegistry(o.Clients), sessions: newSessions(),
		oauth2: newGrants(), oidc: newGrants(), keys: new(keyring), knobs: newKnobs(), pages: newPages(hint), homes: newHomes(),
	}
	n.routes, n.prefixes = n.table()
	return n
}

// table is every address the pretend Nextcloud answers. Paths are written
// without "/index.php", which is optional as on a server with pretty URLs.
func (n *Nextcloud) table() (map[string]route, []prefix) {
	exact := map[string]route{
		"/":                                   {endpoint: Login, serve: n.home},
		"/status.php":                         {endpoint: Status, serve: n.status},
		"/heartbeat":                          {endpoint: Status, serve: func(w http.ResponseWriter, r *http.Request) { htmlHeaders(w) }},
		"/core/css/demo.css":                  {serve: n.pages.file("demo.css")},
		"/login":                              {endpoint: Login, serve: n.login},
		"/logout":                             {endpoint: Login, serve: n.logout},
		"/login/v2":                           {endpoint: Flow, serve: n.flowInit},
		"/login/v2/poll":                      {endpoint: Flow, serve: n.flowPoll},
		"/login/v2/flow":                      {endpoint: Flow, serve: n.flowPicker},
		"/login/v2/grant":                     {endpoint: Flow, serve: n.flowGrantV2},
		"/login/flow":                         {endpoint: Flow, serve: n.flow},
		"/login/flow/grant":                   {endpoint: Flow, serve: n.flowGrant},
		"/apps/dashboard/":                    {endpoint: Login, serve: n.home},
		"/apps/oauth2/authorize":              {endpoint: Authorize, serve: n.oauthAuthorize},
		"/apps/oauth2/api/v1/token":           {endpoint: Token, serve: n.oauthToken, own: true},
		wellKnown:                             {endpoint: Discovery, serve: n.wellKnown},
		"/apps/oidc/js/redirect.js":           {serve: n.pages.file("redirect.js")},
		"/ocs/v1.php/cloud/user":              {endpoint: OCS, serve: n.ocsUser},
		"/ocs/v2.php/cloud/user":              {endpoint: OCS, serve: n.ocsUser},
		"/ocs/v2.php/core/apppassword":        {endpoint: AppPassword, serve: n.ocsAppPassword},
		"/ocs/v2.php/core/getapppassword":     {endpoint: AppPassword, serve: n.ocsGetAppPassword},
		"/ocs/v2.php/core/apppassword/rotate": {endpoint: AppPassword, serve: n.ocsRotateAppPassword},
		"/.well-known/caldav":                 {serve: toDAV},
		"/.well-known/carddav":                {serve: toDAV},
	}
	if n.o.OIDC != NoOIDC {
		exact["/apps/oidc/openid-configuration"] = route{endpoint: Discovery, serve: n.discovery}
		exact["/apps/oidc/jwks"] = route{endpoint: JWKS, serve: n.jwks}
		exact["/apps/oidc/authorize"] = route{endpoint: Authorize, serve: n.oidcAuthorize}
		exact["/apps/oidc/redirect"] = route{endpoint: Authorize, serve: n.oidcHop}
		exact["/apps/oidc/token"] = route{endpoint: Token, serve: n.oidcToken, own: true}
		exact["/apps/oidc/userinfo"] = route{endpoint: Userinfo, serve: n.userinfo}
		exact["/apps/oidc/logout"] = route{endpoint: Logout, serve: n.endSession}
	}
	if n.o.OIDC == OIDC20 {
		exact["/apps/oidc/introspect"] = route{endpoint: Introspect, serve: n.introspect}
	}
	return exact, []prefix{
		{"/login/v2/flow/", route{endpoint: Flow, serve: n.flowLanding}},
		{"/ocs/v1.php/", route{endpoint: OCS, serve: n.ocsOther}},
		{"/ocs/v2.php/", route{endpoint: OCS, serve: n.ocsOther}},
		{"/remote.php/", route{endpoint: DAV, serve: n.dav}},
	}
}

// find returns what answers at a path.
func (n *Nextcloud) find(p string) route {
	if p = strings.TrimPrefix(p, "/index.php"); p == "" {
		p = "/"
	}
	if rt, ok := n.routes[p]; ok {
		return rt
	}
	for _, x := range n.prefixes {
		if strings.HasPrefix(p, x.path) {
			return x.route
		}
	}
	return route{serve: n.notFound}
}

// ServeHTTP answers one request as a Nextcloud would.
func (n *Nextcloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if n.knobs.isDown() {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	limit := int64(maxBody)
	if strings.HasPrefix(r.URL.Path, "/remote.php/") {
		limit = maxUpload
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	rt := n.find(r.URL.Path)
	if dotted(r.URL.Path) {
		if rt = n.find(path.Clean(r.URL.Path)); rt.endpoint != DAV {
			rt.serve = n.astray(rt)
		}
	}
	n.knobs.count(rt.endpoint)
	n.o.Log.DebugContext(r.Context(), "pretend nextcloud", "method", r.Method, "path", r.URL.Path)
	if !rt.own && !n.knobs.wait(r.Context(), rt.endpoint) {
		return
	}
	if n.knobs.inMaintenance() && rt.endpoint != Status && rt.endpoint != "" {
		n.maintenance(w, r)
		return
	}
	rt.serve(w, r)
}

// dotted reports whether a path has segments of dots that lead elsewhere.
func dotted(p string) bool { return slices.Contains(strings.Split(p, "/"), "..") }

// astray answers where dot segments lead out of the DAV tree. As seen, the web
// server goes by the normal path and runs another program with the path as it
// was sent: OCS stumbles over that, status.php does not look.
func (n *Nextcloud) astray(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if rt.endpoint == Status {
			rt.serve(w, r)
			return
		}
		n.pages.show(w, http.StatusInternalServerError, "error", view{Title: "Internal Server Error", Message: "The server was unable to complete your request."})
	}
}

// base is this server's scheme and host as the caller sees it.
func (n *Nextcloud) base(r *http.Request) string {
	switch {
	case n.o.BaseURL != "":
		return strings.TrimSuffix(n.o.BaseURL, "/")
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// secure reports whether browsers reach this server over https.
func (n *Nextcloud) secure(r *http.Request) bool {
	return strings.HasPrefix(n.base(r), "https://")
}

// accessTTL is the lifetime of access tokens, given the real server's default.
func (n *Nextcloud) accessTTL(usual time.Duration) time.Duration {
	if n.o.AccessTTL > 0 {
		return n.o.AccessTTL
	}
	return usual
}
