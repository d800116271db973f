package upstream

import (
	"net/http"
	"net/textproto"
)

func canonical(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

// ownNames are the headers that only a proxy may set, whatever is configured.
// Every name that begins with X-Forwarded- is one too. Proxy is what CGI makes
// HTTP_PROXY of.
func ownNames() []string {
	return []string{
		"X-Request-Id", "Traceparent", "Tracestate", "Forwarded", "X-Forwarded", "X-Real-Ip", "Proxy",
		"X-Original-Url", "X-Original-Uri", "X-Original-Method", "X-Original-Host", "X-Rewrite-Url",
	}
}

func methodOverrides() []string {
	return []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}
}

const forwardedPrefix = "x-forwarded-"

// stripper removes from a request every header that the application must only
// have from us, in every spelling: letter case, any other mark for - (servers
// fold them, CGI and WSGI _ and PHP . among them), doubled.
type stripper struct {
	names map[string]bool // folded
	long  int             // the longest of them, and the prefix at least
}

func newStripper(cfg Config, methodOverride bool) *stripper {
	all := append(ownNames(), cfg.Headers.User, cfg.Headers.PreferredUsername, cfg.Headers.Email, cfg.Headers.Name, cfg.Headers.Groups)
	all = append(all, cfg.Strip...)
	if cfg.JWT.Algorithm != "none" || canonical(cfg.JWT.Header) != "Authorization" {
		all = append(all, cfg.JWT.Header) // without a JWT, Authorization is the client's
	}
	if methodOverride {
		all = append(all, methodOverrides()...)
	}
	return namesToStrip(all)
}

// namesToStrip makes a stripper of these names alone.
func namesToStrip(all []string) *stripper {
	s := &stripper{names: make(map[string]bool, len(all)), long: len(forwardedPrefix)}
	for _, name := range all {
		if named(name) {
			s.names[string(fold(name, nil))] = true
			s.long = max(s.long, len(name))
		}
	}
	return s
}

// fold appends a header name in lower case with every mark a hyphen.
func fold(name string, to []byte) []byte {
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case 'A' <= c && c <= 'Z':
			to = append(to, c+'a'-'A')
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c >= 0x80:
			to = append(to, c)
		default:
			to = append(to, '-')
		}
	}
	return to
}

// ours reports whether a header is one that only we may set.
func (s *stripper) ours(name string) bool {
	var room [64]byte // on the stack, for all names but absurd ones of the configuration
	folded := fold(name[:min(len(name), s.long)], room[:0])
	if len(folded) >= len(forwardedPrefix) && string(folded[:len(forwardedPrefix)]) == forwardedPrefix {
		return true
	}
	return len(folded) == len(name) && s.names[string(folded)]
}

// named reports whether a header is one of the names, in any spelling.
func (s *stripper) named(name string) bool {
	if len(name) > s.long {
		return false
	}
	var room [64]byte
	return s.names[string(fold(name, room[:0]))]
}

// strip removes them all. It allocates nothing; see BenchmarkStrip.
func (s *stripper) strip(h http.Header) {
	for name := range h {
		if s.ours(name) {
			delete(h, name)
		}
	}
}
