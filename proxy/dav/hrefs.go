package dav

import (
	"errors"
	"net/url"
	"strings"

	"anteroom/integrations"
)

// replace implements rewriter.replace for a request's body. A place of ours
// becomes one of the server's. What has no path stays as it is; so does a path
// of the server's own, if the caller may use it: clients may have kept one.
func (in *inward) replace(out, text []byte) ([]byte, bool, error) {
	path, kind, err := in.reference(strings.TrimSpace(string(unescapeXML(text))))
	switch {
	case err != nil, kind == pathless:
		return out, false, err
	case kind == elsewhere:
		return out, false, in.foreign(path)
	}
	t, err := in.path(path)
	switch {
	case errors.Is(err, errNoMount):
		return out, false, in.direct(path)
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

// kind is what a URI reference leads to.
type kind int

const (
	pathless  kind = iota // mailto:, principal:, urn:
	here                  // a path of ours, or of the server's
	elsewhere             // a URL of another host
)

// reference is the absolute path that a URI reference (RFC 3986 §4.1) has.
// Servers look at the path of a URL alone, whatever its scheme and host: what
// they could find one in is never pathless.
func (in *inward) reference(text string) (path string, k kind, err error) {
	scheme, rest, ok := strings.Cut(text, ":")
	k = here
	switch {
	case text == "":
		return "", pathless, nil
	case strings.HasPrefix(text, "//"):
		return "", elsewhere, errForeign
	case strings.HasPrefix(text, "/"):
		path = text
	case !ok || strings.ContainsAny(scheme, "/?#"): // relative to the request
		folder := in.below[:strings.LastIndexByte(in.below, '/')+1]
		path = in.entry.Path + "/" + strings.TrimPrefix((&url.URL{Path: folder}).EscapedPath(), "/") + text
	case !strings.Contains(rest, "//") && !strings.HasPrefix(rest, "/"):
		if strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https") {
			return "", elsewhere, integrations.ErrPath // relative, by the rules of old (RFC 3986 §5.2.2)
		}
		return "", pathless, nil
	default:
		authority, found := strings.CutPrefix(rest, "//")
		host, _, _ := strings.Cut(authority, "/")
		if !found {
			return "", elsewhere, integrations.ErrPath
		}
		path = strings.TrimPrefix(authority, host)
		if !in.ours(host) || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			k = elsewhere
		}
	}
	path, _, _ = strings.Cut(path, "#")
	path, _, _ = strings.Cut(path, "?")
	return path, k, nil
}

// foreign judges a URL of another host: a property may have one as its value,
// but a server that is asked about it takes its path for one of its own.
func (in *inward) foreign(path string) error {
	switch {
	case in.entry.scope() != "":
		return errForeign
	case in.sets:
		return nil
	}
	return in.direct(path)
}

// direct judges a path as the server would read it. What a service account
// opens ends where the mounts do that let the caller in; somebody's own account
// ends where the server says.
func (in *inward) direct(path string) error {
	_, decoded, err := integrations.CleanPath(path)
	if err != nil {
		return err
	}
	if in.fromRoot && in.entry.inScope(decoded, in.who) {
		return nil
	}
	for _, m := range in.table {
		if below, ok := m.holds(decoded); ok && *m.to == *in.entry.to && in.reachable(m) == nil && m.inScope(below, in.who) {
			return nil
		}
	}
	if in.entry.scope() != "" || in.entry.ByService() && !in.sets {
		return errScope
	}
	return nil
}
