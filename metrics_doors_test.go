package main

import (
	"context"
	"testing"
	"time"

	"anteroom/demo"
)

// TestSocketsAreNoLatency: a WebSocket counts as a request, and how long it was
// open does not count as the time of an answer.
func TestSocketsAreNoLatency(t *testing.T) {
	w := found(t, demo.Options{})
	doc, _ := w.testdoc("/")
	answers := w.metric(`anteroom_request_seconds_count{door="application"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	socket, _, err := w.dial(ctx, doc, w.site)
	if err != nil {
		t.Fatalf("WebSocket: %v", err)
	}
	socket.CloseNow()
	w.await("counted", func() bool { return w.metric(`anteroom_requests_total{class="1xx",door="application"}`) == 1 })
	if n := w.metric(`anteroom_request_seconds_count{door="application"}`); n != answers {
		t.Errorf("answers that were timed = %v, want %v as before", n, answers)
	}
}
