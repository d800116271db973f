package dav

import "bytes"

// The namespaces in which something carries a path.
const (
	nsDAV = "DAV:"
	nsOC  = "http://owncloud.org/ns"
	nsCS  = "http://calendarserver.org/ns/"
)

// space is a namespace that matters here.
type space uint8

const (
	otherSpace space = iota
	davSpace
	ocSpace
	csSpace
)

// binding is a prefix that a tag at some depth declares.
type binding struct {
	depth  int
	prefix string // empty: the default namespace
	space  space
}

// resolve takes a name apart and finds its namespace.
func (x *rewriter) resolve(name []byte) (local string, s space) {
	prefix, rest, ok := bytes.Cut(name, []byte{':'})
	if !ok {
		prefix, rest = nil, name
	}
	for i := len(x.bindings) - 1; i >= 0; i-- {
		if x.bindings[i].prefix == string(prefix) {
			s = x.bindings[i].space
			break
		}
	}
	switch string(rest) { // without an allocation
	case "href":
		return "href", s
	case "comments-href":
		return "comments-href", s
	case "source":
		return "source", s
	}
	return "", s
}

// declare notes the namespaces that attributes declare, for the tag about to
// be entered.
func (x *rewriter) declare(attributes []byte) error {
	for {
		eq := bytes.IndexByte(attributes, '=')
		if eq < 0 {
			return nil
		}
		name := bytes.TrimSpace(attributes[:eq])
		value := bytes.TrimLeft(attributes[eq+1:], " \t\r\n")
		if len(value) == 0 || value[0] != '"' && value[0] != '\'' {
			return nil // not XML: whoever reads it will find nothing either
		}
		end := bytes.IndexByte(value[1:], value[0])
		if end < 0 {
			return nil
		}
		value, attributes = value[1:1+end], value[2+end:]
		prefix, ok := bytes.CutPrefix(name, []byte("xmlns"))
		if !ok || len(prefix) > 0 && prefix[0] != ':' {
			continue
		}
		if len(x.bindings) == maxBindings {
			return errBindings
		}
		if len(prefix) > 0 {
			prefix = prefix[1:]
		}
		x.bindings = append(x.bindings, binding{depth: x.depth + 1, prefix: string(prefix), space: spaceOf(value)})
	}
}

// spaceOf knows a namespace by its name, as it is written in an attribute.
func spaceOf(value []byte) space {
	if bytes.IndexByte(value, '&') >= 0 {
		value = unescapeXML(value)
	}
	switch string(value) {
	case nsDAV:
		return davSpace
	case nsOC:
		return ocSpace
	case nsCS:
		return csSpace
	}
	return otherSpace
}
