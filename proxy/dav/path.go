package dav

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"
)

// errPath: a path that servers may read in more than one way, or that is none.
var errPath = errors.New("the path cannot be passed on: it has dot segments, encoded slashes, control characters or is not UTF-8")

// cleanPath takes an escaped path apart: raw is the path with runs of slashes
// made one, otherwise byte for byte; decoded is what raw says. It refuses what
// another reader could resolve to another place: dot segments and slashes or
// backslashes in disguise, however often they are encoded.
func cleanPath(escaped string) (raw, decoded string, err error) {
	if !strings.HasPrefix(escaped, "/") || strings.ContainsAny(escaped, "?#") {
		return "", "", errPath
	}
	raw = oneSlash(escaped)
	decoded, err = url.PathUnescape(raw)
	if err != nil {
		return "", "", errPath
	}
	p := decoded
	for range maxDecodings {
		if !plainPath(p) || strings.Count(p, "/") != strings.Count(raw, "/") {
			return "", "", errPath
		}
		next := unescaped(p)
		if next == p {
			return raw, decoded, nil
		}
		p = next
	}
	return "", "", errPath
}

// maxDecodings is how often a path may be percent-encoded over. Without it, to
// judge one takes time by the square of its length.
const maxDecodings = 8

// unescaped decodes what escapes there are and leaves the rest, as a reader
// does that decodes once too often. What it cannot read as a path is left.
func unescaped(p string) string {
	if !strings.Contains(p, "%") {
		return p
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] == '%' && i+2 < len(p) {
			if c, err := url.PathUnescape(p[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(p[i])
	}
	return b.String()
}

// oneSlash makes every run of slashes one.
func oneSlash(p string) string {
	if !strings.Contains(p, "//") {
		return p
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] != '/' || i == 0 || p[i-1] != '/' {
			b.WriteByte(p[i])
		}
	}
	return b.String()
}

// plainPath reports whether a decoded path is UTF-8 without dot segments,
// backslashes and control characters.
func plainPath(p string) bool {
	if !utf8.ValidString(p) {
		return false
	}
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c < ' ', c == 0x7f, c == '\\':
			return false
		case c == '.' && i > 0 && p[i-1] == '/':
			rest := p[i+1:]
			if rest == "" || rest[0] == '/' || rest == "." || strings.HasPrefix(rest, "./") {
				return false
			}
		}
	}
	return true
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
