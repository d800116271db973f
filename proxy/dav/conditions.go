package dav

import (
	"strings"

	"anteroom/integrations"
)

// conditions maps the tags of an If header (RFC 4918 §10.4.2): what is in
// parentheses, state tokens and entity tags, stays as it is. What does not keep
// to the grammar is refused: another reader could find a tag where we see none.
func (in *inward) conditions(value string) (string, error) {
	var b strings.Builder
	lists := 0 // since the last tag
	for i := 0; i < len(value); {
		switch value[i] {
		case '<':
			end := strings.IndexByte(value[i:], '>')
			if end < 0 || b.Len() > 0 && lists == 0 {
				return "", integrations.ErrPath
			}
			t, err := in.other(value[i+1 : i+end])
			if err != nil {
				return "", err
			}
			b.WriteString("<" + t.url() + ">")
			i += end + 1
			lists = 0
		case '(':
			end := listEnd(value[i:])
			if end < 0 {
				return "", integrations.ErrPath
			}
			b.WriteString(value[i : i+end])
			i += end
			lists++
		case ' ', '\t':
			b.WriteByte(' ')
			i++
		default:
			return "", integrations.ErrPath
		}
	}
	if lists == 0 {
		return "", integrations.ErrPath
	}
	return b.String(), nil
}

// listEnd is where a list of conditions ends, after its closing parenthesis;
// -1 if it is none: "(" 1*(["Not"] (Coded-URL | "[" entity-tag "]")) ")".
func listEnd(s string) int {
	i, conditions := 1, 0
	for {
		i = blanks(s, i)
		if after, ok := strings.CutPrefix(s[i:], "Not"); ok {
			i = blanks(s, len(s)-len(after))
		}
		if i >= len(s) {
			return -1
		}
		n := 0
		switch s[i] {
		case ')':
			if conditions == 0 || strings.HasSuffix(strings.TrimRight(s[:i], " \t"), "Not") {
				return -1
			}
			return i + 1
		case '<':
			n = codedURL(s[i:])
		case '[':
			n = bracketedTag(s[i:])
		}
		if n == 0 {
			return -1
		}
		i += n
		conditions++
	}
}

func blanks(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
		i++
	}
	return i
}

// codedURL is the length of the Coded-URL that s begins with; 0 for none.
func codedURL(s string) int {
	end := strings.IndexByte(s, '>')
	if end < 2 || strings.ContainsAny(s[1:end], " \t<()[]\"") || !strings.Contains(s[1:end], ":") {
		return 0
	}
	return end + 1
}

// bracketedTag is the length of the entity tag (RFC 9110 §8.8.3) in brackets
// that s begins with; 0 for none.
func bracketedTag(s string) int {
	i := blanks(s, 1)
	if strings.HasPrefix(s[i:], "W/") {
		i += 2
	}
	if i >= len(s) || s[i] != '"' {
		return 0
	}
	end := strings.IndexByte(s[i+1:], '"')
	if end < 0 {
		return 0
	}
	if i = blanks(s, i+end+2); i >= len(s) || s[i] != ']' {
		return 0
	}
	return i + 1
}
