package upstream

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"

	"anteroom/session"
)

// frameOf is a frame with a payload of the given length, all zeros.
func frameOf(first byte, length int) []byte {
	b := []byte{first}
	switch {
	case length < length16:
		b = append(b, byte(length))
	case length <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, length16), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, length64), uint64(length))
	}
	return append(b, make([]byte, length)...)
}

// boundaries reads whole frames, and returns where each ends.
func boundaries(b []byte) (ends []int) {
	for at := 0; len(b)-at >= 2; {
		head, length := 2, uint64(b[at+1]&lengthBits)
		switch length {
		case length16:
			head = 4
		case length64:
			head = 10
		}
		if len(b)-at < head {
			break
		}
		switch head {
		case 4:
			length = uint64(binary.BigEndian.Uint16(b[at+2:]))
		case 10:
			length = binary.BigEndian.Uint64(b[at+2:])
		}
		if b[at+1]&maskBit != 0 {
			head += keySize
		}
		if len(b)-at < head || uint64(len(b)-at-head) < length {
			break
		}
		at += head + int(length)
		ends = append(ends, at)
	}
	return ends
}

// FuzzFrames: whatever bytes come, and however they are split, frames end where
// they end when read whole.
func FuzzFrames(f *testing.F) {
	for _, length := range []int{0, 1, 125, 126, 127, 65535, 65536} {
		b := append(frameOf(finBit|1, length), frameOf(finBit|opClose, 2)...)
		f.Add(b, []byte{1})
		f.Add(b, []byte{2, 7, 255})
		f.Add(append([]byte{1, maskBit | 1, 0, 0, 0, 0, 0}, b...), []byte{3, 1})
	}
	f.Add([]byte{0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, []byte{4})
	f.Fuzz(func(t *testing.T, b, parts []byte) {
		want := boundaries(b)
		var whole frames
		var got []int
		for at := 0; at < len(b); {
			at += whole.next(b[at:])
			if whole.between() {
				got = append(got, at)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("frames end at %v, want %v", got, want)
		}
		var split frames
		for at, i := 0, 0; at < len(b); i++ {
			n := 1
			if len(parts) > 0 {
				n = min(int(parts[i%len(parts)])+1, len(b)-at)
			}
			split.follow(b[at : at+n])
			at += n
			if _, ends := slices.BinarySearch(want, at); split.between() != ends {
				t.Fatalf("after %d bytes: between frames = %v, want %v", at, split.between(), ends)
			}
		}
		if split != whole {
			t.Fatalf("split = %+v, whole = %+v", split, whole)
		}
	})
}

func TestFramesCostNothing(t *testing.T) {
	f, b := frames{}, append(frameOf(finBit|1, 70_000), frameOf(finBit|2, 5)...)
	if n := testing.AllocsPerRun(100, func() { f.follow(b) }); n != 0 {
		t.Errorf("following frames allocates %v times, want none", n)
	}
}

// TestCutWithinFrame: the frame that was under way ends first.
func TestCutWithinFrame(t *testing.T) {
	frame, rest := frameOf(finBit|2, 1<<20), make(chan struct{})
	app, ended := byteApp(t, func(c net.Conn) {
		c.Write(frame[:1<<19])
		<-rest
		c.Write(frame[1<<19:])
		c.Write(frame)
	})
	u := newTunnel(t, app)
	c := u.open(t)
	_, r, err := c.Reader(t.Context())
	if err == nil {
		_, err = io.ReadFull(r, make([]byte, 1<<18))
	}
	if err != nil {
		t.Fatal(err)
	}
	end, start := <-u.came, time.Now()
	end(session.ErrOver)
	close(rest)
	if n, err := io.Copy(io.Discard, r); n != 1<<20-1<<18 || err != nil {
		t.Fatalf("rest of the message = %d bytes, %v", n, err)
	}
	if _, got := readClose(t, c); got != sessionEnded {
		t.Errorf("closed with %v, want %v", got, sessionEnded)
	}
	within(t, "over at the proxy", start, u.over)
	within(t, "over at the application", start, ended)
}

// TestCutWithinFrameThatNeverEnds: there is no place for a Close frame.
func TestCutWithinFrameThatNeverEnds(t *testing.T) {
	for name, leave := range map[string]bool{"silent": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			half := make(chan struct{})
			app, ended := byteApp(t, func(c net.Conn) {
				c.Write(frameOf(finBit|2, 100)[:50])
				if <-half; leave {
					c.(*net.TCPConn).CloseWrite()
				}
			})
			u := newTunnel(t, app)
			c := u.openRaw(t)
			if _, err := io.ReadFull(c, make([]byte, 50)); err != nil {
				t.Fatal(err)
			}
			end, start := <-u.came, time.Now()
			end(session.ErrOver)
			close(half)
			if b, err := io.ReadAll(c); len(b) > 0 {
				t.Errorf("read %x, %v, want nothing more", b, err)
			}
			within(t, "over at the proxy", start, u.over)
			within(t, "over at the application", start, ended)
		})
	}
}

// TestCutAtEveryByte: wherever it happens, the Close frame stands between two
// frames and nothing follows.
func TestCutAtEveryByte(t *testing.T) {
	var stream []byte
	for _, f := range [][]byte{
		frameOf(1, 3), frameOf(finBit|9, 0), frameOf(0, 1), frameOf(finBit, 2), // fragments, and a Ping among them
		frameOf(finBit|2, 126), frameOf(finBit|10, 0), frameOf(finBit|1, 5),
	} {
		stream = append(stream, f...)
	}
	told := newCloseFrame(CloseSessionEnded, "session ended")
	for at := range len(stream) + 1 {
		rest := make(chan struct{})
		app, _ := byteApp(t, func(c net.Conn) {
			c.Write(stream[:at])
			<-rest
			for i := range stream[at:] {
				c.Write(stream[at+i:][:1])
			}
		})
		u := newTunnel(t, app)
		c := u.openRaw(t)
		if _, err := io.ReadFull(c, make([]byte, at)); err != nil {
			t.Fatal(err)
		}
		(<-u.came)(session.ErrOver)
		close(rest)
		b, err := io.ReadAll(c)
		c.Close()
		passed, ok := bytes.CutSuffix(b, told)
		whole := append(stream[:at:at], passed...)
		ends := append([]int{0}, boundaries(whole)...)
		if err != nil || !ok || !bytes.HasPrefix(stream, whole) || ends[len(ends)-1] != len(whole) {
			t.Errorf("cut after %d bytes: %x, %v, want the frame's rest and %x", at, b, err, told)
		}
	}
}

// TestCutWithinMessage: between the fragments of one (RFC 6455 §5.4).
func TestCutWithinMessage(t *testing.T) {
	app, ended := byteApp(t, func(c net.Conn) { c.Write(frameOf(2, 10)) })
	u := newTunnel(t, app)
	c := u.open(t)
	_, r, err := c.Reader(t.Context())
	if err == nil {
		_, err = io.ReadFull(r, make([]byte, 10))
	}
	if err != nil {
		t.Fatal(err)
	}
	end, start := <-u.came, time.Now()
	end(session.ErrOver)
	if _, err := r.Read(make([]byte, 1)); websocket.CloseStatus(err) != CloseSessionEnded {
		t.Errorf("reading on = %v, want %v", err, sessionEnded)
	}
	within(t, "over at the proxy", start, u.over)
	within(t, "over at the application", start, ended)
}

// TestWebSocketPassesEveryLength, each way and unharmed.
func TestWebSocketPassesEveryLength(t *testing.T) {
	s := newSockets()
	c := dialSocketAt(t, newFront(t, newApp(t, s.ServeHTTP)))
	lengths := []int{0, 1, 125, 126, 127, 65535, 65536}
	data := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	for i := range 1000 {
		msg := data[i : i+lengths[i%len(lengths)]]
		if i%100 == 99 {
			msg = data
		}
		if err := c.Write(t.Context(), websocket.MessageBinary, msg); err != nil {
			t.Fatal(err)
		}
		if _, b, err := c.Read(t.Context()); err != nil || !bytes.Equal(b, msg) {
			t.Fatalf("echo %d = %d bytes, %v, want the same %d", i, len(b), err, len(msg))
		}
	}
}
