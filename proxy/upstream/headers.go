package upstream

import (
	"net/http"
	"net/textproto"
	"strings"
)

func canonical(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

// ownNames are the headers that only a proxy may set, whatever is configured.
// Every name that begins with x-forwarded- is one too.
var ownNames = []string{
	"X-Request-Id", "Traceparent", "Tracestate", "Forwarded", "X-Real-Ip",
	"X-Original-Url", "X-Original-Uri", "X-Original-Method", "X-Original-Host", "X-Rewrite-Url",
}

var methodOverrides = []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}

// stripper removes from a request every header that the application must only
// have from us, in every spelling: letter case, _ and . for - (servers behind
// fold them), doubled.
type stripper struct {
	names map[string]bool // folded
	long  int             // the longest of them
}

func newStripper(cfg Config, methodOverride bool) *stripper {
	s := &stripper{names: map[string]bool{}}
	all := append([]string{cfg.Headers.User, cfg.Headers.PreferredUsername, cfg.Headers.Email, cfg.Headers.Name, cfg.Headers.Groups}, ownNames...)
	if cfg.JWT.Algorithm != "none" {
		all = append(all, cfg.JWT.Header)
	}
	all = append(all, cfg.Strip...)
	if methodOverride {
		all = append(all, methodOverrides...)
	}
	for _, n := range all {
		var room [64]byte
		folded := string(fold(n, room[:0]))
		s.names[folded] = true
		s.long = max(s.long, len(folded))
	}
	return s
}

// fold is a header name in lower case with every separator a hyphen.
func fold(name string, into []byte) []byte {
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '_' || c == '.':
			c = '-'
		}
		into = append(into, c)
	}
	return into
}

const forwardedPrefix = "x-forwarded-"

// ours reports whether a header is one that only we may set.
func (s *stripper) ours(name string) bool {
	if len(name) > 256 {
		return strings.HasPrefix(string(fold(name[:len(forwardedPrefix)], nil)), forwardedPrefix)
	}
	var room [256]byte
	folded := fold(name, room[:0])
	if len(folded) >= len(forwardedPrefix) && string(folded[:len(forwardedPrefix)]) == forwardedPrefix {
		return true
	}
	return len(folded) <= s.long && s.names[string(folded)]
}

// strip removes them all. It allocates nothing.
func (s *stripper) strip(h http.Header) {
	for name := range h {
		if s.ours(name) {
			delete(h, name)
		}
	}
}

// withoutCookies removes cookies from a Cookie header and leaves the rest of
// it as it is. It reports whether anything changed.
func withoutCookies(line string, ours func(string) bool) (string, bool) {
	if !anyCookie(line, ours) {
		return line, false
	}
	var b strings.Builder
	for rest, more := line, true; more; {
		var pair string
		pair, rest, more = strings.Cut(rest, ";")
		if ours(cookieName(pair)) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(';')
			b.WriteString(pair)
			continue
		}
		b.WriteString(strings.TrimLeft(pair, " \t"))
	}
	return b.String(), true
}

func anyCookie(line string, ours func(string) bool) bool {
	for rest, more := line, true; more; {
		var pair string
		pair, rest, more = strings.Cut(rest, ";")
		if ours(cookieName(pair)) {
			return true
		}
	}
	return false
}

func cookieName(pair string) string {
	name, _, _ := strings.Cut(pair, "=")
	return strings.Trim(name, " \t\"")
}

// filterCookies takes our own cookies out of a request.
func filterCookies(h http.Header, ours func(string) bool) {
	lines := h["Cookie"]
	var kept []string
	changed := false
	for i, line := range lines {
		out, cut := withoutCookies(line, ours)
		if cut && !changed {
			changed = true
			kept = append(kept, lines[:i]...)
		}
		if changed && out != "" {
			kept = append(kept, out)
		}
	}
	switch {
	case changed && len(kept) == 0:
		delete(h, "Cookie")
	case changed:
		h["Cookie"] = kept
	}
}
