package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// object is a JSON object, or an XML element's children, in the order written.
type object []member

type member struct {
	name  string
	value any // string, bool, int, int64, float64, nil, []string, object
}

// MarshalJSON writes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			buf.WriteByte(',')
		}
		fmt.Fprintf(&buf, "%q:", m.name)
		v, err := json.Marshal(m.value)
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", m.name, err)
		}
		buf.Write(v)
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}

// writeXML writes the members as OCS does: one space of indent a level, lists
// as <element>, nothing and empty lists as an empty element, true as 1.
func (o object) writeXML(buf *bytes.Buffer, depth int) {
	indent := strings.Repeat(" ", depth)
	for _, m := range o {
		switch v := m.value.(type) {
		case object:
			fmt.Fprintf(buf, "%s<%s>\n", indent, m.name)
			v.writeXML(buf, depth+1)
			fmt.Fprintf(buf, "%s</%s>\n", indent, m.name)
		case []string:
			if len(v) == 0 {
				fmt.Fprintf(buf, "%s<%s/>\n", indent, m.name)
				continue
			}
			fmt.Fprintf(buf, "%s<%s>\n", indent, m.name)
			for _, s := range v {
				fmt.Fprintf(buf, "%s <element>%s</element>\n", indent, escaped(s))
			}
			fmt.Fprintf(buf, "%s</%s>\n", indent, m.name)
		case nil:
			fmt.Fprintf(buf, "%s<%s/>\n", indent, m.name)
		default:
			fmt.Fprintf(buf, "%s<%s>%s</%s>\n", indent, m.name, escaped(scalar(v)), m.name)
		}
	}
}

func scalar(v any) string {
	switch v {
	case true:
		return "1"
	case false:
		return ""
	}
	return fmt.Sprint(v)
}

// escaped writes text between tags: what has no meaning there stays as it is.
func escaped(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
