package upstream

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"anteroom/session"
)

// CloseTooBig is what both ends are told of a message that is longer than what
// passes (RFC 6455 §7.4.1).
const CloseTooBig = 1009

var errTooBig = errors.New("a WebSocket message is longer than what passes here")

const (
	controlBit = 0x08         // the first byte: a frame about the connection, within no message
	maxFrame   = 10 + keySize // bytes of a header, at most
)

// sizes adds up how long each message of one direction is, fragments together,
// as it is sent: compressed, where it is (RFC 7692). Whoever announces a frame
// that makes it too long is stopped before any of its payload passes. So that
// there is a boundary to stop at, headers are passed on whole. most is 0 for no
// limit.
type sizes struct {
	most uint64
	sum  uint64 // bytes of the message so far
	left uint64 // bytes of the frame under way to come
}

// pass takes note of b, which begins where the last pass ended, and returns how
// much of it may go on: all but a header that is not whole yet, or, where fits
// is false, the frame that is too much.
func (s *sizes) pass(b []byte) (n int, fits bool) {
	for {
		part := min(s.left, uint64(len(b)-n)) // #nosec G115 -- n is at most len(b)
		s.left -= part
		n += int(part) // #nosec G115 -- at most len(b)
		first, size, length := headerOf(b[n:])
		switch {
		case size == 0:
			return n, true
		case first&controlBit != 0:
			fits = length <= s.most
		default:
			fits = length <= s.most-s.sum
		}
		if !fits {
			return n, false
		}
		if first&controlBit == 0 {
			if s.sum += length; first&finBit != 0 {
				s.sum = 0
			}
		}
		s.left = length
		n += size
	}
}

// headerOf reads a frame's header; size is 0 while it is not whole.
func headerOf(b []byte) (first byte, size int, length uint64) {
	if len(b) < 2 {
		return 0, 0, 0
	}
	switch length = uint64(b[1] & lengthBits); length {
	case length16:
		size = 4
	case length64:
		size = 10
	default:
		size = 2
	}
	if b[1]&maskBit != 0 {
		size += keySize
	}
	switch {
	case len(b) < size:
		return 0, 0, 0
	case length == length16:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case length == length64:
		length = binary.BigEndian.Uint64(b[2:])
	}
	return b[0], size, length
}

// measure has messages longer than most bytes refused; 0 for none.
func (s *socket) measure(most int64, tooBig func()) {
	if most <= 0 {
		return
	}
	s.in.most, s.out.most, s.tooBig = uint64(most), uint64(most), tooBig
}

// readMeasured is Read where messages may be too long.
func (s *socket) readMeasured(p []byte) (int, error) {
	if s.stopped {
		return 0, s.refuse()
	}
	have := copy(p, s.heldIn)
	for have < len(p) {
		n, err := s.Conn.Read(p[have:])
		if s.ctx.Err() != nil || s.refused.Load() {
			return 0, net.ErrClosed
		}
		have += n
		pass, fits := s.in.pass(p[:have])
		if !fits {
			if s.stopped = true; pass == 0 {
				return 0, s.refuse()
			}
			return pass, nil
		}
		if pass > 0 || err != nil {
			s.heldIn = append(s.heldIn[:0], p[pass:have]...)
			return pass, err
		}
	}
	return 0, io.ErrShortBuffer
}

// measured is what of p, and of what was held back before it, may go out.
// Called with mu held.
func (s *socket) measured(p []byte) (b []byte, fits bool) {
	if s.out.most == 0 {
		return p, true
	}
	b = p
	if len(s.heldOut) > 0 {
		b = append(append(make([]byte, 0, len(s.heldOut)+len(p)), s.heldOut...), p...)
	}
	n, fits := s.out.pass(b)
	s.heldOut = append(s.heldOut[:0], b[n:min(len(b), n+maxFrame)]...)
	return b[:n], fits
}

// refuse ends the connection for a message that is too long: either end is told
// where there is a boundary to tell it at.
func (s *socket) refuse() error {
	if s.refused.CompareAndSwap(false, true) && s.tooBig != nil {
		s.tooBig()
	}
	s.far.say(newCloseFrame(CloseTooBig, "message too big"))
	s.leave()
	return errTooBig
}

// Write writes what the client sends.
func (f *farSide) Write(p []byte) (n int, err error) {
	defer f.near.contain(&n, &err)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.said {
		return 0, net.ErrClosed
	}
	n, err = f.appSide.Write(p)
	f.frames.follow(p[:n])
	return n, err
}

// say tells the application why the connection ends, where that may be said: it
// gets no frame within another, and is not waited for where it takes nothing.
func (f *farSide) say(frame []byte) {
	if !f.mu.TryLock() {
		return // a write is under way, and may be for ever
	}
	defer f.mu.Unlock()
	if f.said || !f.frames.between() || f.frames.closing {
		return
	}
	f.said = true
	tooLong := time.AfterFunc(frameTime, func() { f.appSide.Close() })
	defer tooLong.Stop()
	_, _ = f.appSide.Write(masked(frame))
}

// masked is a frame below 126 bytes as clients send it (RFC 6455 §5.3).
func masked(frame []byte) []byte {
	var key [keySize]byte
	rand.Read(key[:])
	b := append([]byte{frame[0], frame[1] | maskBit}, key[:]...)
	for i, c := range frame[2:] {
		b = append(b, c^key[i%keySize])
	}
	return b
}

// contain is deferred: ReverseProxy reads and writes beside the request's
// goroutine, where a panic would end the program.
func (s *socket) contain(n *int, err *error) {
	if p := recover(); p != nil {
		session.LogPanic(s.log, "a WebSocket", p)
		*n, *err = 0, session.ErrPanic
	}
}
