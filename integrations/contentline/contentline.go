// Package contentline is the text of iCalendar and vCard by its content lines
// (RFC 5545 §3.1, RFC 6350 §3.2), so that one can be changed and all others
// stay as they were, to the byte. It trusts no text to be well-formed, and no
// value to be without line breaks.
package contentline

import (
	"strings"
	"unicode/utf8"
)

// Sheet is the text of an iCalendar object, by lines: what is not changed stays
// as it was, to the byte.
type Sheet struct {
	Lines []string // content lines (RFC 5545 §3.1), folded as they were, with their line breaks
}

// Extent is where a component is: from its BEGIN to its END.
type Extent struct{ First, Last int }

// Of takes a text apart.
func Of(text string) *Sheet {
	s := &Sheet{}
	first := 0 // where the line begins
	for i := 0; i < len(text); {
		n := strings.IndexByte(text[i:], '\n') + 1
		if n == 0 {
			n = len(text) - i
		}
		if i += n; i == len(text) || text[i] != ' ' && text[i] != '\t' {
			s.Lines = append(s.Lines, text[first:i])
			first = i
		}
	}
	return s
}

const (
	maxHead    = 16 << 10 // bytes of a property's name and parameters, which libraries read in the square of the time
	maxNesting = 8
	maxParts   = 100_000 // lines and parameters, each of which takes some hundred bytes when it is read
	maxList    = 1000    // parts of one value
)

// Modest reports whether libraries read a text in time and memory that its
// length is in proportion to: whether it has not too many parts, nor any that
// are too long or too deep.
func Modest(text string) bool {
	head, value, quoted, depth, parts := 0, false, false, 0, 0
	for line := range strings.SplitAfterSeq(text, "\n") {
		if line == "" {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			head, value, quoted = 0, false, false
			parts++
			if len(line) >= 6 && strings.EqualFold(line[:6], "BEGIN:") {
				depth++
			} else if len(line) >= 4 && strings.EqualFold(line[:4], "END:") {
				depth--
			}
		}
		for i := 0; i < len(line) && !value; i++ {
			switch head++; {
			case line[i] == '"':
				quoted = !quoted
			case line[i] == ';', line[i] == ',':
				parts++
			case line[i] == ':' && !quoted:
				value = true
			}
		}
		if head > maxHead || depth > maxNesting || parts > maxParts {
			return false
		}
	}
	return true
}

func (s *Sheet) String() string { return strings.Join(s.Lines, "") }

var folds = strings.NewReplacer("\r\n ", "", "\r\n\t", "", "\n ", "", "\n\t", "")

// Unfolded is a line in one piece, without its break.
func Unfolded(line string) string {
	line = strings.TrimRight(line, "\r\n")
	if strings.Contains(line, "\n") {
		line = folds.Replace(line)
	}
	return line
}

// Name is the name of the property on a line, in capitals, without the group
// that vCard may have before it.
func Name(line string) string {
	i := strings.IndexAny(line, ";:\n")
	if i >= 0 && line[i] == '\n' {
		line = Unfolded(line)
		i = strings.IndexAny(line, ";:")
	}
	if i >= 0 {
		line = line[:i]
	}
	return strings.ToUpper(line[strings.LastIndexByte(line, '.')+1:])
}

// Top is the first component of all, with everything in it.
func (s *Sheet) Top() (at Extent, ok bool) {
	depth := 0
	for i, line := range s.Lines {
		switch Name(line) {
		case "BEGIN":
			if depth++; depth == 1 {
				at.First = i
			}
		case "END":
			if depth--; depth == 0 {
				at.Last = i
				return at, true
			}
		}
	}
	return Extent{}, false
}

// Components are those of a name right within the calendar, in order.
func (s *Sheet) Components(name string) (all []Extent) {
	depth, first := 0, 0
	for i, line := range s.Lines {
		switch Name(line) {
		case "BEGIN":
			if depth++; depth == 2 {
				first = i
			}
		case "END":
			if depth--; depth == 1 && strings.EqualFold(Unfolded(s.Lines[first]), "BEGIN:"+name) {
				all = append(all, Extent{first, i})
			}
		}
	}
	return all
}

// Set replaces a component's properties of some names by other lines. Those of
// components within it, such as alarms, are theirs.
func (s *Sheet) Set(at Extent, without map[string]bool, lines ...string) {
	var rest []string
	depth := 0
	for _, line := range s.Lines[at.First+1 : at.Last] {
		name := Name(line)
		if name == "BEGIN" {
			depth++
		}
		if depth > 0 || !without[name] {
			rest = append(rest, line)
		}
		if name == "END" {
			depth--
		}
	}
	s.Splice(at.First+1, at.Last, append(FoldAll(lines), rest...))
}

// Splice puts lines in the place of others.
func (s *Sheet) Splice(from, to int, lines []string) {
	s.Lines = append(append(append([]string{}, s.Lines[:from]...), lines...), s.Lines[to:]...)
}

// Add puts components at the end of the calendar, or, before all events, at its
// beginning.
func (s *Sheet) Add(first bool, lines ...string) {
	at, begun := len(s.Lines), 0
	for i, line := range s.Lines {
		name := Name(line)
		if name == "BEGIN" {
			begun++
		}
		if first && begun == 2 || name == "END" && strings.EqualFold(Unfolded(line), "END:VCALENDAR") {
			at = i
			break
		}
	}
	s.Splice(at, at, FoldAll(lines))
}

// FoldAll folds lines.
func FoldAll(lines []string) []string {
	folded := make([]string, len(lines))
	for i, line := range lines {
		folded[i] = Fold(line)
	}
	return folded
}

// Fold breaks a line after 75 bytes (RFC 5545 §3.1), between characters. One
// that has a break of its own stays as it is.
func Fold(line string) string {
	if strings.HasSuffix(line, "\n") {
		return line
	}
	const width = 75
	var b strings.Builder
	for room := width; len(line) > room; room = width - 1 {
		n := room
		for n > room-utf8.UTFMax && !utf8.RuneStart(line[n]) {
			n--
		}
		b.WriteString(line[:n] + "\r\n ")
		line = line[n:]
	}
	b.WriteString(line + "\r\n")
	return b.String()
}

// Escaped is a text as the value of a property (RFC 5545 §3.3.11): it has no
// line breaks, whatever is in it.
func Escaped(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	return strings.NewReplacer("\\", `\\`, ";", `\;`, ",", `\,`, "\n", `\n`).Replace(s)
}

// Inline is a text as the value of a property that knows no escapes, such as a
// URI: what would end the line is left out.
func Inline(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return -1
		}
		return r
	}, s)
}

// Value is what follows a line's name and parameters.
func Value(line string) string {
	line, quoted := Unfolded(line), false
	for i := range len(line) {
		switch {
		case line[i] == '"':
			quoted = !quoted
		case line[i] == ':' && !quoted:
			return line[i+1:]
		}
	}
	return ""
}

// Head is a line's name and parameters, with the group that vCard may have
// before them.
func Head(line string) string {
	return strings.TrimSuffix(strings.TrimSuffix(Unfolded(line), Value(line)), ":")
}

// Text is a value as it reads (RFC 5545 §3.3.11, RFC 6350 §4.1).
func Text(value string) string { return strings.Join(split(value, 0), "") }

// Parts are the components of a structured value, such as a name's (RFC 6350
// §3.4), as they read.
func Parts(value string) []string { return split(value, ';') }

// Raw are the components of a structured value as they are written.
func Raw(value string) (parts []string) {
	first := 0
	for i := 0; i < len(value) && len(parts) < maxList; i++ {
		switch value[i] {
		case '\\':
			i++
		case ';':
			parts = append(parts, value[first:i])
			first = i + 1
		}
	}
	return append(parts, value[first:])
}

// List is a value with several texts. It, and Parts, leave whole what is after
// the thousandth.
func List(value string) []string { return split(value, ',') }

func split(value string, by byte) (parts []string) {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == by && by != 0 && len(parts) < maxList:
			parts = append(parts, strings.ToValidUTF8(b.String(), "\uFFFD"))
			b.Reset()
		case c == '\\' && i+1 < len(value):
			if i++; value[i] == 'n' || value[i] == 'N' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(value[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return append(parts, strings.ToValidUTF8(b.String(), "\uFFFD"))
}

// Find is a component's first property of a name; its line.
func (s *Sheet) Find(at Extent, name string) (line string, ok bool) {
	all := s.All(at, name)
	if len(all) == 0 {
		return "", false
	}
	return all[0], true
}

// All are a component's properties of a name; their lines. Those of components
// within it are theirs.
func (s *Sheet) All(at Extent, name string) (lines []string) {
	depth := 0
	for _, line := range s.Lines[at.First+1 : at.Last] {
		switch n := Name(line); {
		case n == "BEGIN":
			depth++
		case n == "END":
			depth--
		case n == name && depth == 0:
			lines = append(lines, line)
		}
	}
	return lines
}

// Param is the value of a parameter (RFC 5545 §3.2).
func Param(s string) string {
	s = strings.ReplaceAll(Inline(s), `"`, "")
	if strings.ContainsAny(s, ";:,") {
		return `"` + s + `"`
	}
	return s
}
