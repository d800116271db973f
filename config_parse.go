package main

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parseYAML parses text of one document; nil is an empty one. Anchors, aliases
// and tags are refused: nothing here needs them, and an alias can make much out
// of little.
func (l *loader) parseYAML(data []byte) (*yaml.Node, bool) {
	if i := invalidUTF8(data); i >= 0 {
		l.fault("", 1+bytes.Count(data[:i], []byte("\n")), "is not UTF-8 text")
		return nil, false
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, true
	case err != nil:
		l.syntaxFault(err, data)
		return nil, false
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		l.fault("", more.Line, "begins a second document; keep one")
		return nil, false
	case !errors.Is(err, io.EOF):
		l.syntaxFault(err, data)
		return nil, false
	}
	before := len(l.faults)
	l.refuseIndirect(&doc)
	return doc.Content[0], len(l.faults) == before
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// syntaxFault puts the parser's error into words. An anchor's name is left out:
// a password that begins with * would be one.
func (l *loader) syntaxFault(err error, data []byte) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := regexp.MustCompile(`^unknown anchor '(.*)' referenced$`).FindStringSubmatch(text); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		l.fault("", 1+bytes.Count(before, []byte("\n")), "refers to an anchor; write the value out, and quote a value that begins with *")
		return
	}
	line, problem := 0, "is not YAML: "+text
	if m := regexp.MustCompile(`(?s)^line (\d+): (.*)$`).FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		problem = "is not YAML: " + m[2]
	}
	lines := bytes.Split(data, []byte("\n"))
	for n := max(1, line-1); n <= min(line+1, len(lines)); n++ {
		if blank := leadingSpace(lines[n-1]); bytes.ContainsRune(blank, '\t') && strings.Contains(text, "cannot start any token") {
			line, problem = n, "is indented with a tab; YAML wants spaces"
			break
		}
	}
	l.fault("", line, "%s", problem)
}

func leadingSpace(line []byte) []byte {
	return line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
}

// refuseIndirect finds every anchor, alias and tag. It does not follow aliases.
func (l *loader) refuseIndirect(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		l.fault("", n.Line, "refers to an anchor; write the value out")
	case n.Anchor != "":
		l.fault("", n.Line, "has an anchor (&); write each value where it is used, and quote a value that begins with &")
	case n.Style&yaml.TaggedStyle != 0:
		l.fault("", n.Line, "has a YAML tag (!); leave it out, and quote a value that begins with !")
	}
	for _, c := range n.Content {
		l.refuseIndirect(c)
	}
}

func lookup(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

func kindOf(n *yaml.Node) string {
	switch {
	case isNull(n):
		return "empty"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}
