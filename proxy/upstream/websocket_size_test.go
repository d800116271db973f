package upstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// bounded lets no message pass that is longer than a number of bytes, and counts
// those that were.
func bounded(most int64, refused *atomic.Int32) setting {
	return func(_ *Config, _ *Destination, o *Options, _ *front) {
		o.MaxMessage, o.TooBig = most, func() { refused.Add(1) }
	}
}

// maskedFrame is a frame of zeros as a client sends it.
func maskedFrame(first byte, length int) []byte {
	b := frameOf(first, length)
	head := len(b) - length
	b[1] |= maskBit
	return append(append(b[:head:head], 0, 0, 0, 0), b[head:]...)
}

var tooBig = websocket.CloseError{Code: CloseTooBig, Reason: "message too big"}

// TestMessageTooBig: what is as long as it may be passes, either way, in one
// frame or several, and one byte more closes both ends.
func TestMessageTooBig(t *testing.T) {
	const most = 100_000
	for _, tt := range []struct {
		name   string
		frames func(frame func(first byte, length int) []byte) []byte
		passes bool
	}{
		{"as long as may be", func(f func(byte, int) []byte) []byte { return f(finBit|2, most) }, true},
		{"a byte more", func(f func(byte, int) []byte) []byte { return f(finBit|2, most+1) }, false},
		{"fragments, and a Ping among them", func(f func(byte, int) []byte) []byte {
			return bytes.Join([][]byte{f(2, most-5), f(finBit|9, 100), f(0, 5), f(finBit, 0), f(finBit|1, most)}, nil)
		}, true},
		{"fragments that are too much", func(f func(byte, int) []byte) []byte {
			return bytes.Join([][]byte{f(2, most-5), f(0, 5), f(finBit, 1)}, nil)
		}, false},
		{"another beginning is no end", func(f func(byte, int) []byte) []byte { return append(f(2, most), f(2, 1)...) }, false},
		{"longer than any number", func(f func(byte, int) []byte) []byte {
			return append(f(1, 3), append(binary.BigEndian.AppendUint64([]byte{2, length64 | f(2, 0)[1]&maskBit}, 1<<63), 0, 0, 0, 0)...)
		}, false},
	} {
		for _, by := range []string{"application", "client"} {
			for _, step := range []int{1 << 20, 3} { // bytes at a time
				t.Run(fmt.Sprint(tt.name, "/", by, "/", step), func(t *testing.T) {
					frame := frameOf
					if by == "client" {
						frame = maskedFrame
					}
					sent := tt.frames(frame)
					tail := sent[max(0, len(sent)-200):] // slowly where headers are
					send := func(c net.Conn) {
						c.Write(sent[:len(sent)-len(tail)])
						for len(tail) > 0 {
							n := min(step, len(tail))
							c.Write(tail[:n])
							tail = tail[n:]
						}
					}
					got := make(chan []byte, 1)
					var refused atomic.Int32
					app, _ := byteApp(t, func(c net.Conn) {
						if by == "application" {
							send(c)
						}
						if tt.passes && by == "client" {
							b := make([]byte, len(sent))
							io.ReadFull(c, b)
							got <- b
							return
						}
						b, _ := io.ReadAll(c)
						got <- b
					})
					u := newTunnel(t, app, bounded(most, &refused))
					c := u.openRaw(t)
					if by == "client" {
						send(c)
					}
					if tt.passes {
						at := c
						b := make([]byte, len(sent))
						if by == "client" {
							b = <-got
						} else if _, err := io.ReadFull(at, b); err != nil {
							t.Fatal(err)
						}
						if !bytes.Equal(b, sent) || refused.Load() != 0 {
							t.Errorf("%d bytes came of %d, %d refused, want all of them", len(b), len(sent), refused.Load())
						}
						return
					}
					c.SetReadDeadline(time.Now().Add(10 * time.Second))
					b, err := io.ReadAll(c)
					if told := newCloseFrame(CloseTooBig, "message too big"); !bytes.HasSuffix(b, told) || err != nil {
						t.Errorf("the client got %d bytes, %v, want 1009 at their end", len(b), err)
					}
					c.Close()
					b = <-got
					if len(b) < 4 || !closedWith(b, CloseTooBig) {
						t.Errorf("the application got %d bytes, want 1009 at their end", len(b))
					}
					if refused.Load() != 1 {
						t.Errorf("counted %d, want 1", refused.Load())
					}
				})
			}
		}
	}
}

// closedWith reports whether frames of a client end with a Close of that code.
func closedWith(b []byte, code uint16) bool {
	ends := append([]int{0}, boundaries(b)...)
	if len(ends) < 2 || ends[len(ends)-1] != len(b) {
		return false
	}
	last := b[ends[len(ends)-2]:]
	if len(last) < 8 || last[0] != finBit|opClose || last[1]&maskBit == 0 {
		return false
	}
	return binary.BigEndian.Uint16([]byte{last[6] ^ last[2], last[7] ^ last[3]}) == code
}

// TestMessageTooBigForLibraries: what browsers and applications see, compressed
// messages among it; and that measuring harms nothing.
func TestMessageTooBigForLibraries(t *testing.T) {
	const most = 10_000
	ended := make(chan error, 1)
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionContextTakeover})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		for {
			kind, b, err := c.Read(context.Background())
			if err == nil {
				err = c.Write(context.Background(), kind, b)
			}
			if err != nil {
				ended <- err
				return
			}
		}
	})
	var refused atomic.Int32
	f := newFront(t, app, bounded(most, &refused))
	c, _, err := websocket.Dial(t.Context(), f.URL, &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	for i := range 200 {
		msg := bytes.Repeat([]byte{byte(i)}, i*1000) // short where it counts: compressed
		if err := c.Write(t.Context(), websocket.MessageBinary, msg); err != nil {
			t.Fatal(err)
		}
		if _, b, err := c.Read(t.Context()); err != nil || !bytes.Equal(b, msg) {
			t.Fatalf("echo %d = %d bytes, %v, want the same %d", i, len(b), err, len(msg))
		}
	}
	noise := make([]byte, 5*most)
	for i := range noise {
		noise[i] = byte(i * i >> 3 * 7 % 251 * i >> 2)
	}
	_ = c.Write(t.Context(), websocket.MessageBinary, noise)
	if _, got := readClose(t, c); got != tooBig {
		t.Errorf("the client is told %v, want %v", got, tooBig)
	}
	var said websocket.CloseError
	if err := <-ended; !errors.As(err, &said) || said != tooBig {
		t.Errorf("the application is told %v, want %v", err, tooBig)
	}
	if refused.Load() != 1 {
		t.Errorf("counted %d, want 1", refused.Load())
	}
}
