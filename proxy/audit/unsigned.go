package audit

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"
)

// How much of a chain the writer can leave unsigned, where it has a key: a
// signature comes before an event that is one too many, and before one that is
// checkpointAfter later than the first that is unsigned. Who has no key can make
// up so much after the last signature, and no more (Verify).
const (
	mostLeft         = checkpointLines + 4 // lines in a row, with those of the stream itself
	mostUnsigned     = mostLeft + 4        // with those before they are signed after a restart
	mostUnsignedTime = 2 * checkpointAfter // between the times of events
)

// stretch is the lines of a chain since its last signature.
type stretch struct {
	lines       int
	first, last time.Time // of the events among them: the first, and the latest
}

// add counts a line, which comes after those before, or with back in front.
func (s *stretch) add(p *parsed, back bool) {
	s.lines++
	switch p.Kind {
	case Opened, Checkpoint, Closed, Lost: // at any time
		return
	}
	if back || s.first.IsZero() {
		s.first = p.Time
	}
	if p.Time.After(s.last) {
		s.last = p.Time
	}
}

// span is how long it lasted.
func (s *stretch) span() time.Duration { return max(0, s.last.Sub(s.first)) }

// problem is why this is more than the writer can have left, of most lines in a
// row; "" if it is not.
func (s *stretch) problem(most int) string {
	switch {
	case s.lines > most:
		return fmt.Sprintf("more than %d lines in a row have no signature: the program leaves fewer", most)
	case s.span() > mostUnsignedTime:
		return fmt.Sprintf("lines of %s in a row have no signature: the program leaves %s", s.span(), mostUnsignedTime)
	}
	return ""
}

// unsignedTail reads lines from the end of a file back to the last signature, or
// to where their chain begins. problem is why a chain cannot go on from them.
func unsignedTail(f io.ReaderAt, end int64, key ed25519.PublicKey) (s stretch, problem string, err error) {
	var later *parsed
	err = backwards(f, end, func(text []byte) bool {
		p, err := parseLine(text)
		switch {
		case err != nil:
			problem = err.Error()
			return false
		case later == nil:
		case p.link.chain != later.link.chain:
			return false
		case p.link.seq+1 != later.link.seq || p.link.over(later.before) != later.link.hash:
			problem = fmt.Sprintf("line %d does not follow from the one before", later.link.seq)
			return false
		}
		if p.signs() {
			if !p.signedBy(key) {
				problem = "the last signature does not hold, or is of another key"
			}
			return false
		}
		later = p
		s.add(p, true)
		return s.lines <= mostLeft
	})
	if problem == "" {
		problem = s.problem(mostLeft)
	}
	return s, problem, err
}

// readBack is how much of a file is read at once, in bytes.
const readBack = 256 << 10

// backwards calls f with the lines before end, the last first, until it is false.
func backwards(file io.ReaderAt, end int64, f func(text []byte) bool) error {
	var rest []byte // of a line that begins before
	for end > 0 {
		from := max(0, end-readBack)
		b := make([]byte, end-from, int(end-from)+len(rest))
		if _, err := file.ReadAt(b, from); err != nil {
			return err
		}
		b = append(b, rest...)
		for {
			whole := bytes.TrimSuffix(b, []byte("\n"))
			at := bytes.LastIndexByte(whole, '\n')
			if at < 0 {
				break
			}
			if !f(whole[at+1:]) {
				return nil
			}
			b = b[:at+1]
		}
		if len(b) > lineMost {
			return errors.New("it does not end in lines")
		}
		rest, end = b, from
	}
	if len(rest) > 0 {
		f(bytes.TrimSuffix(rest, []byte("\n")))
	}
	return nil
}
