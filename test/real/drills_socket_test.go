//go:build real

package realtest

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestSocketFlood: a thousand WebSockets, each with a hundred messages.
func TestSocketFlood(t *testing.T) {
	d := drilled(t, "ANTEROOM_SERVER_MAX_CONNECTIONS_PER_ADDRESS", "2000")
	const sockets, messages = 1000, 100
	d.spared(t, func() {
		var work sync.WaitGroup
		for range sockets {
			work.Go(func() { d.chatter(t, messages) })
		}
		work.Wait()
	})
	d.recovers(t)
}

// chatter sends messages over a WebSocket and waits for each to come back.
func (d *drill) chatter(t *testing.T, messages int) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(d.URL, "http")+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {d.cookie}}})
	if err != nil {
		t.Errorf("a WebSocket: %v", err)
		return
	}
	defer c.CloseNow()
	for range messages {
		if err := c.Write(ctx, websocket.MessageText, []byte("abc")); err != nil {
			t.Errorf("a message: %v", err)
			return
		}
		if _, b, err := c.Read(ctx); err != nil || string(b) != "abc" {
			t.Errorf("a message came back as %.20q, %v", b, err)
			return
		}
	}
}

// socket opens a WebSocket at its lowest.
func (d *drill) socket(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", d.Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	head := d.ask("GET", "/ws", "Cookie: "+d.cookie, "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	io.WriteString(c, strings.Replace(head, "Connection: close", "Connection: Upgrade", 1))
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("opening a WebSocket: %v, %v, want 101", resp, err)
	}
	return c, in
}

// frame is a masked frame (RFC 6455 §5.2) whose masking key is zero.
func frame(first byte, length uint64, payload []byte) []byte {
	b := []byte{first, 0x80 | 127}
	b = binary.BigEndian.AppendUint64(b, length)
	return append(append(b, 0, 0, 0, 0), payload...)
}

// TestBadSockets sends frames that no application wants. What it makes of them
// is its own affair; nothing of it may be felt by others.
func TestBadSockets(t *testing.T) {
	d := drilled(t)
	for name, send := range map[string]func(net.Conn) error{
		"one giant frame": func(c net.Conn) error {
			_, err := c.Write(frame(0x82, 1<<40, nil))
			for b := make([]byte, 64<<10); err == nil; {
				_, err = c.Write(b)
			}
			return err
		},
		"control frames in pieces": func(c net.Conn) (err error) {
			for err == nil {
				_, err = c.Write([]byte{0x09, 0x80 | 1, 0, 0, 0, 0, 'a'})
			}
			return err
		},
		"a control frame too long": func(c net.Conn) error {
			_, err := c.Write(frame(0x89, 70_000, make([]byte, 70_000)))
			return err
		},
		"a length with its highest bit": func(c net.Conn) error {
			_, err := c.Write(frame(0x82, 1<<63, []byte("abc")))
			return err
		},
		"ten thousand pings": func(c net.Conn) (err error) {
			for i := 0; i < 10_000 && err == nil; i++ {
				_, err = c.Write([]byte{0x89, 0x80 | 1, 0, 0, 0, 0, 'a'})
			}
			return err
		},
		"a message that never ends": func(c net.Conn) error {
			_, err := c.Write([]byte{0x02, 0x80 | 1, 0, 0, 0, 0, 'a'})
			for i := 0; i < 100_000 && err == nil; i++ {
				_, err = c.Write([]byte{0x00, 0x80 | 1, 0, 0, 0, 0, 'a'})
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			d.spared(t, func() {
				c, in := d.socket(t)
				var back sync.WaitGroup
				back.Go(func() { io.Copy(io.Discard, in) })
				_ = send(c) // it is for the application to end it, or not
				c.Close()
				back.Wait()
			})
			d.recovers(t)
		})
	}
}
