package integrations

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"
)

// ErrPath: a path that servers may read in more than one way, or that is none.
var ErrPath = errors.New("the path cannot be passed on: it has dot segments, encoded slashes, control characters or is not UTF-8")

// CleanPath takes an escaped path apart: raw is the path with runs of slashes
// made one, otherwise byte for byte; decoded is what raw says. It refuses what
// another reader could resolve to another place: dot segments and slashes or
// backslashes in disguise, however often they are encoded.
func CleanPath(escaped string) (raw, decoded string, err error) {
	if !strings.HasPrefix(escaped, "/") || strings.ContainsAny(escaped, "?#") {
		return "", "", ErrPath
	}
	raw = oneSlash(escaped)
	decoded, err = url.PathUnescape(raw)
	if err != nil {
		return "", "", ErrPath
	}
	p := decoded
	for range maxDecodings {
		if !plainPath(p) || strings.Count(p, "/") != strings.Count(raw, "/") {
			return "", "", ErrPath
		}
		next := Unescaped(p)
		if next == p {
			return raw, decoded, nil
		}
		p = next
	}
	return "", "", ErrPath
}

// maxDecodings is how often a path may be percent-encoded over. Without it, to
// judge one takes time by the square of its length.
const maxDecodings = 8

// Unescaped decodes what escapes there are and leaves the rest, as a reader
// does that decodes once too often. What it cannot read as a path is left.
func Unescaped(p string) string {
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
