package upstream

import (
	"net/url"
	"strings"
)

// withToken is a raw query in which the parameter name has this value and no
// other, wherever and however often the client spelt it; the rest of the query
// is left byte for byte.
func withToken(query, name, value string) string {
	var b strings.Builder
	for rest, more := query, query != ""; more; {
		var pair string
		pair, rest, more = strings.Cut(rest, "&")
		if names(pair, name) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(pair)
	}
	if b.Len() > 0 {
		b.WriteByte('&')
	}
	return b.String() + url.QueryEscape(name) + "=" + url.QueryEscape(value)
}

// names reports whether any parameter within a pair is the named one, for an
// application that splits at ; too, or folds case.
func names(pair, name string) bool {
	for part := range strings.SplitSeq(pair, ";") {
		key, _, _ := strings.Cut(part, "=")
		if decoded, err := url.QueryUnescape(key); err == nil {
			key = decoded
		}
		if strings.EqualFold(strings.Trim(key, " \x00"), name) {
			return true
		}
	}
	return false
}
