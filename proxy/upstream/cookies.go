package upstream

import (
	"net/http"
	"strings"
)

// filterCookies takes our own cookies out of a request. What is left stays
// byte for byte and in order; a line of which nothing is left goes.
func filterCookies(h http.Header, ours func(string) bool) {
	lines := h["Cookie"]
	switch kept := keptCookies(lines, ours); {
	case len(kept) == 0:
		delete(h, "Cookie")
	default:
		h["Cookie"] = kept
	}
}

// keptCookies are the lines without our cookies: the very same slice if there
// are none of ours.
func keptCookies(lines []string, ours func(string) bool) []string {
	kept, changed := lines, false
	for i, line := range lines {
		out, cut := withoutCookies(line, ours)
		if cut && !changed {
			kept, changed = append(lines[:0:0], lines[:i]...), true
		}
		if changed && (out != "" || !cut) {
			kept = append(kept, out)
		}
	}
	return kept
}

// withoutCookies removes cookies from one Cookie header (RFC 6265 §4.2.1) and
// reports whether there were any. It takes time linear in the line's length.
func withoutCookies(line string, ours func(string) bool) (rest string, cut bool) {
	if !anyCookie(line, ours) {
		return line, false
	}
	out := make([]byte, 0, len(line))
	first := true
	for left, more := line, true; more; {
		var pair string
		pair, left, more = strings.Cut(left, ";")
		switch {
		case ours(cookieName(pair)):
			continue
		case first:
			pair = strings.TrimLeft(pair, " \t")
			first = false
		default:
			out = append(out, ';')
		}
		out = append(out, pair...)
	}
	return string(out), true
}

func anyCookie(line string, ours func(string) bool) bool {
	for left, more := line, true; more; {
		var pair string
		pair, left, more = strings.Cut(left, ";")
		if ours(cookieName(pair)) {
			return true
		}
	}
	return false
}

// cookieName is the name in a pair of a Cookie header. Marks before it are
// overlooked, as some servers do.
func cookieName(pair string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(pair, spaces+"=\""), "=")
	return strings.TrimRight(name, spaces+"\"")
}

// filterSetCookies takes out of an answer what would set our own cookies. It
// reuses the header's slice.
func filterSetCookies(h http.Header, ours func(string) bool) {
	lines := h["Set-Cookie"]
	if len(lines) == 0 {
		return
	}
	kept := lines[:0]
	for _, line := range lines {
		if pair, _, _ := strings.Cut(line, ";"); !ours(cookieName(pair)) {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}

// spaces are what some server or other overlooks around a name.
const spaces = " \t\r\n\v\f"
