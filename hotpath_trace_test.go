package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkForwardTraced is BenchmarkForward with traces: of every request, of
// one in a hundred, of none.
func BenchmarkForwardTraced(b *testing.B) {
	c := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer c.Close()
	for _, ratio := range []string{"1", "0.01", "0"} {
		b.Run("ratio="+ratio, func(b *testing.B) {
			h, r := hotPath(b, "/hello", "ANTEROOM_TELEMETRY_OTLP_ENDPOINT="+c.URL, "ANTEROOM_TELEMETRY_TRACE_RATIO="+ratio)
			b.ReportAllocs()
			for b.Loop() {
				once(h, r)
			}
		})
	}
}
