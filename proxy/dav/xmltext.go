package dav

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// unescapeXML decodes the predefined entities and character references
// (https://www.w3.org/TR/xml/#sec-references); any other is left as it is.
func unescapeXML(text []byte) []byte {
	if bytes.IndexByte(text, '&') < 0 {
		return text
	}
	var out []byte
	for len(text) > 0 {
		i := bytes.IndexByte(text, '&')
		if i < 0 {
			break
		}
		out = append(out, text[:i]...)
		text = text[i:]
		c, n := reference(text)
		if n == 0 {
			c, n = '&', 1
		}
		out = utf8.AppendRune(out, c)
		text = text[n:]
	}
	return append(out, text...)
}

// reference reads the reference that text begins with: the character it stands
// for and its length, which is 0 for one that is not known.
func reference(text []byte) (rune, int) {
	end := bytes.IndexByte(text[:min(len(text), 12)], ';')
	if end < 2 {
		return 0, 0
	}
	switch name := string(text[1:end]); {
	case name == "amp":
		return '&', end + 1
	case name == "lt":
		return '<', end + 1
	case name == "gt":
		return '>', end + 1
	case name == "quot":
		return '"', end + 1
	case name == "apos":
		return '\'', end + 1
	case name[0] == '#':
		digits, base := name[1:], 10
		if len(digits) > 0 && digits[0] == 'x' {
			digits, base = digits[1:], 16
		}
		c, err := strconv.ParseUint(digits, base, 21)
		if err != nil || !utf8.ValidRune(rune(c)) {
			return 0, 0
		}
		return rune(c), end + 1
	}
	return 0, 0
}

// escapeXML appends text so that it is character data.
func escapeXML(out, text []byte) []byte {
	for _, c := range text {
		switch c {
		case '&':
			out = append(out, "&amp;"...)
		case '<':
			out = append(out, "&lt;"...)
		case '>':
			out = append(out, "&gt;"...)
		default:
			out = append(out, c)
		}
	}
	return out
}

// hrefText finds the text between the tags of an href, n bytes at the start of
// b. Text in CDATA sections or with comments in it is put together, escaped. It
// is nil if there are elements within, which no href has. ok is false if b ends
// before the end tag.
func hrefText(b []byte) (text []byte, n int, ok bool) {
	n = bytes.IndexByte(b, '<')
	if n < 0 || n+1 >= len(b) {
		return nil, 0, false
	}
	if b[n+1] == '/' {
		return b[:n], n, true
	}
	if !bytes.Contains(b[n:], []byte("</")) {
		return nil, 0, false // not again from the start with every byte that comes
	}
	text = append(text, b[:n]...)
	for {
		skip := func(start, end string, keep bool) bool {
			inner, has := bytes.CutPrefix(b[n:], []byte(start))
			if !has {
				return false
			}
			j := bytes.Index(inner, []byte(end))
			if j < 0 {
				ok = false
				return true
			}
			if keep {
				text = escapeXML(text, inner[:j])
			}
			n += len(start) + j + len(end)
			return true
		}
		ok = true
		if !skip("<![CDATA[", "]]>", true) && !skip("<!--", "-->", false) && !skip("<?", "?>", false) {
			if len(b)-n < len("<![CDATA[") && !bytes.HasPrefix(b[n:], []byte("</")) {
				return nil, 0, false
			}
			if !bytes.HasPrefix(b[n:], []byte("</")) {
				return nil, 0, true
			}
			return text, n, true
		}
		if !ok {
			return nil, 0, false
		}
		j := bytes.IndexByte(b[n:], '<')
		if j < 0 {
			return nil, 0, false
		}
		text = append(text, b[n:n+j]...)
		n += j
		if n+1 >= len(b) {
			return nil, 0, false
		}
	}
}
