package proxy

import "fmt"

// oursBy is the key that makes a host (canonical form) ours; "" for none.
func (o *origins) oursBy(site string) string {
	switch {
	case !o.ours(site):
		return ""
	case site == o.host:
		return "server.public_url"
	case o.hosts[site]:
		return "server.hosts"
	}
	return "session.cookie.domain"
}

// own says what a door of ours is for; "" for the application's.
func (e *Explainer) own(d *door) string {
	for path, own := range e.s.own {
		switch {
		case own != d:
		case d.asks != nil:
			return fmt.Sprintf("%s: front proxies ask here (%s)", path, d.asks.dialect.Name)
		case d.words != "":
			return path + ": " + d.words
		case path == e.s.o.SignIn.CallbackPath():
			return path + ": a sign-in comes back here"
		default:
			return path + ": " + ownWords[path]
		}
	}
	return ""
}

// ownWords says what our own URLs are for.
var ownWords = map[string]string{ // #nosec G101 -- words for people
	"/auth/login":               "begins a sign-in",
	"/auth/logout":              "signs out",
	"/auth/signed-in":           "where a sign-in in a tab of its own ends",
	"/auth/":                    "the account page",
	"/auth/me":                  "who is signed in, for programs",
	"/auth/sessions":            "a person's sessions",
	sessionsEnd:                 "ends a person's sessions",
	connectAt:                   "a person lets us act for them at Nextcloud",
	disconnectAt:                "and no longer",
	"/auth/token":               "an identity JWT for the caller",
	"/auth/backchannel-logout":  "the provider ends sessions",
	"/auth/frontchannel-logout": "the provider ends the browser's session",
	MirrorPath:                  "how a request arrived, for anteroom doctor",
	"/.well-known/jwks.json":    "the keys of the identity JWT",
	assetsPath:                  "what our pages load",
}
