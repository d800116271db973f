package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"anteroom/session"
)

// What a browser is told when its WebSocket is cut off (CloseEvent.code; RFC
// 6455 §7.4). Any other cause closes the connection without a word (1006).
const (
	// CloseSessionEnded is of the range for private use (RFC 6455 §7.4.2), after
	// HTTP's 401: signing in again helps, trying again does not.
	CloseSessionEnded = 4401
	// CloseRestarting is IANA's "Service Restart": trying again helps.
	CloseRestarting = 1012
)

// ErrShuttingDown is the cause to end requests with when the program stops. To
// who asks no further it is context.Canceled.
var ErrShuttingDown = fmt.Errorf("the server is shutting down: %w", context.Canceled)

const (
	frameTime  = 250 * time.Millisecond // for the frame under way, and then ours, to go out
	lingerTime = 500 * time.Millisecond // for the client to close its side
)

// closeFrame is the Close frame (RFC 6455 §5.5.1) that tells a client why it
// is cut off; nil for a cause that is told nobody.
func closeFrame(cause error) []byte {
	switch {
	case errors.Is(cause, session.ErrOver):
		return newCloseFrame(CloseSessionEnded, "session ended")
	case errors.Is(cause, ErrShuttingDown):
		return newCloseFrame(CloseRestarting, "restarting")
	}
	return nil
}

func newCloseFrame(code uint16, reason string) []byte {
	b := append([]byte{finBit | opClose, byte(2 + len(reason))}, 0, 0) // #nosec G115 -- reasons are our own, below 124 bytes
	binary.BigEndian.PutUint16(b[2:], code)
	return append(b, reason...)
}

// socket is a WebSocket's connection to the client. When the request's context
// ends, it says why in a Close frame, where one may stand, and closes.
type socket struct {
	net.Conn // nil until it is taken over
	ctx      context.Context
	far      *farSide
	log      *slog.Logger  // of panics; nil: nobody is told
	tooBig   func()        // told of a message that is too long; nil: nobody is
	refused  atomic.Bool   // there was one
	in       sizes         // Read's own, as the next two
	heldIn   []byte        // the beginning of a header
	stopped  bool          // what comes next is too much
	open     atomic.Bool   // the 101 is out
	once     sync.Once     // for closing
	settled  chan struct{} // closed once nothing of the application's goes out any more

	mu     sync.Mutex // held while writing
	frames frames     // guarded by mu: what went out
	last   []byte     // guarded by mu: what to say at the next boundary; nil while nothing ends
	over   bool       // guarded by mu: settled is closed
	said   bool       // guarded by mu: the client was sent a Close frame, ours or the application's

	out     sizes  // guarded by mu
	heldOut []byte // guarded by mu: the beginning of a header
}

func newSocket(ctx context.Context) *socket {
	return &socket{ctx: ctx, settled: make(chan struct{})}
}

// begin notes that the 101 is out. ReverseProxy sends that through the buffer
// of Hijack, and reads and writes the connection itself only afterwards.
func (s *socket) begin() {
	if s.open.Load() {
		return
	}
	s.open.Store(true)
	if s.ctx.Err() != nil { // who ended it may have come too early to say so
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sayLast()
	}
}

// Read reads what the client sends; nothing any more once the context ended.
func (s *socket) Read(p []byte) (n int, err error) {
	defer s.contain(&n, &err)
	s.begin()
	if s.in.most > 0 {
		return s.readMeasured(p)
	}
	n, err = s.Conn.Read(p)
	if s.ctx.Err() != nil {
		return 0, net.ErrClosed
	}
	return n, err
}

// Write writes what the application sends: all of it, or when it is to end,
// the rest of the frame under way.
func (s *socket) Write(p []byte) (n int, err error) {
	defer s.contain(&n, &err)
	s.begin()
	fits, err := s.write(p)
	if !fits {
		return 0, s.refuse()
	}
	if err != nil {
		return 0, err // how much went out is nobody's to know: nothing more does
	}
	return len(p), nil
}

// write is Write; it reports false where the message is too long, and nothing
// of what makes it so went out.
func (s *socket) write(p []byte) (fits bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, fits = s.measured(p)
	if len(p) > 0 {
		_, err = s.pass(p)
	}
	return fits, err
}

// pass lets bytes out. mu is held.
func (s *socket) pass(p []byte) (n int, err error) {
	switch {
	case s.over:
		return 0, net.ErrClosed
	case s.last == nil:
		n, err = s.Conn.Write(p)
		s.frames.follow(p[:n])
		return n, err
	}
	ahead := s.frames
	n, err = s.Conn.Write(p[:ahead.next(p)])
	s.frames.follow(p[:n])
	if err != nil {
		s.settle()
		return n, err
	}
	if s.sayLast(); n < len(p) {
		err = net.ErrClosed
	}
	return n, err
}

// CloseWrite ends what the application sends, as it did itself.
func (s *socket) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return net.ErrClosed
	}
	if s.last != nil { // the frame under way never ends
		s.settle()
	}
	return closeWrite(s.Conn)
}

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close closes the connection; it takes its leave if the context ended.
func (s *socket) Close() (err error) {
	if s.ctx.Err() != nil {
		s.leave()
	}
	s.once.Do(func() {
		err = s.Conn.Close() // first, as it ends a write under way
		s.hush()
	})
	return err
}

// leave says why the connection ends, and closes it. It takes no longer than
// frameTime and lingerTime, for a client that reads nothing too. Whoever calls
// it again waits for the first to be done.
func (s *socket) leave() {
	s.once.Do(func() {
		tooLong := time.AfterFunc(frameTime+lingerTime, func() { bare(s.Conn).Close() })
		defer tooLong.Stop()
		defer s.Conn.Close()
		if s.sayWhy() {
			s.linger()
		}
	})
}

// bare is the connection below TLS: that one's Close may wait for the client.
func bare(c net.Conn) net.Conn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return c
}

// sayWhy sends the Close frame, if there is a boundary in time, and lets
// nothing out afterwards. It reports whether the client got one.
func (s *socket) sayWhy() bool {
	frame := closeFrame(context.Cause(s.ctx))
	if s.refused.Load() {
		frame = newCloseFrame(CloseTooBig, "message too big")
	}
	if frame == nil {
		s.Conn.Close() // this ends a write under way
		return s.hush()
	}
	s.SetWriteDeadline(time.Now().Add(frameTime))
	tooLate := time.After(frameTime)
	s.mu.Lock()
	s.last = frame
	s.sayLast()
	s.mu.Unlock()
	select {
	case <-s.settled:
	case <-tooLate:
	}
	return s.hush()
}

// sayLast sends the Close frame where it may stand: between frames, those of
// one message too (RFC 6455 §5.4), and not after another (§5.5.1). mu is held.
func (s *socket) sayLast() {
	if s.over || s.last == nil || !s.open.Load() || !s.frames.between() {
		return
	}
	s.said = s.frames.closing
	if !s.said {
		_, err := s.Conn.Write(s.last)
		s.said = err == nil
	}
	s.settle()
}

// settle lets nothing out any more. mu is held.
func (s *socket) settle() {
	if !s.over {
		s.over = true
		close(s.settled)
	}
}

// hush settles; it reports whether the client was sent a Close frame.
func (s *socket) hush() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return s.said
}

// linger waits for the client's own Close and throws away what it sent: bytes
// left unread would make closing a reset, and that may destroy our frame on
// its way (RFC 9112 §9.6 tells of the same).
func (s *socket) linger() {
	if closeWrite(s.Conn) != nil {
		return
	}
	s.SetReadDeadline(time.Now().Add(lingerTime))
	io.Copy(io.Discard, s.Conn)
}
