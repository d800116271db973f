package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// waiting shows that something is waited for: a spinner on a terminal, else a
// line when something changes.
type waiting struct {
	out      io.Writer
	terminal bool
	text     string
	noted    string
	frame    int
}

func newWaiting(out io.Writer) *waiting { return &waiting{out: out, terminal: isTerminal(out)} }

// spinEvery is how long a frame stands.
const spinEvery = 120 * time.Millisecond

var spinFrames = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

func (w *waiting) begin(text string) {
	w.text = text
	if !w.terminal {
		fmt.Fprintln(w.out, text+" ...")
	}
}

// note says something about the waiting; "" takes it back.
func (w *waiting) note(text string) {
	if text != "" && text != w.noted && !w.terminal {
		fmt.Fprintln(w.out, text+" ...")
	}
	w.noted = text
}

// rest waits, and reports false if ctx ended meanwhile.
func (w *waiting) rest(ctx context.Context, d time.Duration) bool {
	end := time.NewTimer(d)
	defer end.Stop()
	spin := time.NewTicker(spinEvery)
	defer spin.Stop()
	for {
		w.show()
		select {
		case <-ctx.Done():
			return false
		case <-end.C:
			return true
		case <-spin.C:
		}
	}
}

func (w *waiting) show() {
	if !w.terminal || w.text == "" {
		return
	}
	text := w.text
	if w.noted != "" {
		text = w.noted
	}
	fmt.Fprintf(w.out, "\r\x1b[K%c %s", spinFrames[w.frame%len(spinFrames)], text)
	w.frame++
}

// end leaves the line as it was.
func (w *waiting) end() {
	if w.terminal {
		io.WriteString(w.out, "\r\x1b[K")
	}
	w.text = ""
}
