package dav

import (
	"errors"
	"net/url"
	"strings"

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
	raw, decoded, err := cleanPath(escaped)
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
			return target{}, errPath
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

// conditions maps the tags of an If header (RFC 4918 §10.4.2): what is in
// parentheses, state tokens and entity tags, stays as it is.
func (in *inward) conditions(value string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(value); {
		switch value[i] {
		case '<':
			end := strings.IndexByte(value[i:], '>')
			if end < 0 {
				return "", errPath
			}
			t, err := in.other(value[i+1 : i+end])
			if err != nil {
				return "", err
			}
			b.WriteString("<" + t.url() + ">")
			i += end + 1
		case '(':
			end := listEnd(value[i:])
			if end < 0 {
				return "", errPath
			}
			b.WriteString(value[i : i+end])
			i += end
		case ' ', '\t':
			b.WriteByte(value[i])
			i++
		default:
			return "", errPath
		}
	}
	return b.String(), nil
}

// listEnd is where a list of conditions ends, after its closing parenthesis;
// -1 if it does not.
func listEnd(s string) int {
	for i := 1; i < len(s); i++ {
		var end byte
		switch s[i] {
		case ')':
			return i + 1
		case '<':
			end = '>'
		case '"':
			end = '"'
		default:
			continue
		}
		j := strings.IndexByte(s[i+1:], end)
		if j < 0 {
			return -1
		}
		i += j + 1
	}
	return -1
}

// replace implements rewriter.replace for a request's body. What is no path or
// URL stays as it is; so does what is not ours, where no scope keeps the caller
// from it: the server knows best what to say to it.
func (in *inward) replace(out, text []byte) ([]byte, bool, error) {
	written := strings.TrimSpace(string(unescapeXML(text)))
	path, hierarchical, err := in.reference(written)
	if err != nil || !hierarchical {
		return out, false, err
	}
	t, err := in.path(path)
	switch {
	case errors.Is(err, errNoMount):
		return in.direct(out, path)
	case err == nil:
		err = in.reachable(t.mount)
	}
	if err != nil {
		return out, false, err
	}
	if in.fromRoot {
		t.raw = "/" + strings.TrimPrefix(strings.TrimPrefix(t.raw, in.entry.raw), "/")
	}
	return escapeXML(out, []byte(t.raw)), true, nil
}

// reference is the absolute path here that a URI reference (RFC 3986 §4.1)
// stands for. Not hierarchical is what has no path: mailto:, principal:, urn:.
func (in *inward) reference(text string) (path string, hierarchical bool, err error) {
	scheme, opaque, ok := strings.Cut(text, ":")
	switch {
	case text == "":
		return "", false, nil
	case strings.HasPrefix(text, "//"):
		return "", false, errForeign
	case strings.HasPrefix(text, "/"):
		path = text
	case ok && !strings.ContainsAny(scheme, "/?#"):
		if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			return "", false, nil
		}
		host, found := strings.CutPrefix(opaque, "//")
		host, _, _ = strings.Cut(host, "/")
		if !found || !in.ours(host) {
			return "", false, in.foreign()
		}
		path = strings.TrimPrefix(opaque, "//"+host)
	default: // relative to the request
		folder := in.below[:strings.LastIndexByte(in.below, '/')+1]
		path = in.entry.Path + "/" + strings.TrimPrefix((&url.URL{Path: folder}).EscapedPath(), "/") + text
	}
	path, _, _ = strings.Cut(path, "#")
	path, _, _ = strings.Cut(path, "?")
	return path, true, nil
}

// foreign is what becomes of a URL of another server: servers take its path for
// one of theirs, so that it may not be said within a scope.
func (in *inward) foreign() error {
	if in.entry.scope != nil {
		return errForeign
	}
	return nil
}

// direct checks a path that is on no mount here: clients may have one of the
// server's own, and Nextcloud's SEARCH wants one below the DAV root.
func (in *inward) direct(out []byte, path string) ([]byte, bool, error) {
	if in.entry.scope == nil {
		return out, false, nil
	}
	_, decoded, err := cleanPath(path)
	if err != nil {
		return out, false, err
	}
	below, ok := in.entry.holds(decoded)
	if !ok || in.entry.base == "" {
		below = decoded
	}
	if !in.entry.inScope(below, in.who) {
		return out, false, errScope
	}
	return out, false, nil
}
