package dav

import (
	"bytes"
	"encoding/xml"
	"regexp"
	"strings"
)

// scan goes through the tokens of a request's body.
type scan struct {
	everywhere bool // also within calendarserver's source
	scoped     bool // what looks beyond where the request goes is refused

	root  bool
	open  []xml.Name
	href  *strings.Builder // text of the href we are in
	hrefs []string
}

// beyond are reports that look through all of a server, wherever they are
// asked for (RFC 3744 §9.3 to 9.5, and Apple's).
var beyond = map[string]bool{
	"principal-match": true, "principal-property-search": true, "principal-search-property-set": true, "calendarserver-principal-search": true,
}

// declaration is an XML declaration of UTF-8 (https://www.w3.org/TR/xml/#sec-prolog-dtd).
var declaration = regexp.MustCompile(`^version\s*=\s*["']1\.0["'](\s+encoding\s*=\s*["'](?i:utf-8)["'])?(\s+standalone\s*=\s*["'](yes|no)["'])?\s*$`)

// take judges one token.
func (s *scan) take(token xml.Token) error {
	switch t := token.(type) {
	case xml.Directive:
		return errXML
	case xml.ProcInst:
		if t.Target != "xml" || s.root {
			return errXML
		}
		if !declaration.Match(t.Inst) { // in which others may find an encoding where we find none
			return errEncoding
		}
	case xml.StartElement:
		return s.start(t)
	case xml.EndElement:
		n := len(s.open) - 1
		if s.href != nil {
			s.hrefs = append(s.hrefs, s.href.String())
			s.href = nil
		}
		s.open = s.open[:n]
	case xml.CharData:
		if s.href != nil {
			s.href.Write(t)
		}
		if len(s.open) == 0 && len(bytes.TrimSpace(t)) > 0 {
			return errXML
		}
	}
	return nil
}

// start judges a start tag. No href has elements within: servers would read
// the text of those, too.
func (s *scan) start(t xml.StartElement) error {
	switch {
	case len(s.open) == 0 && s.root, len(s.open) == maxDepth, s.href != nil, twice(t.Attr):
		return errXML
	case !s.root && s.scoped && beyond[t.Name.Local]:
		return errScope
	}
	s.root = true
	inSource := false
	for _, n := range s.open {
		inSource = inSource || n == xml.Name{Space: nsCS, Local: "source"}
	}
	if carries(t.Name) && (s.everywhere || !inSource) {
		s.href = new(strings.Builder)
	}
	s.open = append(s.open, t.Name)
	return nil
}

// maxAttributes bounds those of one tag.
const maxAttributes = 64

// twice reports whether an attribute stands in a tag twice, of which parsers
// take one or the other, or none; or whether there are more than anybody needs.
func twice(attributes []xml.Attr) bool {
	if len(attributes) > maxAttributes {
		return true
	}
	for i, a := range attributes {
		for _, b := range attributes[:i] {
			if a.Name == b.Name {
				return true
			}
		}
	}
	return false
}

// carries knows the elements whose text is a path or a URL. sabre/dav before
// 2.0 takes urn:DAV for DAV:, the rewriter does not: that is refused.
func carries(n xml.Name) bool {
	return n.Local == "href" && (n.Space == nsDAV || strings.EqualFold(n.Space, "urn:DAV")) || n.Local == "comments-href" && n.Space == nsOC
}

// agrees compares the hrefs that both parsers found. Of one that is empty, or
// written as an empty tag, either may not speak.
func (s *scan) agrees(seen []string) bool {
	a, b := withText(s.hrefs), withText(seen)
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func withText(hrefs []string) (out []string) {
	for _, h := range hrefs {
		if h = strings.TrimSpace(strings.ReplaceAll(h, "\r\n", "\n")); h != "" {
			out = append(out, h)
		}
	}
	return out
}

func isUTF8(charset string) bool {
	return strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "us-ascii")
}
