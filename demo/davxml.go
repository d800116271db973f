package demo

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The namespaces of what Nextcloud says and understands.
const (
	nsDAV       = "DAV:"
	nsSabre     = "http://sabredav.org/ns"
	nsCal       = "urn:ietf:params:xml:ns:caldav"
	nsCalServer = "http://calendarserver.org/ns/"
	nsCard      = "urn:ietf:params:xml:ns:carddav"
	nsOC        = "http://owncloud.org/ns"
	nsNC        = "http://nextcloud.org/ns"
	nsNCApps    = "http://nextcloud.com/ns"
	nsApple     = "http://apple.com/ns/ical/"
	nsOCS       = "http://open-collaboration-services.org/ns"
)

// declared are the prefixes a document may declare at its root, in the order
// in which it does.
var declared = [...]struct{ prefix, space string }{
	{"d", nsDAV}, {"s", nsSabre}, {"cal", nsCal}, {"cs", nsCalServer}, {"card", nsCard}, {"oc", nsOC}, {"nc", nsNC},
}

// maxDepth is how deep a request's XML may nest.
const maxDepth = 64

// element is a piece of XML. Text stands before children.
type element struct {
	xml.Name
	attrs []xml.Attr
	text  string
	kids  []element
}

// el makes an element of what it holds: strings and elements.
func el(space, local string, inside ...any) element {
	e := element{Name: xml.Name{Space: space, Local: local}}
	for _, x := range inside {
		switch x := x.(type) {
		case string:
			e.text += x
		case element:
			e.kids = append(e.kids, x)
		case []element:
			e.kids = append(e.kids, x...)
		}
	}
	return e
}

// attr is the element with one more attribute.
func (e element) attr(name, value string) element {
	e.attrs = append(slices.Clone(e.attrs), xml.Attr{Name: xml.Name{Local: name}, Value: value})
	return e
}

// is reports whether an element has a name.
func (e element) is(space, local string) bool { return e.Space == space && e.Local == local }

// child is the first child of a name, or an element without one.
func (e element) child(space, local string) element {
	for _, k := range e.kids {
		if k.is(space, local) {
			return k
		}
	}
	return element{}
}

// value is what an attribute says; "" where there is none.
func (e element) value(name string) string {
	for _, a := range e.attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// parseXML reads a whole document. An empty one is an element without a name.
func parseXML(data []byte) (element, error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	open := []element{{}}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			if len(open) != 1 || len(open[0].kids) > 1 {
				return element{}, errors.New("the document has no one root")
			}
			return append(open[0].kids, element{})[0], nil
		}
		if err != nil {
			return element{}, fmt.Errorf("reading XML: %w", err)
		}
		last := &open[len(open)-1]
		switch t := token.(type) {
		case xml.Directive:
			return element{}, errors.New("the document has a DOCTYPE")
		case xml.StartElement:
			if len(open) > maxDepth {
				return element{}, errors.New("the document is too deep")
			}
			open = append(open, element{Name: t.Name, attrs: plainAttrs(t.Attr)})
		case xml.CharData:
			last.text += string(t)
		case xml.EndElement:
			open = open[:len(open)-1]
			if len(last.kids) > 0 {
				last.text = strings.TrimSpace(last.text)
			}
			open[len(open)-1].kids = append(open[len(open)-1].kids, *last)
		}
	}
}

// plainAttrs leaves out what declares namespaces.
func plainAttrs(all []xml.Attr) []xml.Attr {
	var kept []xml.Attr
	for _, a := range all {
		if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
			kept = append(kept, a)
		}
	}
	return kept
}

// printer writes documents as sabre's writer does: known namespaces declared
// at the root, others as x1, x2 … wherever they occur.
type printer struct {
	buf      bytes.Buffer
	prefixes map[string]string // by namespace
	root     string            // the root's declarations
	extra    []string          // namespaces that are not declared at the root
	indent   string            // for each level; "": all on one line
}

// newPrinter declares the namespaces of the prefixes given, separated by spaces.
func newPrinter(prefixes, indent string) *printer {
	p := &printer{prefixes: map[string]string{}, indent: indent}
	for _, d := range declared {
		if slices.Contains(strings.Fields(prefixes), d.prefix) {
			p.prefixes[d.space] = d.prefix
			p.root += fmt.Sprintf(" xmlns:%s=%q", d.prefix, d.space)
		}
	}
	return p
}

// document is a whole one.
func (p *printer) document(head string, e element) []byte {
	p.buf.WriteString(head + "\n")
	p.print(e, 0)
	p.buf.WriteByte('\n')
	return p.buf.Bytes()
}

func (p *printer) print(e element, depth int) {
	name, declaration := p.name(e.Name)
	if depth == 0 {
		declaration += p.root
	}
	p.buf.WriteString("<" + name + declaration)
	for _, a := range e.attrs {
		p.buf.WriteString(" " + a.Name.Local + `="` + xmlText(a.Value) + `"`)
	}
	if e.text == "" && len(e.kids) == 0 {
		p.buf.WriteString("/>")
		return
	}
	p.buf.WriteString(">" + xmlText(e.text))
	for _, k := range e.kids {
		p.line(depth + 1)
		p.print(k, depth+1)
	}
	if len(e.kids) > 0 {
		p.line(depth)
	}
	p.buf.WriteString("</" + name + ">")
}

// name is an element's name with its prefix, and the declaration it needs.
func (p *printer) name(n xml.Name) (name, declaration string) {
	if prefix, ok := p.prefixes[n.Space]; ok {
		return prefix + ":" + n.Local, ""
	}
	if n.Space == "" {
		return n.Local, ""
	}
	at := slices.Index(p.extra, n.Space)
	if at < 0 {
		at = len(p.extra)
		p.extra = append(p.extra, n.Space)
	}
	prefix := fmt.Sprintf("x%d", at+1)
	return prefix + ":" + n.Local, " xmlns:" + prefix + `="` + xmlText(n.Space) + `"`
}

func (p *printer) line(depth int) {
	if p.indent != "" {
		p.buf.WriteString("\n" + strings.Repeat(p.indent, depth))
	}
}

var textEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\r", "&#13;")

// xmlText escapes as PHP's writer does.
func xmlText(s string) string { return textEscapes.Replace(s) }
