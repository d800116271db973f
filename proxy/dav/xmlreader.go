package dav

import (
	"errors"
	"io"
	"sync"
)

// chunkSize is how much of a document is looked at at once.
const chunkSize = 64 << 10

// buffers are what one reader works with.
type buffers struct {
	in  []byte // what was read and not taken yet
	out []byte // what is ready
}

var bufferPool = sync.Pool{New: func() any {
	return &buffers{in: make([]byte, chunkSize+maxTag), out: make([]byte, 0, 2*chunkSize)}
}}

// rewritten reads a document with its paths replaced, in constant memory: what
// the source has at a time is passed on before more is asked for.
type rewritten struct {
	x       rewriter
	src     io.ReadCloser
	b       *buffers
	held    int // of b.in
	ready   []byte
	err     error // after what is ready
	skipped bool  // the document is in an encoding we cannot read, and passes as it is
	begun   bool
}

func newRewritten(src io.ReadCloser, replace func(out, text []byte) ([]byte, bool, error)) *rewritten {
	return &rewritten{x: rewriter{replace: replace, hurried: worthIt}, src: src, b: bufferPool.Get().(*buffers)}
}

// Read implements io.Reader.
func (r *rewritten) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.ready) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.fill()
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

// fill reads more and makes of it what can be made.
func (r *rewritten) fill() {
	if r.b == nil {
		r.err = errClosed
		return
	}
	limit := min(r.held+chunkSize, len(r.b.in))
	n, err := r.src.Read(r.b.in[r.held:limit])
	r.held += n
	last := err != nil
	if !r.begun {
		if r.held < 2 && !last {
			return
		}
		r.begun, r.skipped = true, wide(r.b.in[:r.held])
	}
	chunk := r.b.in[:r.held]
	var used int
	out, fault := r.b.out[:0], error(nil)
	if r.skipped {
		out, used = append(out, chunk...), len(chunk)
	} else {
		out, used, fault = r.x.feed(out, chunk, last)
	}
	r.b.out, r.ready = out, out
	if r.held = len(chunk) - used; used > 0 { // else a long tag that drips in would be copied at every byte
		copy(r.b.in, chunk[used:])
	}
	switch {
	case fault != nil:
		r.err = fault
	case last:
		r.err = err
	}
}

var errClosed = errors.New("read after close")

// wide reports whether a document begins as UTF-16 does, or UTF-32.
func wide(b []byte) bool {
	return len(b) >= 2 && (b[0] == 0 || b[1] == 0 || b[0] == 0xfe && b[1] == 0xff || b[0] == 0xff && b[1] == 0xfe)
}

// Close implements io.Closer.
func (r *rewritten) Close() error {
	if b := r.b; b != nil {
		r.b, r.ready = nil, nil
		if cap(b.out) <= 4*chunkSize {
			bufferPool.Put(b)
		}
	}
	return r.src.Close()
}
