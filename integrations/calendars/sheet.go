package calendars

import (
	"strings"
	"unicode/utf8"
)

// sheet is the text of an iCalendar object, by lines: what is not changed stays
// as it was, to the byte.
type sheet struct {
	lines []string // content lines (RFC 5545 §3.1), folded as they were, with their line breaks
}

// extent is where a component is: from its BEGIN to its END.
type extent struct{ first, last int }

func sheetOf(text string) *sheet {
	s := &sheet{}
	for part := range strings.SplitAfterSeq(text, "\n") {
		switch n := len(s.lines); {
		case part == "":
		case n > 0 && (part[0] == ' ' || part[0] == '\t'):
			s.lines[n-1] += part
		default:
			s.lines = append(s.lines, part)
		}
	}
	return s
}

func (s *sheet) String() string { return strings.Join(s.lines, "") }

// unfolded is a line in one piece, without its break.
func unfolded(line string) string {
	line = strings.NewReplacer("\r\n ", "", "\r\n\t", "", "\n ", "", "\n\t", "").Replace(line)
	return strings.TrimRight(line, "\r\n")
}

// nameOf is the name of the property on a line, in capitals.
func nameOf(line string) string {
	line = unfolded(line)
	if i := strings.IndexAny(line, ";:"); i >= 0 {
		line = line[:i]
	}
	return strings.ToUpper(line)
}

// components are those of a name right within the calendar, in order.
func (s *sheet) components(name string) (all []extent) {
	depth, first := 0, 0
	for i, line := range s.lines {
		switch nameOf(line) {
		case "BEGIN":
			if depth++; depth == 2 {
				first = i
			}
		case "END":
			if depth--; depth == 1 && strings.EqualFold(unfolded(s.lines[first]), "BEGIN:"+name) {
				all = append(all, extent{first, i})
			}
		}
	}
	return all
}

// set replaces a component's properties of some names by other lines. Those of
// components within it, such as alarms, are theirs.
func (s *sheet) set(at extent, without map[string]bool, lines ...string) {
	var rest []string
	depth := 0
	for _, line := range s.lines[at.first+1 : at.last] {
		name := nameOf(line)
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
	s.splice(at.first+1, at.last, append(foldAll(lines), rest...))
}

// splice puts lines in the place of others.
func (s *sheet) splice(from, to int, lines []string) {
	s.lines = append(append(append([]string{}, s.lines[:from]...), lines...), s.lines[to:]...)
}

// add puts components at the end of the calendar, or, before all events, at its
// beginning.
func (s *sheet) add(first bool, lines ...string) {
	at := len(s.lines)
	for i, line := range s.lines {
		name := nameOf(line)
		if first && name == "BEGIN" && i > 0 || name == "END" && strings.EqualFold(unfolded(line), "END:VCALENDAR") {
			at = i
			break
		}
	}
	s.splice(at, at, foldAll(lines))
}

func foldAll(lines []string) []string {
	folded := make([]string, len(lines))
	for i, line := range lines {
		folded[i] = fold(line)
	}
	return folded
}

// fold breaks a line after 75 bytes (RFC 5545 §3.1), between characters. One
// that has a break of its own stays as it is.
func fold(line string) string {
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

// escaped is a text as the value of a property (RFC 5545 §3.3.11): it has no
// line breaks, whatever is in it.
func escaped(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	return strings.NewReplacer("\\", `\\`, ";", `\;`, ",", `\,`, "\n", `\n`).Replace(s)
}

// param is the value of a parameter (RFC 5545 §3.2).
func param(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == '"' || r == 0x7F {
			return -1
		}
		return r
	}, s)
	if strings.ContainsAny(s, ";:,") {
		return `"` + s + `"`
	}
	return s
}
