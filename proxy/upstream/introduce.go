package upstream

import (
	"net/http"
	"slices"
	"strings"

	"anteroom/session"
)

// Introducer tells a front proxy what the application is to receive with a
// request that the front proxy forwards itself. It cannot take a header away
// there; it names the values that replace the client's, and the headers that
// cannot be replaced. Safe for concurrent use.
type Introducer struct {
	asserter *Asserter
	own      func(string) bool
	empty    []header        // every identity header, saying nothing
	names    map[string]bool // theirs, canonical
	never    *stripper       // them and identity.strip
	ours     *stripper       // all that the application must have from a proxy alone
}

// NewIntroducer makes an introducer. ownCookie says which cookies are ours.
func NewIntroducer(cfg Config, a *Asserter, ownCookie func(string) bool) *Introducer {
	i := &Introducer{asserter: a, own: ownCookie, names: map[string]bool{}, ours: newStripper(cfg, false)}
	all := []string{cfg.Headers.User, cfg.Headers.PreferredUsername, cfg.Headers.Email, cfg.Headers.Name, cfg.Headers.Groups}
	if named(cfg.Headers.Groups) {
		all = append(all, groupsTruncated)
	}
	if cfg.JWT.Algorithm != "none" || canonical(cfg.JWT.Header) != "Authorization" {
		all = append(all, cfg.JWT.Header) // without a JWT, Authorization is the client's
	}
	all = slices.DeleteFunc(all, func(name string) bool { return !named(name) })
	i.never = namesToStrip(append(slices.Clone(all), cfg.Strip...))
	for _, name := range all {
		name = canonical(name)
		i.names[name] = true
		i.empty = append(i.empty, header{name, []string{""}})
	}
	return i
}

// Introduce sets every identity header of the answer to a front proxy, empty
// where there is nothing to say, and Cookie to the client's cookies without
// ours. who is nil where nobody need be known. An error is a fault in making
// the JWT; the answer must then be no.
func (i *Introducer) Introduce(h, client http.Header, who *session.Identity, audience string) error {
	for _, e := range i.empty {
		h[e.name] = e.value
	}
	if who != nil {
		as, err := i.asserter.assert(who, audience)
		if err != nil {
			return err
		}
		for _, x := range as.headers {
			h[x.name] = x.value
		}
	}
	h["Cookie"] = []string{strings.Join(keptCookies(client["Cookie"], i.own), "; ")}
	return nil
}

// Disguised names the headers of a client's request that neither the values of
// Introduce nor those of a front proxy replace, although an application may take
// them for such: an identity or forwarding header with other marks than hyphens
// in its name (servers fold them), or one of identity.strip in any spelling.
func (i *Introducer) Disguised(client http.Header) (names []string) {
	for name := range client {
		if i.never.named(name) && !i.names[name] || strings.ContainsFunc(name, oddMark) && i.ours.ours(name) {
			names = append(names, name)
		}
	}
	return names
}

// oddMark reports a mark in a header name that is no hyphen.
func oddMark(c rune) bool {
	return c != '-' && !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9')
}
