package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// ErrPanic: what was begun ended in a panic, and says nothing of what it was
// about. What it panicked with is shown to nobody, for that may hold anything.
var ErrPanic = errors.New("it ended in a panic")

// Contain does something and turns a panic in it into ErrPanic. net/http does
// that for the goroutine of a request alone: in any other a panic ends the
// program, and so does one within a singleflight.Group's DoChan.
func Contain(log *slog.Logger, what string, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			LogPanic(log, what, p)
			err = fmt.Errorf("%s: %w", what, ErrPanic)
		}
	}()
	return do()
}

// LogPanic logs that something panicked, and where. Of the value the log has
// the type: its text may be made of what somebody sent.
func LogPanic(log *slog.Logger, what string, p any, more ...any) {
	if log != nil {
		log.Error("panic", append([]any{"in", what, "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack())}, more...)...)
	}
}

// Persist does something that goes on until ctx is done, and does it anew after
// a moment where it panics.
func Persist(ctx context.Context, log *slog.Logger, what string, do func(context.Context)) {
	for wait := persistMin; Contain(log, what, func() error { do(ctx); return nil }) != nil; wait = min(2*wait, persistMax) {
		if pause(ctx, wait); ctx.Err() != nil {
			return
		}
	}
}

// Between two attempts of Persist, for what panics again and again.
const (
	persistMin = time.Second
	persistMax = time.Minute
)
