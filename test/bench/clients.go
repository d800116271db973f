package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// plainClient asks the same over one HTTP/1.1 connection, one question after
// the other. Answers have no body.
func plainClient(at, request string) func(context.Context, int, time.Time, *atomic.Int64) error {
	return func(ctx context.Context, _ int, until time.Time, asked *atomic.Int64) error {
		c, err := dial(ctx, at, until)
		if err != nil {
			return err
		}
		defer c.Close()
		in := bufio.NewReader(c)
		for time.Now().Before(until) {
			if _, err := io.WriteString(c, request); err != nil {
				return err
			}
			status, err := in.ReadSlice('\n')
			if err != nil || !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
				return fmt.Errorf("answer %q: %w", status, err)
			}
			for line := status; len(line) > 2; {
				if line, err = in.ReadSlice('\n'); err != nil {
					return err
				}
			}
			asked.Add(1)
		}
		return nil
	}
}

// muxClient asks the same over one HTTP/2 connection (RFC 9113), so many at
// once. An answer to a question with data must have data.
func muxClient(at string, fields [][2]string, data []byte) func(context.Context, int, time.Time, *atomic.Int64) error {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range fields {
		enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1], Sensitive: true}) // never indexed: the block is the same each time
	}
	return func(ctx context.Context, callers int, until time.Time, asked *atomic.Int64) error {
		c, err := dial(ctx, at, until)
		if err != nil {
			return err
		}
		defer c.Close()
		m := &mux{in: bufio.NewReaderSize(c, 64<<10), out: bufio.NewWriterSize(c, 64<<10), block: block.Bytes(), data: data, got: map[uint32]bool{}}
		m.f = http2.NewFramer(m.out, m.in)
		m.f.SetReuseFrames()
		return m.run(callers, until, asked)
	}
}

func dial(ctx context.Context, at string, until time.Time) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", at)
	if err == nil {
		err = c.SetDeadline(until.Add(10 * time.Second))
	}
	return c, err
}

type mux struct {
	in    *bufio.Reader
	out   *bufio.Writer
	f     *http2.Framer
	block []byte
	data  []byte
	last  uint32          // stream
	open  int             // questions without their whole answer
	got   map[uint32]bool // streams whose answer has begun as it must
}

func (m *mux) run(callers int, until time.Time, asked *atomic.Int64) error {
	m.out.WriteString(http2.ClientPreface)
	m.f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: math.MaxInt32}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	m.f.WriteWindowUpdate(0, math.MaxInt32-65535) // more than a round's answers
	for range callers {
		m.ask()
	}
	for m.open > 0 {
		if m.in.Buffered() == 0 {
			if err := m.out.Flush(); err != nil {
				return err
			}
		}
		ended, err := m.read()
		if err != nil {
			return err
		}
		if ended {
			asked.Add(1)
			if time.Now().Before(until) {
				m.ask()
			}
		}
	}
	return nil
}

func (m *mux) ask() {
	m.last = max(m.last+2, 1) | 1
	m.open++
	m.f.WriteHeaders(http2.HeadersFrameParam{StreamID: m.last, BlockFragment: m.block, EndHeaders: true, EndStream: m.data == nil})
	if m.data != nil {
		m.f.WriteData(m.last, true, m.data)
	}
}

// read takes one frame and reports whether it ended an answer. No table is kept
// of header fields: 200 is one of HPACK's own (RFC 7541, appendix A), 0x88,
// after what shrinks the table to nothing.
func (m *mux) read() (ended bool, err error) {
	frame, err := m.f.ReadFrame()
	if err != nil {
		return false, err
	}
	id := frame.Header().StreamID
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			m.f.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			m.f.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame, *http2.RSTStreamFrame:
		return false, fmt.Errorf("the server sent %v", f)
	case *http2.DataFrame:
		m.got[id] = m.got[id] && len(f.Data()) > 0
		ended = f.StreamEnded()
	case *http2.HeadersFrame:
		if block := bytes.TrimLeft(f.HeaderBlockFragment(), "\x20"); len(block) > 0 && block[0] == 0x88 {
			m.got[id] = true
		} else if m.data == nil || !m.got[id] {
			return false, fmt.Errorf("answer %x", block)
		}
		ended = f.StreamEnded()
	}
	if ended {
		if m.open--; !m.got[id] {
			return false, fmt.Errorf("no answer on stream %d", id)
		}
		delete(m.got, id)
	}
	return ended, nil
}
