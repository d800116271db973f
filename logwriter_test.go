package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLineBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{}
		l := newLineBuffer(out)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { l.Run(ctx); close(done) }()
		l.Write([]byte("one\n"))
		if out.String() != "" {
			t.Error("a line was written by itself, want it gathered")
		}
		time.Sleep(logDelay + time.Millisecond)
		synctest.Wait()
		if out.String() != "one\n" {
			t.Errorf("after %v: %q, want the line", logDelay, out.String())
		}
		long := strings.Repeat("x", logBuffer+1)
		l.Write([]byte("two\n"))
		l.Write([]byte(long))
		l.Write([]byte("three\n"))
		cancel()
		<-done
		if got := out.String(); got != "one\ntwo\n"+long+"three\n" {
			t.Errorf("after the end: %d bytes, want every line in order", len(got))
		}
	})
}
