package dav

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestManyLargeDocuments: bodies of XML that many send at once, slowly, take
// bounded memory together.
func TestManyLargeDocuments(t *testing.T) {
	const many, size = 64, 7 << 20
	u := newUpstream(t, created)
	f := newFront(t, services(u.URL), nil)
	piece := strings.Repeat(" ", 1<<20)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	for range many {
		c, err := net.Dial("tcp", strings.TrimPrefix(f.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(3 * time.Second))
		all.Go(func() {
			fmt.Fprintf(c, "PROPFIND /dav/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size+1)
			for range size / len(piece) {
				if _, err := io.WriteString(c, piece); err != nil {
					break // it was not taken in
				}
			}
		})
	}
	all.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 256<<20 {
		t.Errorf("%d bodies of 7 MiB that do not end hold %d MiB, want 256 at most", many, grown>>20)
	}
}
