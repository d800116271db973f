package authz

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Rule is one line of the policy: which requests it is for, and who may pass.
type Rule struct {
	Path    string   // prefix, matched at segment boundaries; "/" matches all
	Host    string   // lower case, without port; empty: any
	Methods []string // empty: any
	Allow   Allow
}

// Target is what is asked for. Host is lower case and without port; Path is
// escaped, as it was sent, without query.
type Target struct {
	Method, Host, Path string
}

// Policy is an ordered list of rules: the first that matches is taken. It is
// immutable and safe for concurrent use.
type Policy struct {
	rules   []Rule
	methods bool
}

// NewPolicy makes a policy of rules in their order.
func NewPolicy(rules []Rule) *Policy {
	p := &Policy{rules: slices.Clone(rules)}
	for i := range p.rules {
		p.rules[i].Path = strings.TrimSuffix(p.rules[i].Path, "/")
		p.methods = p.methods || len(p.rules[i].Methods) > 0
	}
	return p
}

// ByMethod reports whether any rule looks at the method, so that a header
// which overrides it must not reach the application.
func (p *Policy) ByMethod() bool { return p.methods }

// Rule returns the rule with the index that Match gave.
func (p *Policy) Rule(i int) *Rule { return &p.rules[i] }

// Reading is one way in which an application may read a path, and the index of
// the rule that the request falls under then, -1 for none.
type Reading struct {
	Path    string
	AnyCase bool // by an application that ignores the case of letters
	Rule    int
}

// Match returns the index of the rule that a request falls under, -1 if none,
// or ErrAmbiguous if its path can be read so as to fall under another.
func (p *Policy) Match(t Target) (int, error) {
	var room [12]Reading
	readings, err := p.Read(t, room[:0])
	if err != nil {
		return -1, err
	}
	for i := range readings {
		if readings[i].Rule != readings[0].Rule {
			return -1, ErrAmbiguous
		}
	}
	return readings[0].Rule, nil
}

// Read appends every reading of a request's path, its normal form first: by the
// letter, and, where that makes a difference, by who ignores the case of letters.
// ErrAmbiguous means that it is no path.
func (p *Policy) Read(t Target, into []Reading) ([]Reading, error) {
	var room [8]string
	paths, err := Readings(t.Path, room[:0])
	if err != nil {
		return nil, err
	}
	for i, path := range paths {
		exact := p.first(t, path, false)
		into = append(into, Reading{Path: path, Rule: exact})
		if folded := p.first(t, path, true); folded != exact || i == 0 {
			into = append(into, Reading{Path: path, AnyCase: true, Rule: folded})
		}
	}
	return into, nil
}

// first is the first rule for a path, by the letter or whatever its case.
func (p *Policy) first(t Target, path string, anyCase bool) int {
	for i := range p.rules {
		r := &p.rules[i]
		if r.Host != "" && r.Host != t.Host || len(r.Methods) > 0 && !slices.Contains(r.Methods, t.Method) {
			continue
		}
		if below(path, r.Path) || anyCase && belowAnyCase(path, r.Path) {
			return i
		}
	}
	return -1
}

// below reports whether a path is prefix itself or lies under it. A prefix has
// no slash at its end, so that the empty one holds everything.
func below(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// belowAnyCase is below for whoever ignores the case of letters, by any table:
// the Kelvin sign is a k to some, and the dotless i an i.
func belowAnyCase(path, prefix string) bool {
	for len(prefix) > 0 {
		a, n := utf8.DecodeRuneInString(path)
		b, m := utf8.DecodeRuneInString(prefix)
		if n == 0 || !sameLetter(a, b) {
			return false
		}
		path, prefix = path[n:], prefix[m:]
	}
	return path == "" || path[0] == '/'
}

func sameLetter(a, b rune) bool {
	switch {
	case a == b:
		return true
	case a < utf8.RuneSelf && b < utf8.RuneSelf:
		return a|0x20 == b|0x20 && 'a' <= a|0x20 && a|0x20 <= 'z'
	}
	return unicode.ToLower(a) == unicode.ToLower(b) || unicode.ToUpper(a) == unicode.ToUpper(b) || unicode.SimpleFold(a) == b || unicode.SimpleFold(b) == a
}
