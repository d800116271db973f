package dav

import "bytes"

// marks are the next places in a chunk where something may be that matters: an
// href, and what only stands in an attribute, a declaration or an instruction,
// or in the middle of a text. -1 stands for none. They are looked for once.
type marks struct {
	found [4]int
	asked bool
}

var hrefMark = []byte("href")

// next is the first mark from i on.
func (m *marks) next(chunk []byte, i int) int {
	nearest := len(chunk)
	for k := range m.found {
		if at := m.found[k]; !m.asked || at >= 0 && at < i {
			m.found[k] = find(chunk, i, k)
		}
		if at := m.found[k]; at >= 0 && at < nearest {
			nearest = at
		}
	}
	m.asked = true
	return nearest
}

func find(chunk []byte, i, k int) int {
	n := -1
	switch k {
	case 0:
		n = bytes.Index(chunk[i:], hrefMark)
	case 1:
		n = bytes.IndexByte(chunk[i:], '=')
	case 2:
		n = bytes.IndexByte(chunk[i:], '!')
	case 3:
		n = bytes.IndexByte(chunk[i:], '?')
	}
	if n >= 0 {
		n += i
	}
	return n
}

// worthIt is how long a stretch has to be for it to be worth while.
const worthIt = 128

// lost is added to the depth once something was passed over: it is relative
// from then on, and never falls to that of the root element.
const lost = 1 << 40

// hurry passes over tags in which nothing matters, to the one that holds the
// next mark: i is where to go on, and until slow there is nothing to pass over.
// It may do so as long as the root element alone declares namespaces, for where
// those of others end would go unnoticed, and calendarserver's is not among
// them, of which source has to be noticed. What it saves is in BenchmarkRewrite.
func (x *rewriter) hurry(chunk []byte, i int, m *marks) (next, slow int) {
	if x.depth == 0 || x.source > 0 {
		return i, i
	}
	for _, b := range x.bindings {
		if b.depth != 1 || b.space == csSpace {
			return i, i + x.hurried
		}
	}
	mark := m.next(chunk, i)
	if mark-i < x.hurried {
		return i, mark + 1
	}
	last := bytes.LastIndexByte(chunk[i:min(mark+1, len(chunk))], '<')
	if last <= 0 {
		return i, mark + 1
	}
	if x.depth < lost/2 {
		x.depth += lost
	}
	return i + last, mark + 1
}
