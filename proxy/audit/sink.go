package audit

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// sink is a place for lines.
type sink interface {
	// write takes whole lines. An error says that none of them is there, as far as
	// can be told: they come again. errUnsynced: they are there, but may not
	// outlast the machine. Lines that the place would refuse again and again are
	// left out, and noted in b.
	write(b *batch) error
	close() error
}

// batch is some lines, in order.
type batch struct {
	text  []byte
	lines []line

	refused []line // by the place, for good: it has all but these
}

// part is some of the lines, from one up to before another.
func (b *batch) part(from, to int) *batch {
	begin := 0
	if from > 0 {
		begin = b.lines[from-1].end
	}
	p := &batch{text: b.text[begin:b.lines[to-1].end]}
	for _, l := range b.lines[from:to] {
		l.end -= begin
		p.lines = append(p.lines, l)
	}
	return p
}

// line is one of them: where it ends in the text, and what a sink may want to
// know of it.
type line struct {
	end  int
	kind Kind
	time time.Time
	told chan<- error // who waits for it; nil: nobody
}

// each calls f with every line, without its newline.
func (b *batch) each(f func(text []byte, of line) error) error {
	from := 0
	for _, l := range b.lines {
		if err := f(b.text[from:l.end-1], l); err != nil {
			return err
		}
		from = l.end
	}
	return nil
}

// errUnsynced is a write that reached the system, but perhaps not the disk.
var errUnsynced = errors.New("written, but not synced")

// writerSink is a stream of the process's own.
type writerSink struct{ w io.Writer }

func (s writerSink) write(b *batch) error {
	_, err := s.w.Write(b.text)
	return err
}

func (writerSink) close() error { return nil }

// Place checks what audit.output or one of audit.copies says. The error is the
// problem in the operator's words; that a file's folder is there is not looked at.
func Place(text string) error {
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case text == "":
		return errors.New("is empty; write stdout, stderr, off, a file, syslog+tcp://host:601 or https://host/path")
	case !ok:
		return nil
	case scheme == "syslog+unix":
		if !strings.HasPrefix(rest, "/") {
			return errors.New("names no socket; write syslog+unix:///dev/log")
		}
		return nil
	case scheme == "syslog+tcp", scheme == "syslog+tls", scheme == "syslog+udp":
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" || u.Port() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return fmt.Errorf("is not an address; write %s://host:port", scheme)
		}
		return nil
	case scheme == "https", scheme == "http":
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
			return errors.New("is not a URL that lines can be posted to; its token goes into audit.token")
		}
		return nil
	}
	return fmt.Errorf("has the scheme %.40q, which is none of syslog+tcp, syslog+tls, syslog+udp, syslog+unix, https and http", scheme)
}

// IsFile reports whether a place is a file.
func IsFile(text string) bool {
	return text != "stdout" && text != "stderr" && text != "off" && !strings.Contains(text, "://")
}

// open opens a place. prior is where a chain that the place holds has got to;
// nil where it holds none or does not know.
func (l *Log) open(place string, stdout, stderr io.Writer) (s sink, prior *prior, err error) {
	scheme, rest, remote := strings.Cut(place, "://")
	switch {
	case place == "off":
		return writerSink{io.Discard}, nil, nil
	case place == "stdout":
		return writerSink{stdout}, nil, nil
	case place == "stderr":
		return writerSink{stderr}, nil, nil
	case !remote:
		return openFile(place, l.key)
	case strings.HasPrefix(scheme, "syslog+"):
		s, err = newSyslog(strings.TrimPrefix(scheme, "syslog+"), rest, l.roots)
		return s, nil, err
	}
	p := newPoster(place, l.cfg, l.roots, l.o.Sign)
	l.tokens = append(l.tokens, p.token)
	return p, nil, nil
}
