package audit

import (
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"anteroom/session"
)

// BenchmarkWrite: what one line costs, from the request's side and the writer's
// together.
func BenchmarkWrite(b *testing.B) {
	for name, hide := range map[string]bool{"plain": false, "hashed": true} {
		b.Run(name, func(b *testing.B) {
			l := opened(b, Config{Output: filepath.Join(b.TempDir(), "audit.log"), Window: 50 * time.Millisecond, Key: testKey, HashPaths: hide}, Options{})
			e := Event{Kind: Request, Subject: "testdoc", Session: "0123456789abcdef0123456789abcdef", Means: session.ByOIDC, Client: "192.0.2.1", Method: "GET",
				Host: "app.example.com", Path: "/api/v1/conversations/17", Status: 200, Sent: 4711, RequestID: "0123456789abcdef0123456789abcdef"}
			b.ReportAllocs()
			for b.Loop() {
				for l.Write(e) != nil {
					runtime.Gosched() // the disk is slower than this loop
				}
			}
			l.Close()
		})
	}
}
