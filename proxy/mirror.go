package proxy

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"anteroom/session"
)

// MirrorPath is where the doctor asks how its request arrived.
const MirrorPath = "/auth/mirror"

const (
	mirrorAge    = 2 * time.Minute
	mirrorHeader = "Anteroom-Mirror"
	largeAnswer  = "large" // of the query: answer with as large a header as sign-in may
)

// MirrorSealer seals what a doctor shows at MirrorPath: whoever has the site's
// session.keys may ask there.
func MirrorSealer(c *session.Codec) *session.Sealer { return c.For("mirror", mirrorAge) }

// AskMirror makes the doctor's request; large asks for an answer with as large
// a header as a sign-in's.
func AskMirror(site string, seal *session.Sealer, large bool) (*http.Request, error) {
	sealed, err := seal.Seal([]byte("mirror"))
	if err != nil {
		return nil, err
	}
	to := strings.TrimSuffix(site, "/") + MirrorPath
	if large {
		to += "?" + largeAnswer
	}
	r, err := http.NewRequest(http.MethodGet, to, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set(mirrorHeader, sealed)
	return r, nil
}

// Mirrored is how a request arrived.
type Mirrored struct {
	Host, Proto  string   // as the application would learn them
	Client       string   // address that the client is taken to have
	Peer         string   // address the request came from
	Trusted      bool     // the peer is one of server.trusted_proxies
	ForwardedFor []string // as it arrived
	Cookies      int      // bytes of the Cookie header
}

// mirror answers a doctor.
func (s *Server) mirror(x *exchange, _ *session.Identity) error {
	var said []byte
	if s.o.Mirror == nil || s.o.Mirror.Open(x.r.Header.Get(mirrorHeader), &said) != nil {
		return &refusal{status: http.StatusNotFound, reason: reasonNoRoute}
	}
	m := Mirrored{Host: x.origin.host, Proto: x.origin.proto, Client: x.origin.client, Peer: hostOf(x.r.RemoteAddr), Trusted: x.origin.trusted,
		ForwardedFor: x.r.Header.Values("X-Forwarded-For")}
	for _, c := range x.r.Header.Values("Cookie") {
		m.Cookies += len(c)
	}
	h := x.Header()
	parts, size := []string{"1"}, 100
	if x.r.URL.RawQuery == largeAnswer { // as a session in cookies becomes
		parts, size = []string{"1", "2", "3"}, 3800
	}
	for _, part := range parts {
		http.SetCookie(x, &http.Cookie{Name: "anteroom_mirror_" + part, Value: strings.Repeat("x", size), Path: MirrorPath, MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode}) // #nosec G124 -- deletes a cookie that holds nothing
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	return json.NewEncoder(x).Encode(m)
}
