//go:build real

package realtest

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestH2spec runs h2spec against the site and against bare net/http: whatever
// does not conform there is Go's, and nothing may be added to it.
func TestH2spec(t *testing.T) {
	d := drilled(t)
	bare := httptest.NewUnstartedServer(http.HandlerFunc(drillApp))
	bare.Config.Protocols = new(http.Protocols)
	bare.Config.Protocols.SetUnencryptedHTTP2(true)
	bare.Start()
	defer bare.Close()
	bare.Config.ErrorLog = log.New(io.Discard, "", 0)
	var theirs, ours []string
	var both sync.WaitGroup
	both.Go(func() { theirs = h2spec(t, bare.URL) })
	both.Go(func() { ours = h2spec(t, d.URL) })
	both.Wait()
	t.Logf("bare net/http fails %d: %v", len(theirs), theirs)
	for _, name := range ours {
		if !slices.Contains(theirs, name) {
			t.Errorf("the site fails %q, and net/http does not", name)
		}
	}
	d.recovers(t)
}

// h2spec returns the cases that a server fails, of 100 at least. Go keeps a
// connection for a second after GOAWAY: whoever waits less sees a failure.
func h2spec(t *testing.T, address string) (failed []string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Error(err)
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	report := filepath.Join(t.TempDir(), "report.xml")
	out, _ := exec.CommandContext(ctx, tool(t, "h2spec"), "-h", u.Hostname(), "-p", u.Port(), "-P", "/public/x", "-o", "2", "-j", report).CombinedOutput()
	b, err := os.ReadFile(report)
	if err != nil {
		t.Errorf("h2spec has not reported: %v\n%.2000s", err, out)
		return nil
	}
	var all struct {
		Suites []struct {
			Package string `xml:"package,attr"`
			Cases   []struct {
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &all); err != nil {
		t.Errorf("reading h2spec's report: %v", err)
	}
	n := 0
	for _, s := range all.Suites {
		for _, c := range s.Cases {
			if n++; c.Failure != nil || c.Error != nil {
				failed = append(failed, s.Package+": "+c.Name)
			}
		}
	}
	if n < 100 {
		t.Errorf("h2spec ran %d cases, want 100 at least\n%.2000s", n, out)
	}
	return failed
}

// frames is an HTTP/2 connection at its lowest.
type frames struct {
	net.Conn
	*http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func (d *drill) frames(t *testing.T) *frames {
	t.Helper()
	c, err := net.Dial("tcp", d.Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Second))
	f := &frames{Conn: c, Framer: http2.NewFramer(c, c)}
	f.enc = hpack.NewEncoder(&f.block)
	io.WriteString(c, http2.ClientPreface)
	f.WriteSettings()
	return f
}

// lastWord reads what the server says to the end; "" if that does not come.
func (f *frames) lastWord() (word string) {
	word = "no word"
	for {
		frame, err := f.ReadFrame()
		var late net.Error
		switch {
		case errors.As(err, &late) && late.Timeout():
			return ""
		case err != nil:
			return word
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			word = g.ErrCode.String()
		}
	}
}

// CloseWrite ends what we send.
func (f *frames) CloseWrite() { f.Conn.(*net.TCPConn).CloseWrite() }

// head encodes a request for the site with further fields, name and value in turn.
func (f *frames) head(d *drill, more ...string) []byte {
	f.block.Reset()
	all := append([]string{":method", "GET", ":scheme", "http", ":path", "/public/x", ":authority", strings.TrimPrefix(d.URL, "http://")}, more...)
	for i := 0; i < len(all); i += 2 {
		f.enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]})
	}
	return f.block.Bytes()
}

// TestHTTP2Floods sends what HTTP/2 servers have fallen over. Each flood ends
// with the connection, or when it has sent all.
func TestHTTP2Floods(t *testing.T) {
	d := drilled(t)
	for name, flood := range map[string]func(*frames) error{
		"rapid reset": func(f *frames) (err error) { // CVE-2023-44487
			for id := uint32(1); id < 40_000 && err == nil; id += 2 {
				if err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.head(d), EndStream: true, EndHeaders: true}); err == nil {
					err = f.WriteRSTStream(id, http2.ErrCodeCancel)
				}
			}
			return err
		},
		"CONTINUATION without end": func(f *frames) error { // CVE-2023-45288
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.head(d), EndStream: true})
			for i := 0; i < 20_000 && err == nil; i++ {
				err = f.WriteContinuation(1, false, f.head(d, "x-a", strings.Repeat("a", 1000)))
			}
			return err
		},
		"HPACK bomb": func(f *frames) error { // CVE-2016-6581
			block := bytes.Clone(f.head(d, "x-a", strings.Repeat("a", 3900)))
			last := byte(0x80 | 62) // the table's newest entry
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: append(block, bytes.Repeat([]byte{last}, 12_000)...), EndStream: true, EndHeaders: true})
		},
		"PING": func(f *frames) (err error) { // CVE-2019-9512
			for i := 0; i < 100_000 && err == nil; i++ {
				err = f.WritePing(false, [8]byte{})
			}
			return err
		},
		"SETTINGS": func(f *frames) (err error) { // CVE-2019-9515
			for i := 0; i < 100_000 && err == nil; i++ {
				err = f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 15})
			}
			return err
		},
		"empty DATA": func(f *frames) error { // CVE-2019-9518
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.head(d, "content-type", "a/b"), EndHeaders: true})
			for i := 0; i < 100_000 && err == nil; i++ {
				err = f.WriteData(1, false, nil)
			}
			return err
		},
		"no window": func(f *frames) error { // CVE-2019-9517
			err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			for id := uint32(1); id < 2000 && err == nil; id += 2 {
				err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.head(d), EndStream: true, EndHeaders: true})
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			words := map[string]int{}
			d.spared(t, func() {
				f := d.frames(t)
				said := make(chan string, 1)
				go func() { said <- f.lastWord() }()
				_ = flood(f) // the server may end it
				f.CloseWrite()
				if word := <-said; word == "" {
					t.Error("the connection goes on after the flood and its end")
				} else {
					words[word]++
				}
				f.Close()
			})
			t.Logf("connections ended with: %v", words)
			if name == "CONTINUATION without end" && words["PROTOCOL_ERROR"] == 0 {
				t.Error("a header without end is read to its end, want the connection cut off")
			}
			d.recovers(t)
		})
	}
}
