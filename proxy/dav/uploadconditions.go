package dav

import (
	"net/http"
	"strings"
)

// conditionsOf makes the conditions of a PUT (RFC 9110 §13.1, 4918 §10.4) those
// of a MOVE to the same place. Those that cannot be said there, and would be
// found unmet only when all was uploaded, need a PUT with a length.
func conditionsOf(from http.Header, to string) (http.Header, error) {
	h := http.Header{}
	one := func(name string) (string, bool) { return from.Get(name), len(from.Values(name)) <= 1 }
	match, ok1 := one("If-Match")
	none, ok2 := one("If-None-Match")
	cond, ok3 := one("If")
	switch {
	case !ok1 || !ok2 || !ok3, from.Get("If-Unmodified-Since") != "", from.Get("If-Modified-Since") != "", none != "" && none != "*", match != "" && cond != "":
		return nil, lengthRequired()
	case strings.HasPrefix(strings.TrimSpace(cond), "<"):
		h.Set("If", cond)
	case cond != "":
		h.Set("If", "<"+to+"> "+cond)
	case match != "":
		lists, ok := anyOf(match)
		if !ok {
			return nil, lengthRequired()
		}
		h.Set("If", "<"+to+"> "+lists)
	}
	if none == "*" {
		h.Set("Overwrite", "F")
	}
	return h, nil
}

// anyOf writes the list of an If-Match header (RFC 9110 §13.1.1) as conditions
// of an If header (RFC 4918 §10.4); false if it is no list of entity tags.
func anyOf(match string) (lists string, ok bool) {
	var out []string
	for rest := strings.TrimSpace(match); ; {
		tag, isTag := entityTag(rest)
		if !isTag {
			return "", false
		}
		out = append(out, "(["+tag+"])")
		if rest = strings.TrimLeft(rest[len(tag):], " \t"); rest == "" {
			return strings.Join(out, " "), true
		}
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return "", false
		}
		rest = strings.TrimLeft(rest, " \t")
	}
}

// entityTag is the tag (RFC 9110 §8.8.3) that a text begins with.
func entityTag(s string) (tag string, ok bool) {
	opaque := strings.TrimPrefix(s, "W/")
	if !strings.HasPrefix(opaque, `"`) {
		return "", false
	}
	end := strings.IndexByte(opaque[1:], '"')
	if end < 0 {
		return "", false
	}
	return s[:len(s)-len(opaque)+end+2], true
}
