package upstream

import (
	"net/url"
	"strings"
)

// withParam is a raw query in which the parameter name has this value and no
// other, wherever and however often the client spelt it; with the value "" it
// has none. The rest of the query is left byte for byte.
func withParam(query, name, value string) string {
	out := make([]byte, 0, len(query)+len(name)+len(value)+2)
	first := true
	for at := 0; query != "" && at <= len(query); {
		end := len(query)
		if i := strings.IndexAny(query[at:], "&;"); i >= 0 {
			end = at + i
		}
		if !spells(query[at:end], name) {
			if !first {
				out = append(out, query[at-1]) // the mark before it: & or ;
			}
			out = append(out, query[at:end]...)
			first = false
		}
		at = end + 1
	}
	if value == "" {
		return string(out)
	}
	if !first {
		out = append(out, '&')
	}
	out = append(out, url.QueryEscape(name)...)
	out = append(out, '=')
	return string(append(out, url.QueryEscape(value)...))
}

// spells reports whether a parameter is one that some application reads under
// the name: percent-encoded, in another letter case, with spaces around it,
// cut at NUL, or as a list (name[]).
func spells(param, name string) bool {
	key, _, _ := strings.Cut(param, "=")
	if strings.ContainsAny(key, "%+") {
		key = unescaped(key)
	}
	if i := strings.IndexAny(key, "\x00["); i >= 0 {
		key = key[:i]
	}
	return strings.EqualFold(strings.TrimSpace(key), name)
}

// unescaped decodes what can be decoded and leaves bad escapes as they are,
// as lenient applications do.
func unescaped(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0:
			out = append(out, byte(hexDigit(s[i+1])<<4|hexDigit(s[i+2]))) // #nosec G115 -- of two hexadecimal digits
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

// hexDigit is the value of a hexadecimal digit, or -1.
func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
