package dav

import (
	"bytes"
	"errors"
)

// What a rewriter bears of one document.
const (
	maxTag      = 64 << 10 // one tag
	maxHref     = 16 << 10 // the text of an href: the longest path, every byte of it encoded, is shorter
	maxBindings = 256      // namespace declarations in force at once
)

var (
	errTag      = errors.New("XML with a tag or an href that is too long")
	errBindings = errors.New("XML with too many namespace declarations")
)

// rewriter walks through one XML document, chunk by chunk, and has the text of
// elements that carry a path or a URL replaced. Every other byte stays as it
// is. It follows namespaces (https://www.w3.org/TR/xml-names/), and passes over
// comments, CDATA sections and processing instructions; it does not check that
// the document is well-formed.
//
// What carries a path: DAV:href anywhere but within calendarserver's source,
// which names a calendar elsewhere, and ownCloud's comments-href. Paths in the
// text of calendar-data and the like are text.
type rewriter struct {
	// replace appends what stands for text to out. It gets the text as it is
	// written, with its entities, and reports false if it is to stay.
	replace func(out, text []byte) ([]byte, bool, error)

	everywhere bool // within a source, too
	hurried    int  // passes over stretches of so many bytes in which nothing carries a path; 0: never

	in       inside
	depth    int
	bindings []binding
	source   int // depth of the calendarserver source we are in; 0: none
}

// inside is what a chunk may end in the middle of, without more to remember.
type inside uint8

const (
	inText inside = iota
	inComment
	inCDATA
	inInstruction
	inHref // right after the start tag of something that carries a path
)

// feed takes more of the document. It appends what is ready to out, and returns
// how much of the chunk that was; the rest must come again, with more. last
// says that there is no more.
func (x *rewriter) feed(out, chunk []byte, last bool) ([]byte, int, error) {
	from, i := 0, 0 // chunk[from:i] is ready and not appended yet
	var ahead marks
	slow := 0 // up to where there is something to look at
	for i < len(chunk) {
		switch x.in {
		case inText:
			if x.hurried > 0 && i >= slow {
				i, slow = x.hurry(chunk, i, &ahead)
			}
			j := bytes.IndexByte(chunk[i:], '<')
			if j < 0 {
				i = len(chunk)
				continue
			}
			n, err := x.markup(chunk[i+j:])
			if err != nil {
				return out, i, err
			}
			i += j + n
			if n == 0 { // not whole
				return x.wait(out, chunk, from, i, last)
			}
		case inHref:
			text, n, ok := hrefText(chunk[i:])
			if !ok && !last {
				if len(chunk)-i > maxHref {
					return out, i, errTag
				}
				return append(out, chunk[from:i]...), i, nil
			}
			if n > maxTag {
				return out, i, errTag
			}
			x.in = inText
			if text == nil {
				continue
			}
			out = append(out, chunk[from:i]...)
			from = i
			next, changed, err := x.replace(out, text)
			if err != nil {
				return out, i, err
			}
			if i += n; changed {
				out, from = next, i
			}
		default:
			end := [...]string{inComment: "-->", inCDATA: "]]>", inInstruction: "?>"}[x.in]
			j := bytes.Index(chunk[i:], []byte(end))
			if j < 0 {
				if keep := len(end) - 1; !last && len(chunk)-i > keep {
					i = len(chunk) - keep
				}
				return x.wait(out, chunk, from, i, last)
			}
			i += j + len(end)
			x.in = inText
		}
	}
	return append(out, chunk[from:i]...), i, nil
}

// wait returns from feed with what lies before i; at the end of the document
// with all there is.
func (x *rewriter) wait(out, chunk []byte, from, i int, last bool) ([]byte, int, error) {
	if last {
		i = len(chunk)
	} else if len(chunk)-i > maxTag {
		return out, i, errTag
	}
	return append(out, chunk[from:i]...), i, nil
}

// markup passes the tag, or the beginning of what else may begin with <, at
// the start of b. 0 means that b does not hold enough of it.
func (x *rewriter) markup(b []byte) (int, error) {
	if len(b) < 2 {
		return 0, nil
	}
	switch b[1] {
	case '/':
		n := bytes.IndexByte(b, '>') + 1
		if n > 0 {
			x.leave()
		}
		return n, nil
	case '?':
		x.in = inInstruction
		return 2, nil
	case '!':
		return x.declaration(b)
	}
	// Most tags are a name and nothing else: one look at each byte.
	n := 1
	for n < len(b) && b[n] > ' ' && b[n] != '>' && b[n] != '/' {
		n++
	}
	if n == len(b) {
		return 0, nil
	}
	name := b[1:n]
	if b[n] == '>' {
		return n + 1, x.enter(name, nil, false)
	}
	end := endOfTag(b)
	if end < 0 {
		return 0, nil
	}
	if end > maxTag {
		return 0, errTag
	}
	return end + 1, x.enter(name, b[n:end], b[end-1] == '/')
}

// declaration passes the start of what begins with <!.
func (x *rewriter) declaration(b []byte) (int, error) {
	const comment, cdata = "<!--", "<![CDATA["
	switch {
	case bytes.HasPrefix(b, []byte(comment)):
		x.in = inComment
		return len(comment), nil
	case bytes.HasPrefix(b, []byte(cdata)):
		x.in = inCDATA
		return len(cdata), nil
	case len(b) < len(cdata) && (bytes.HasPrefix([]byte(cdata), b) || bytes.HasPrefix([]byte(comment), b)):
		return 0, nil
	}
	return 2, nil // a document type declaration: its content is no concern of ours
}

// enter notes a start tag.
func (x *rewriter) enter(name, attributes []byte, empty bool) error {
	declared := len(x.bindings)
	if attributes != nil {
		if err := x.declare(attributes); err != nil {
			return err
		}
	}
	if empty {
		x.bindings = x.bindings[:declared]
		return nil
	}
	x.depth++
	n := len(name)
	switch { // by the end of the name first: the prefix is resolved for few
	case n < 4 || x.source > 0:
	case string(name[n-4:]) == "href":
		if local, s := x.resolve(name); local == "href" && s == davSpace || local == "comments-href" && s == ocSpace {
			x.in = inHref
		}
	case n >= 6 && string(name[n-6:]) == "source":
		if local, s := x.resolve(name); local == "source" && s == csSpace && !x.everywhere {
			x.source = x.depth
		}
	}
	return nil
}

// leave notes an end tag.
func (x *rewriter) leave() {
	for n := len(x.bindings); n > 0 && x.bindings[n-1].depth >= x.depth; n-- {
		x.bindings = x.bindings[:n-1]
	}
	if x.source == x.depth {
		x.source = 0
	}
	if x.depth > 0 {
		x.depth--
	}
}

// endOfTag is where the > of a tag is that may have attributes; -1 if not in b.
func endOfTag(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch c := b[i]; c {
		case '>':
			return i
		case '"', '\'':
			j := bytes.IndexByte(b[i+1:], c)
			if j < 0 {
				return -1
			}
			i += j + 1
		}
	}
	return -1
}
