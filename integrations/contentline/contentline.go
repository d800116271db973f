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

func Of(text string) *Sheet {
	s := &Sheet{}
	for part := range strings.SplitAfterSeq(text, "\n") {
		switch n := len(s.Lines); {
		case part == "":
		case n > 0 && (part[0] == ' ' || part[0] == '\t'):
			s.Lines[n-1] += part
		default:
			s.Lines = append(s.Lines, part)
		}
	}
	return s
}

func (s *Sheet) String() string { return strings.Join(s.Lines, "") }

// Unfolded is a line in one piece, without its break.
func Unfolded(line string) string {
	line = strings.NewReplacer("\r\n ", "", "\r\n\t", "", "\n ", "", "\n\t", "").Replace(line)
	return strings.TrimRight(line, "\r\n")
}

// Name is the name of the property on a line, in capitals.
func Name(line string) string {
	line = Unfolded(line)
	if i := strings.IndexAny(line, ";:"); i >= 0 {
		line = line[:i]
	}
	return strings.ToUpper(line)
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
	at := len(s.Lines)
	for i, line := range s.Lines {
		name := Name(line)
		if first && name == "BEGIN" && i > 0 || name == "END" && strings.EqualFold(Unfolded(line), "END:VCALENDAR") {
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

// Param is the value of a parameter (RFC 5545 §3.2).
func Param(s string) string {
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
