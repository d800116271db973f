package demo

import (
	"net/http"
	"strings"
	"time"
)

// conditions judges a request by what is there (RFC 9110, section 13.1, and
// RFC 4918, section 10.4): an answer, a refusal, or neither to go on.
func (c *davCall) conditions(etag string, modified time.Time, exists bool) (*reply, error) {
	h := c.r.Header
	reads := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
	if want := h.Get("If-Match"); want != "" && (!exists || want != "*" && !listed(want, etag)) {
		text := "An If-Match header was specified, but none of the specified ETags matched."
		if !exists {
			text = "An If-Match header was specified and the resource did not exist"
		}
		return nil, unmet("If-Match", text, etag)
	}
	if want := h.Get("If-None-Match"); exists && (want == "*" || listed(want, etag)) {
		if reads {
			return &reply{status: http.StatusNotModified, header: http.Header{"Etag": {etag}}}, nil
		}
		return nil, unmet("If-None-Match", "An If-None-Match header was specified, but the ETag matched (or * was specified).", "")
	}
	if t, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil && exists && modified.Truncate(time.Second).After(t) {
		return nil, unmet("If-Unmodified-Since", "An If-Unmodified-Since header was specified, but the entity has been changed since the specified date.", "")
	}
	if list := h.Get("If"); list != "" {
		return nil, c.ifHeader(list, etag)
	}
	return nil, nil
}

// unmet refuses for a condition, and says how things are where etag is not "".
func unmet(header, text, etag string) *fault {
	f := refused(http.StatusPreconditionFailed, text, el(nsSabre, "header", header))
	if etag != "" {
		f.header = http.Header{"Etag": {etag}}
	}
	return f
}

// listed reports whether an entity tag is in a header's list.
func listed(header, etag string) bool {
	for t := range strings.SplitSeq(header, ",") {
		if etag != "" && strings.TrimSpace(t) == etag {
			return true
		}
	}
	return false
}

// ifHeader judges the If header. There are no locks here, so no lock token is
// ever right. One list that holds is enough.
func (c *davCall) ifHeader(list, own string) error {
	at, rest, tag := own, list, ""
	for {
		rest = strings.TrimSpace(rest)
		switch {
		case rest == "":
			return unmet("If", "None of the tokens provided in the If: header matched", "")
		case rest[0] == '<':
			tag, rest, _ = strings.Cut(rest[1:], ">")
		case rest[0] == '(':
			conditions, after, _ := strings.Cut(rest[1:], ")")
			if tag != "" && strings.Contains(conditions, "[") { // else nobody looks
				var err error
				if at, err = c.etagOf(tag); err != nil {
					return err
				}
			}
			if holds(conditions, at) {
				return nil
			}
			rest = after
		default:
			return refused(http.StatusBadRequest, "The If header is malformed")
		}
	}
}

// etagOf is the entity tag of what a tagged list names; "" for a folder's that
// has none. What is not there is 404, whatever is asked of it.
func (c *davCall) etagOf(href string) (string, error) {
	place, err := c.placeOf(href)
	if err != nil {
		return "", err
	}
	return c.etagAt(place)
}

func (c *davCall) etagAt(place string) (string, error) {
	r, err := c.resolve(place)
	if err != nil {
		return "", err
	}
	for _, p := range r.props {
		if p.is(nsDAV, "getetag") {
			return p.text, nil
		}
	}
	return "", nil
}

// holds judges one list of the If header: everything in it has to be so.
func holds(conditions, etag string) bool {
	not := false
	for s := strings.TrimSpace(conditions); s != ""; s = strings.TrimSpace(s) {
		var is bool
		switch {
		case strings.HasPrefix(strings.ToLower(s), "not"):
			not, s = !not, s[3:]
			continue
		case s[0] == '[':
			tag, after, _ := strings.Cut(s[1:], "]")
			is, s = etag != "" && tag == etag, after
		case s[0] == '<':
			_, s, _ = strings.Cut(s, ">")
		default:
			return false
		}
		if is == not {
			return false
		}
		not = false
	}
	return true
}
