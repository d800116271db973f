package main

import (
	"context"
	"io"
	"sync"
	"time"
)

const (
	logBuffer = 64 << 10
	logDelay  = 200 * time.Millisecond
)

// lineBuffer gathers the log's lines and writes them together, so that a
// request does not wait for a system call of its own (BenchmarkCheck). A line
// is written logDelay after it was logged at the latest; Flush writes at once.
type lineBuffer struct {
	mu  sync.Mutex
	out io.Writer
	buf []byte // guarded by mu
}

func newLineBuffer(out io.Writer) *lineBuffer {
	return &lineBuffer{out: out, buf: make([]byte, 0, logBuffer)}
}

// Write takes one whole line. It fails only when the lines before cannot be
// written.
func (l *lineBuffer) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buf)+len(line) > logBuffer {
		if err := l.flush(); err != nil {
			return 0, err
		}
	}
	if len(line) > logBuffer {
		return l.out.Write(line)
	}
	l.buf = append(l.buf, line...)
	return len(line), nil
}

// Flush writes what was gathered.
func (l *lineBuffer) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flush()
}

func (l *lineBuffer) flush() error {
	if len(l.buf) == 0 {
		return nil
	}
	_, err := l.out.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}

// Run flushes from time to time until ctx is done, and then once more.
func (l *lineBuffer) Run(ctx context.Context) {
	tick := time.NewTicker(logDelay)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.Flush()
			return
		case <-tick.C:
			l.Flush()
		}
	}
}
