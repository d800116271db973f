package upstream

import (
	"strings"

	"anteroom/session"
)

const groupsTruncated = "X-Forwarded-Groups-Truncated"

// named reports whether a configured header name is one: none leaves it out.
func named(name string) bool { return name != "" && name != "none" }

// identityHeaders are the headers that name a caller. All are set, empty where
// nothing is known, so that their absence means that nobody is signed in.
func identityHeaders(cfg HeaderConfig, who *session.Identity) []header {
	out := make([]header, 0, 7)
	add := func(name, value string) {
		if named(name) {
			out = append(out, header{canonical(name), []string{value}})
		}
	}
	add(cfg.User, headerSafe(who.Subject, false))
	add(cfg.PreferredUsername, headerSafe(who.Username, false))
	add(cfg.Email, headerSafe(who.Email, false))
	add(cfg.Name, headerSafe(who.Name, false))
	groups, cut := joinGroups(who.Groups, cfg.GroupsMax)
	add(cfg.Groups, groups)
	if cut && named(cfg.Groups) {
		add(groupsTruncated, "true")
	}
	return out
}

// joinGroups joins groups by comma as far as they fit into limit bytes: from
// the first that does not, they are left out, whole, and cut says so.
func joinGroups(groups []string, limit int) (joined string, cut bool) {
	var b strings.Builder
	for _, g := range groups {
		if g == "" {
			continue
		}
		g = headerSafe(g, true)
		room := limit - b.Len()
		if b.Len() > 0 {
			room--
		}
		if len(g) > room {
			return b.String(), true
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(g)
	}
	return b.String(), false
}

// headerSafe makes any text a header value that cannot be taken for another:
// what is not printable ASCII, the percent sign itself, spaces at either end
// (which receivers trim) and, within a list, commas are percent-encoded, so
// that percent-decoding gives the text back.
func headerSafe(s string, list bool) string {
	i := 0
	for i < len(s) && safeAt(s, i, list) {
		i++
	}
	if i == len(s) {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := append(make([]byte, 0, len(s)+16), s[:i]...)
	for ; i < len(s); i++ {
		if c := s[i]; safeAt(s, i, list) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func safeAt(s string, i int, list bool) bool {
	switch c := s[i]; {
	case c < ' ', c >= 0x7f, c == '%', c == ',' && list:
		return false
	case c == ' ':
		return i > 0 && i < len(s)-1
	}
	return true
}
