// Package authz decides who may pass: it finds the rule a request falls under
// and asks it. It trusts no spelling of a path. An application may decode,
// clean or cut a path in its own way, so a path is read in every way that is
// known to be done, and a path whose readings fall under different rules is
// refused rather than guessed at.
package authz

import (
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// ErrAmbiguous: the path can be read in ways that fall under different rules,
// or is no path at all. The request must be refused (400).
var ErrAmbiguous = errors.New("the path can be read in more than one way")

// maxDecodings is how often a path may be percent-encoded over: what is still
// encoded after that is not a path anybody means.
const maxDecodings = 3

// maxOdd bounds a path, in bytes, that is to be read in more ways than one.
const maxOdd = 8 << 10

// Readings returns the ways an application may read an escaped path, without
// query: its normal form first. A plain path has just one reading, itself, and
// costs no allocation to find. ErrAmbiguous means it is no path: bad escapes,
// control characters, broken UTF-8, encoded over and over, or odd and very long.
func Readings(escaped string, into []string) ([]string, error) {
	if !strings.HasPrefix(escaped, "/") {
		return nil, ErrAmbiguous
	}
	if plain(escaped) {
		return append(into, escaped), nil
	}
	if len(escaped) > maxOdd {
		return nil, ErrAmbiguous
	}
	decoded, err := decodings(escaped)
	if err != nil {
		return nil, err
	}
	normal := normalForm(decoded[len(decoded)-1])
	out := append(into, normal)
	for _, d := range decoded {
		out = appendReadings(out, d)
		if composed := norm.NFKC.String(d); composed != d { // as who compares names by Unicode does
			out = appendReadings(out, composed)
		}
	}
	return out, nil
}

// appendReadings appends the readings of a decoded path: with backslashes for
// slashes or not, cut where a query or fragment would begin or not, each as it is
// and resolved, and without what a reader of URLs takes for a host.
func appendReadings(to []string, decoded string) []string {
	cut, _, _ := strings.Cut(decoded, "?")
	cut, _, _ = strings.Cut(cut, "#")
	for _, base := range [...]string{decoded, cut} {
		for _, p := range [...]string{base, strings.ReplaceAll(base, `\`, "/")} {
			bare := withoutParams(p)
			resolved := path.Clean(bare)
			to = appendNew(to, p, path.Clean(p), bare, resolved, onWindows(resolved))
			if after, ok := afterHost(bare); ok {
				after = path.Clean(after)
				to = appendNew(to, after, onWindows(after))
			}
		}
	}
	return to
}

// afterHost is the path of what begins with two slashes, as who resolves it for a
// URL reads it: the first segment is a host then (RFC 3986 §4.2), however many
// slashes come before it (https://url.spec.whatwg.org/).
func afterHost(p string) (after string, ok bool) {
	if !strings.HasPrefix(p, "//") {
		return "", false
	}
	_, after, _ = strings.Cut(strings.TrimLeft(p, "/"), "/")
	return "/" + after, true
}

// plain reports whether a path has nothing in it that anybody reads in two
// ways: it is its own normal form.
func plain(p string) bool {
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c <= ' ', c >= 0x7f, c == '%', c == '\\', c == ';', c == '#', c == '?':
			return false
		case c == '/' && i+1 < len(p) && (p[i+1] == '/' || p[i+1] == '.'):
			return false
		case c == '.' && (i+1 == len(p) || p[i+1] == '/'), c == ':' && i+1 < len(p) && (p[i+1] == ':' || p[i+1] == '$'):
			return false
		}
	}
	return true
}

// decodings returns the path as sent, decoded once, twice, … until nothing is
// left to decode.
func decodings(p string) ([]string, error) {
	out := []string{p}
	for range maxDecodings + 1 {
		if !sound(p) {
			return nil, ErrAmbiguous
		}
		next, err := url.PathUnescape(p)
		switch {
		case err != nil && len(out) == 1:
			return nil, ErrAmbiguous
		case err != nil: // a literal percent sign: "100%25" is the name "100%"
			next = unescapeLenient(p)
		}
		if next == p {
			return out, nil
		}
		out = append(out, next)
		p = next
	}
	return nil, ErrAmbiguous
}

// unescapeLenient decodes what escapes there are and leaves a percent sign that
// begins none, as an application does that decodes once too often.
func unescapeLenient(p string) string {
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

// sound reports whether a path is UTF-8 without control characters.
func sound(p string) bool {
	return utf8.ValidString(p) && !strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 })
}

// normalForm is the most eager reading: backslashes are slashes, parameters
// are cut from each segment, dots and double slashes are resolved.
func normalForm(decoded string) string {
	return path.Clean(withoutParams(strings.ReplaceAll(decoded, `\`, "/")))
}

// withoutParams cuts ";…" from every segment, as servlet containers do.
func withoutParams(p string) string {
	if !strings.Contains(p, ";") {
		return p
	}
	segments := strings.Split(p, "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return strings.Join(segments, "/")
}

// onWindows is a clean path as its file systems take it: without dots and spaces
// at a segment's end, and without the name or type of a stream that is the file or
// folder itself (::$DATA, :$I30:$INDEX_ALLOCATION).
func onWindows(clean string) string {
	if !strings.ContainsAny(clean, ". :") {
		return clean
	}
	segments := strings.Split(clean, "/")
	for i, s := range segments {
		s, _, _ = strings.Cut(s, "::")
		s, _, _ = strings.Cut(s, ":$")
		segments[i] = strings.TrimRight(s, ". ")
	}
	return path.Clean(strings.Join(segments, "/"))
}

func appendNew(to []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(to, s) {
			to = append(to, s)
		}
	}
	return to
}
