package demo

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Endpoint names a group of addresses, for counting and delaying calls.
type Endpoint string

// The endpoints of a [Nextcloud].
const (
	Status      Endpoint = "status"
	Login       Endpoint = "login"       // login form, home page, logging out of Nextcloud itself
	Flow        Endpoint = "flow"        // the pages of the built-in OAuth2
	Authorize   Endpoint = "authorize"   // of either protocol
	Token       Endpoint = "token"       // of either protocol, refreshes included
	Refresh     Endpoint = "refresh"     // token calls that redeem a refresh token
	Userinfo    Endpoint = "userinfo"    // of the oidc app
	Introspect  Endpoint = "introspect"  // of the oidc app
	Discovery   Endpoint = "discovery"   // at any of its three places
	JWKS        Endpoint = "jwks"        // of the oidc app
	Logout      Endpoint = "logout"      // end_session of the oidc app
	OCS         Endpoint = "ocs"         // cloud/user and what has no name of its own
	AppPassword Endpoint = "apppassword" // making and deleting app passwords
	DAV         Endpoint = "dav"
)

// knobs is what a test turns while the server runs.
type knobs struct {
	mu          sync.Mutex // guards what follows
	maintenance bool
	down        bool
	failed      int
	latency     map[Endpoint]time.Duration
	calls       map[Endpoint]int
	dav         int    // status of every DAV answer; 0: as they come
	davTo       string // Location of those
	zip         bool   // DAV answers are gzipped unasked
}

func newKnobs() *knobs {
	return &knobs{latency: make(map[Endpoint]time.Duration), calls: make(map[Endpoint]int)}
}

func (k *knobs) isDown() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.down
}

func (k *knobs) inMaintenance() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.maintenance
}

func (k *knobs) count(e Endpoint) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls[e]++
}

func (k *knobs) failedLogin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed++
}

// wait delays a call by its endpoint's latency. It reports false when the
// caller went away meanwhile.
func (k *knobs) wait(ctx context.Context, e Endpoint) bool {
	k.mu.Lock()
	d := k.latency[e]
	k.mu.Unlock()
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// SetMaintenance turns maintenance mode on or off: pages and tokens answer 503
// HTML, OCS 503 JSON, WebDAV 503 XML; status.php stays 200 and says so.
func (n *Nextcloud) SetMaintenance(on bool) {
	n.knobs.mu.Lock()
	defer n.knobs.mu.Unlock()
	n.knobs.maintenance = on
}

// SetDown makes the server close every connection without an answer.
func (n *Nextcloud) SetDown(down bool) {
	n.knobs.mu.Lock()
	defer n.knobs.mu.Unlock()
	n.knobs.down = down
}

// SetLatency delays every later call of an endpoint by d; 0 ends it. At Token
// and Refresh the delay lies between reading a grant and writing it, which is
// where a Nextcloud 24 loses one when two refresh at once.
func (n *Nextcloud) SetLatency(e Endpoint, d time.Duration) {
	n.knobs.mu.Lock()
	defer n.knobs.mu.Unlock()
	n.knobs.latency[e] = d
}

// SetDAV makes every DAV answer have a status, until it is set to 0: 401 as
// though the credential were wrong, 429 as though there had been too many that
// were, 302 and others with location as Location, where it is not "".
func (n *Nextcloud) SetDAV(status int, location string) {
	n.knobs.mu.Lock()
	defer n.knobs.mu.Unlock()
	n.knobs.dav, n.knobs.davTo = status, location
}

// SetGzip makes PROPFIND answers come gzipped even to who did not ask for it.
func (n *Nextcloud) SetGzip(on bool) {
	n.knobs.mu.Lock()
	defer n.knobs.mu.Unlock()
	n.knobs.zip = on
}

// zips reports whether an answer that can be is gzipped.
func (k *knobs) zips(r *http.Request) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.zip || strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}

// davFault answers as [Nextcloud.SetDAV] says.
func (n *Nextcloud) davFault(w http.ResponseWriter, r *http.Request) bool {
	n.knobs.mu.Lock()
	status, to := n.knobs.dav, n.knobs.davTo
	n.knobs.mu.Unlock()
	if status == 0 {
		return false
	}
	n.open(w, r)
	switch status {
	case http.StatusUnauthorized:
		n.knobs.failedLogin()
		challenge(w, r, strings.Join([]string{noPublic, badBasic, noBearer, badBasic}, ", "))
	case http.StatusTooManyRequests:
		davError(w, status, `OCP\Security\Bruteforce\MaxDelayReached`, "Reached maximum delay")
	default:
		if to != "" {
			w.Header().Set("Location", to)
		}
		davHeaders(w)
		w.WriteHeader(status)
	}
	return true
}

// Calls is how often an endpoint has been called, failures included.
func (n *Nextcloud) Calls(e Endpoint) int {
	n.knobs.mu.Lock()
	defer n.knobs.mu.Unlock()
	return n.knobs.calls[e]
}

// Reuses is how often a refresh token came that had been used up before, which
// only a Strict one notices.
func (n *Nextcloud) Reuses() int {
	n.oauth2.mu.Lock()
	defer n.oauth2.mu.Unlock()
	return n.oauth2.reuses
}

// FailedLogins is how many failed logins a real Nextcloud would have booked on
// the caller's address: by form, by Basic, and by Basic at the oidc app's token
// endpoint, where the client's id is taken for a user.
func (n *Nextcloud) FailedLogins() int {
	n.knobs.mu.Lock()
	defer n.knobs.mu.Unlock()
	return n.knobs.failed
}

// Disable disables or enables a user. An unknown uid is ignored.
func (n *Nextcloud) Disable(uid string, disabled bool) {
	n.users.edit(uid, func(a *account) { a.disabled = disabled })
}

// SetGroups replaces a user's groups. An unknown uid is ignored.
func (n *Nextcloud) SetGroups(uid string, groups []string) {
	n.users.edit(uid, func(a *account) { a.Groups = append([]string(nil), groups...) })
}

// RevokeAll deletes every code, token and app password of a user, and ends
// their Nextcloud sessions.
func (n *Nextcloud) RevokeAll(uid string) {
	n.oauth2.dropUser(uid)
	n.oidc.dropUser(uid)
	n.sessions.dropUser(uid)
}

// RotateKeys replaces the oidc app's signing key. The old one is gone at once.
func (n *Nextcloud) RotateKeys() { n.keys.reset() }

// AddRedirectURI registers a further redirect URI for a client. The oidc app
// takes any registered one; the built-in OAuth2, which knows one a client, uses
// the one added last. An unknown client is ignored.
func (n *Nextcloud) AddRedirectURI(clientID, uri string) { n.clients.addRedirect(clientID, uri) }

// SetClientSecret exchanges a client's secret; the one before is not known any more.
func (n *Nextcloud) SetClientSecret(clientID, secret string) { n.clients.setSecret(clientID, secret) }
