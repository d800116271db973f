package dav

import (
	"bytes"
	"net/url"

	"anteroom/session"
)

// outward maps what the server says of places on itself to places here, for a
// client that came in by one mount.
type outward struct {
	places []place // in the order in which they are tried
	origin []byte  // the server's scheme://host, as we call it
	public []byte  // ours
}

// place is one mount's base on the server and its path here.
type place struct {
	base, path []byte
}

// outwardFrom maps for who came in by entry: what that holds is its own, the
// rest belongs to the mount that holds it and lets them in. Of principals that
// no such mount holds, entry has its own way to them.
func (t table) outwardFrom(entry *Mount, who *session.Identity, public string) *outward {
	o := &outward{origin: []byte(entry.to.String()), public: []byte(public)}
	o.places = append(o.places, place{base: []byte(entry.base), path: []byte(entry.Path)})
	for _, m := range t {
		if m == entry || *m.to != *entry.to || !m.Allows(who) {
			continue
		}
		scope, ok := m.cfg.ScopeOf(who)
		if !ok {
			continue
		}
		below := ""
		for _, s := range scope {
			below += "/" + s
		}
		o.places = append(o.places, place{base: []byte(m.base + below), path: []byte(m.Path + (&url.URL{Path: below}).EscapedPath())})
	}
	if entry.principals != "" {
		o.places = append(o.places, place{base: []byte(entry.principals), path: []byte(entry.Path + principalsPath)})
	}
	return o
}

// replace implements rewriter.replace: text is a path or a URL with white space
// and entities as they were written. What is on no mount stays as it is.
func (o *outward) replace(out, text []byte) ([]byte, bool, error) {
	start := 0
	for start < len(text) && isSpace(text[start]) {
		start++
	}
	path := text[start:]
	ours := []byte(nil)
	if len(path) > 0 && path[0] != '/' && path[0] != '&' && path[0] != '%' {
		n := len(o.origin)
		if len(path) <= n || !bytes.EqualFold(path[:n], o.origin) {
			return out, false, nil
		}
		path, ours = path[n:], o.public
	}
	for i := range o.places {
		p := &o.places[i]
		if n, ok := begins(path, p.base); ok {
			out = append(out, text[:start]...)
			out = append(out, ours...)
			out = append(out, p.path...)
			return append(out, path[n:]...), true, nil
		}
	}
	return out, false, nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// begins reports whether an absolute path, however its characters are escaped,
// is base or lies below it, and how many of its bytes say so. base is decoded.
func begins(path, base []byte) (n int, ok bool) {
	if bytes.HasPrefix(path, base) {
		n = len(base)
	} else if n = disguised(path, base); n < 0 {
		return 0, false
	}
	c, _ := next(path[n:])
	switch c {
	case '/':
		return n, true
	case 0, ' ', '\t', '\r', '\n', '?', '#':
		return n, len(base) > 0
	}
	return 0, false
}

// disguised is begins for a path that spells some of its characters otherwise;
// -1 if it does not begin with base.
func disguised(path, base []byte) (n int) {
	for i := range base {
		c, k := next(path[n:])
		if k == 0 || c != base[i] {
			return -1
		}
		n += k
	}
	return n
}

// next reads one byte of a path and how many bytes it took: itself, percent-
// encoded, or an XML reference to either. At the end it is 0 and 0.
func next(b []byte) (c byte, n int) {
	c, n = char(b)
	if c != '%' {
		return c, n
	}
	high, k := char(b[n:])
	low, l := char(b[n+k:])
	h, okH := unhex(high)
	w, okL := unhex(low)
	if k == 0 || l == 0 || !okH || !okL {
		return c, n
	}
	return h<<4 | w, n + k + l
}

// char reads one byte, or an XML reference to an ASCII character.
func char(b []byte) (c byte, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	if b[0] == '&' {
		if r, n := reference(b); n > 0 && r < 0x80 {
			return byte(r), n // #nosec G115 -- r is below 0x80 here
		}
	}
	return b[0], 1
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
