package upstream

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"anteroom/session"
)

// Introducer tells a front proxy what the application is to receive with a
// request that the front proxy forwards itself. It cannot take a header away
// there; it names the values that replace the client's, and the headers that
// cannot be replaced. Safe for concurrent use.
type Introducer struct {
	asserter *Asserter
	own      func(string) bool
	query    string          // the parameter that carries the JWT
	empty    []header        // every identity header, saying nothing
	names    map[string]bool // theirs, canonical
	never    *stripper       // them, and what nobody replaces
	ours     *stripper       // all that the application must have from a proxy alone
	nobody   rendering       // of the headers where nobody need be known
}

// NewIntroducer makes an introducer. ownCookie says which cookies are ours,
// byMethod that rules look at the method, so that a header which overrides it
// must not reach the application.
func NewIntroducer(cfg Config, a *Asserter, ownCookie func(string) bool, byMethod bool) *Introducer {
	i := &Introducer{asserter: a, own: ownCookie, query: cfg.JWT.Query, names: map[string]bool{}, ours: newStripper(cfg, byMethod)}
	all := []string{cfg.Headers.User, cfg.Headers.PreferredUsername, cfg.Headers.Email, cfg.Headers.Name, cfg.Headers.Groups}
	if named(cfg.Headers.Groups) {
		all = append(all, groupsTruncated)
	}
	if cfg.JWT.Algorithm != "none" || canonical(cfg.JWT.Header) != "Authorization" {
		all = append(all, cfg.JWT.Header) // without a JWT, Authorization is the client's
	}
	all = slices.DeleteFunc(all, func(name string) bool { return !named(name) })
	never := slices.Concat(all, cfg.Strip, []string{"X-Rewrite-Url", "Proxy", "X-Forwarded"}) // of the last, no front proxy knows one
	if byMethod {
		never = append(never, methodOverrides()...)
	}
	i.never = namesToStrip(never)
	for _, name := range all {
		name = canonical(name)
		i.names[name] = true
		i.empty = append(i.empty, header{name, []string{""}})
	}
	return i
}

// Replaces reports whether a header, in its canonical form, is one of those that
// say who is calling.
func (i *Introducer) Replaces(name string) bool { return i.names[name] }

// Introduce sets every identity header of the answer to a front proxy, empty
// where there is nothing to say, and Cookie to the client's cookies without
// ours. who is nil where nobody need be known. An error is a fault in making
// the JWT; the answer must then be no.
func (i *Introducer) Introduce(h, client http.Header, who *session.Identity, audience string) error {
	var as *assertion
	if who != nil {
		var err error
		if as, err = i.asserter.assert(who, audience); err != nil {
			return err
		}
	}
	i.identity(h, as)
	h["Cookie"] = []string{i.Cookie(client)}
	return nil
}

// identity sets the identity headers; as is nil for nobody.
func (i *Introducer) identity(h http.Header, as *assertion) {
	for _, e := range i.empty {
		h[e.name] = e.value
	}
	if as != nil {
		for _, x := range as.headers {
			h[x.name] = x.value
		}
	}
}

// Cookie is the client's cookies without ours.
func (i *Introducer) Cookie(client http.Header) string {
	return withoutJoined(strings.Join(keptCookies(client["Cookie"], i.own), "; "), i.own)
}

// Rendered is what render makes of the identity headers. It is kept for as long
// as they stand, so there must be but one render for an introducer; it must not
// change what it is given, nor may anybody change what it returns.
func (i *Introducer) Rendered(who *session.Identity, audience string, render func(http.Header, *session.Identity) any) (any, error) {
	kept, as := &i.nobody, (*assertion)(nil)
	if who != nil {
		var err error
		if as, err = i.asserter.assert(who, audience); err != nil {
			return nil, err
		}
		kept, who = &as.rendered, as.who
	}
	kept.once.Do(func() {
		h := http.Header{}
		i.identity(h, as)
		kept.made = render(h, who)
	})
	return kept.made, nil
}

// rendering is something made once.
type rendering struct {
	once sync.Once
	made any
}

// withoutJoined takes our cookies out of values, where they are when a front
// proxy joined several Cookie lines with commas. They sign nobody in: a value is
// anybody's to write.
func withoutJoined(line string, ours func(string) bool) string {
	first, rest, more := strings.Cut(line, ",")
	if !more {
		return line
	}
	out := append(make([]byte, 0, len(line)), first...)
	for part := range strings.SplitSeq(rest, ",") {
		pair, after, more := strings.Cut(part, ";")
		if !ours(cookieName(pair)) {
			out = append(append(out, ','), pair...)
		}
		if more {
			out = append(append(out, ';'), after...)
		}
	}
	return string(out)
}

// QueryToken is the JWT as a parameter of a query.
type QueryToken struct {
	Name   string   // of the parameter, as it is to be written
	Token  string   // "" for nobody: the parameter must go
	Others []string // the client's spellings of it besides Name, as they stand in the query
}

// InQuery is for front proxies that set and remove parameters of a raw query by
// their very names, and take & alone for the mark between two. ErrTarget: the
// client spelt ours in a way that such a front proxy cannot remove.
func (i *Introducer) InQuery(query string, who *session.Identity, audience string) (q QueryToken, err error) {
	q.Name = url.QueryEscape(i.query)
	for param := range strings.SplitSeq(query, "&") {
		for part := range strings.SplitSeq(param, ";") {
			name, _, _ := strings.Cut(part, "=")
			switch {
			case name == q.Name && part == param, !spells(part, i.query):
			case part != param:
				return q, ErrTarget
			default:
				q.Others = append(q.Others, name)
			}
		}
	}
	if who == nil {
		return q, nil
	}
	as, err := i.asserter.assert(who, audience)
	if err != nil {
		return q, err
	}
	q.Token = as.jwt
	return q, nil
}

// Disguised names the headers of a client's request that neither the values of
// Introduce nor those of a front proxy replace, although an application may take
// them for such: an identity or forwarding header with other marks than hyphens
// in its name (servers fold them), or, in any spelling, one of identity.strip,
// one that names another path, or another method where rules look at it.
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
