package dav

import (
	"errors"
	"net/url"
	"strings"

	"anteroom/integrations"
	"anteroom/session"
)

var (
	errScope    = errors.New("a path outside of what may be used here")
	errForeign  = errors.New("a resource of another server")
	errNoMount  = errors.New("a path that is on none of the DAV services")
	errReadOnly = errors.New("nothing may be changed here")
	errAccount  = errors.New("a service that is used with another account, or by other people")
)

// inward maps what a client says of places here to places on the server, and
// refuses what the client may not reach.
type inward struct {
	table    table
	entry    *Mount
	who      *session.Identity
	ours     func(host string) bool // a Host that is answered to here
	below    string                 // where the request goes, below the base and decoded, for relative references
	sets     bool                   // hrefs in the body are values of properties
	fromRoot bool                   // hrefs in the body are relative to the base, as in Nextcloud's SEARCH
}

// target is a place on the server.
type target struct {
	mount *Mount
	below string // of the mount's base, decoded, clean
	raw   string // path on the server, percent-encoded as the client wrote it
	aside bool   // among the server's principals, beside the base: to be read alone
}

// url is the target on its server.
func (t *target) url() string { return t.mount.to.String() + t.raw }

// path finds the place that an escaped path of ours stands for.
func (in *inward) path(escaped string) (target, error) {
	raw, decoded, err := integrations.CleanPath(escaped)
	if err != nil {
		return target{}, err
	}
	m, below := in.table.here(decoded)
	if m == nil {
		return target{}, errNoMount
	}
	if after, ok := strings.CutPrefix(below, principalsPath); ok && m.principals != "" && (after == "" || after[0] == '/') {
		return target{mount: m, below: below, raw: (&url.URL{Path: m.principals}).EscapedPath() + rest(raw, m.Path+principalsPath), aside: true}, nil
	}
	t := target{mount: m, below: below, raw: m.raw + rest(raw, m.Path)}
	if t.raw == "" {
		t.raw = "/"
	}
	if !m.inScope(below, in.who) {
		return t, errScope
	}
	return t, nil
}

// header finds the place that a Destination header (RFC 4918 §10.3) or a tag
// of an If header (§10.4) stands for: a URL of ours, or a path.
func (in *inward) header(value string) (target, error) {
	path := strings.ReplaceAll(strings.TrimSpace(value), " ", "%20") // Nextcloud takes them, and some clients write them
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		scheme, rest, ok := strings.Cut(path, "://")
		host, _, _ := strings.Cut(rest, "/")
		switch {
		case !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https"):
			return target{}, integrations.ErrPath
		case !in.ours(host):
			return target{}, errForeign
		}
		path = strings.TrimPrefix(rest, host)
	}
	path, _, _ = strings.Cut(path, "?")
	return in.path(path)
}

// other is header for a place that the request reads or changes besides its
// own: it has to be on the same server and used with the same account, and the
// caller must be allowed there.
func (in *inward) other(value string) (target, error) {
	t, err := in.header(value)
	if err != nil {
		return t, err
	}
	return t, in.reachable(t.mount)
}

// reachable reports errAccount for a mount that a request which came in by
// another has no business with.
func (in *inward) reachable(m *Mount) error {
	e := in.entry
	switch {
	case m == e:
	case *m.to != *e.to, m.cfg.Credential != e.cfg.Credential, m.ByService() && m.cfg.Account() != e.cfg.Account(), !m.Allows(in.who):
		return errAccount
	}
	return nil
}

// rest is what follows the first n segments' worth of decoded text in an
// escaped path: prefix is a decoded path that raw is known to begin with.
func rest(raw, prefix string) string {
	for range strings.Count(prefix, "/") {
		i := strings.IndexByte(raw[1:], '/')
		if i < 0 {
			return ""
		}
		raw = raw[1+i:]
	}
	return raw
}
