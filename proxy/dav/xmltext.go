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
