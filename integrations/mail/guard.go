package mail

import (
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Why a guard ends a connection.
var (
	errTooMuch = errors.New("the server's answer is larger than it may be")
	errTooDeep = errors.New("the server's answer is nested too deeply")
)

// guard is a connection to an IMAP server whose answers are bounded in length,
// in depth and in time. What reads from it may trust in that, and needs no
// bounds of its own. Its reads have a deadline while something is awaited, and
// go by progress: the reader's own are ignored.
type guard struct {
	net.Conn
	greeting []byte // is read first

	mu     sync.Mutex
	left   int64 // guarded by mu: bytes that may come
	busy   bool  // guarded by mu: something is awaited
	reason error // guarded by mu: why no more is read
	shape  shape // of the reading side alone
}

// allow lets so many more bytes come, and begins to await them.
func (g *guard) allow(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.busy = n, true
	_ = g.Conn.SetReadDeadline(time.Now().Add(commandTime))
}

// rest awaits nothing any more. What a server says unasked has to be little.
func (g *guard) rest() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.busy = maxHeader, false
	_ = g.Conn.SetReadDeadline(time.Time{})
}

// why is the reason for which no more is read, nil for none.
func (g *guard) why() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reason
}

// abort ends the connection at once.
func (g *guard) abort(why error) {
	g.mu.Lock()
	if g.reason == nil {
		g.reason = why
	}
	g.mu.Unlock()
	_ = g.Conn.SetDeadline(time.Unix(1, 0))
}

// Read implements net.Conn.
func (g *guard) Read(b []byte) (n int, err error) {
	if len(g.greeting) > 0 {
		n = copy(b, g.greeting)
		g.greeting = g.greeting[n:]
		return n, nil
	}
	if err := g.why(); err != nil {
		return 0, err
	}
	n, err = g.Conn.Read(b)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left -= int64(n)
	switch {
	case g.reason != nil:
		return 0, g.reason
	case err != nil:
		g.reason = err
		return n, err
	case g.left < 0:
		g.reason = errTooMuch
	case !g.shape.scan(b[:n]):
		g.reason = errTooDeep
	default:
		if g.busy {
			_ = g.Conn.SetReadDeadline(time.Now().Add(commandTime))
		}
		return n, nil
	}
	return 0, g.reason
}

// Write implements net.Conn. Being able to write is progress, too.
func (g *guard) Write(b []byte) (int, error) {
	n, err := g.Conn.Write(b)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy && g.reason == nil {
		_ = g.Conn.SetReadDeadline(time.Now().Add(commandTime))
	}
	return n, err
}

// SetReadDeadline implements net.Conn.
func (g *guard) SetReadDeadline(time.Time) error { return nil }

// shape follows how deep the parentheses of an IMAP answer are, past quoted
// strings and literals (RFC 9051 §4.3).
type shape struct {
	depth    int
	skip     uint64 // bytes of a literal
	quoted   bool
	escaped  bool
	size     uint64 // of the literal that is being announced
	counting bool
	closed   bool   // the announcement is over but for the end of line
	head     []byte // how the line begins
	numbers  disorder
}

// disorder is how much work the numbers of a line make for who keeps them
// sorted: one that is below another moves all that are there.
type disorder struct {
	number, top uint64
	within      bool // a number
	n, work     int
}

// maxDisorder is the work of 60,000 numbers the wrong way round.
const maxDisorder = 2_000_000_000

func (d *disorder) take(c byte) {
	if c >= '0' && c <= '9' {
		d.number, d.within = d.number*10+uint64(c-'0'), true
		return
	}
	if !d.within {
		return
	}
	if d.n++; d.number < d.top {
		d.work += d.n
	}
	d.top, d.number, d.within = max(d.top, d.number), 0, false
}

const headSize = len("* PREAUTH ")

// literals reports whether there are any in the line: there are none in what
// is text for people, and none is to hide what comes after.
func (s *shape) literals() bool {
	kind, ok := strings.CutPrefix(string(s.head), "* ")
	kind, _, _ = strings.Cut(kind, " ")
	return ok && !slices.Contains([]string{"OK", "NO", "BAD", "BYE", "PREAUTH"}, strings.ToUpper(kind))
}

// scan goes on with more of the answer; false once it is too deep, or its numbers
// are in too much disorder.
func (s *shape) scan(b []byte) bool {
	for len(b) > 0 {
		if s.skip > 0 {
			n := min(s.skip, uint64(len(b)))
			s.skip -= n
			b = b[n:]
			continue
		}
		if s.take(b[0]); s.depth > maxNesting || s.numbers.work > maxDisorder {
			return false
		}
		b = b[1:]
	}
	return true
}

func (s *shape) take(c byte) {
	if len(s.head) < headSize && c != '\n' {
		s.head = append(s.head, c)
	}
	switch {
	case c == '\n':
		if s.closed && s.literals() {
			s.skip = s.size
		} else {
			s.depth, s.head, s.numbers = 0, s.head[:0], disorder{}
		}
		s.quoted, s.escaped, s.counting, s.closed = false, false, false, false
	case c == '\r':
	case s.escaped:
		s.escaped = false
	case s.quoted:
		s.escaped, s.quoted = c == '\\', c != '"'
	default:
		s.outside(c)
	}
}

// outside takes a byte that is not within a string.
func (s *shape) outside(c byte) {
	s.numbers.take(c)
	counting, closed := s.counting, false
	s.counting = false
	switch {
	case c == '"':
		s.quoted = true
	case c == '(':
		s.depth++
	case c == ')':
		s.depth--
	case c == '{':
		s.counting, s.size = true, 0
	case counting && c >= '0' && c <= '9' && s.size < 1<<40:
		s.counting, s.size = true, s.size*10+uint64(c-'0')
	case counting && c == '}':
		closed = true
	}
	s.closed = closed
}
