package audit

import (
	"errors"
	"fmt"
	"time"

	"anteroom/session"
)

// run writes until Close.
func (l *Log) run() {
	defer close(l.done)
	defer l.closePlaces()
	l.stir() // to say that writing begins
	retry := retryFirst
	for {
		var later <-chan time.Time
		if l.unnoted > 0 {
			later = time.After(max(0, checkpointAfter-l.o.Now().Sub(l.since)))
		}
		select {
		case <-l.arrived:
			if !l.gather() {
				l.finish()
				return
			}
		case <-l.hurry:
		case ask := <-l.reopens:
			ask <- l.reopen()
		case <-later:
			l.checkpoint()
		case <-l.stop:
			l.finish()
			return
		}
		for l.flush() {
		}
		if l.failing.Load() == nil {
			retry = retryFirst
			continue
		}
		if !l.rest(retry) {
			l.finish()
			return
		}
		retry = min(2*retry, retryMost)
		l.stir()
	}
}

// gather waits for more events, until the window is over or somebody waits for
// one. It reports false if the log is to end.
func (l *Log) gather() bool {
	timer := time.NewTimer(l.cfg.Window)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.hurry:
	case <-l.stop:
		return false
	}
	return true
}

// rest waits before output is tried again. It reports false if the log is to end.
func (l *Log) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-l.hurry: // is told at once that it is in vain
			l.tellWaiting()
		case ask := <-l.reopens:
			ask <- l.reopen()
			return true
		case <-l.stop:
			return false
		}
	}
}

// stir has the writer look at what is left in the queue.
func (l *Log) stir() {
	select {
	case l.arrived <- struct{}{}:
	default:
	}
}

// How much is written together: events, and bytes of them, which collectors bound.
const (
	mostAtOnce      = 4096
	mostBytesAtOnce = 1 << 20
)

// flush writes a group of events. It reports whether there are more, and output
// takes them.
func (l *Log) flush() bool {
	l.mu.Lock()
	n := l.groupLocked()
	alone := l.opening != nil && l.key != nil && l.unsigned > 0 // what was left unsigned is signed before more comes
	if alone {
		n = 0
	}
	group, more := append(l.spare[:0], l.queue[:n]...), n < len(l.queue)
	lost := l.lost
	l.mu.Unlock()
	if n == 0 && lost == 0 && l.opening == nil {
		return false
	}
	before := l.progress
	b := &batch{text: l.text[:0], lines: l.lines[:0]}
	now := l.o.Now()
	l.begin(b, now)
	if lost > 0 {
		l.mark(b, mark{Time: now, Kind: Lost, Count: lost})
	}
	for _, e := range group {
		if l.key != nil && (l.unsigned >= checkpointLines || l.late(e.time)) {
			l.sign(b, Checkpoint, now)
		}
		b.text = l.at.add(b.text, e.text, nil)
		l.noteLine(b, e.kind, e.time)
		b.lines[len(b.lines)-1].told = e.told
	}
	due := alone || l.unnoted >= headLines || now.Sub(l.since) >= checkpointAfter
	if due {
		l.sign(b, Checkpoint, now)
		l.unnoted = 0
	}
	err := l.store(b)
	if err != nil && !errors.Is(err, errUnsynced) {
		l.progress = before
		l.tellWaiting()
		return false
	}
	if due || l.opening != nil { // a new chain is known from its first line on
		l.noteHead(now, false)
	}
	l.opening = nil
	l.taken(group, n, lost-l.refused(b, lost), err)
	l.text, l.lines, l.spare = b.text, b.lines, group
	clear(l.lines)
	clear(l.spare)
	return err == nil && more
}

// groupLocked is how many events at the head of the queue are written together.
func (l *Log) groupLocked() int {
	size := 0
	for i := range min(len(l.queue), mostAtOnce) {
		if size += len(l.queue[i].text); size > mostBytesAtOnce && i > 0 {
			return i
		}
	}
	return min(len(l.queue), mostAtOnce)
}

// refused counts the lines that output refuses for good, and tells whoever waits
// for them. With them goes a line that said of lost others; those are to be said
// again.
func (l *Log) refused(b *batch, lost int) (events int) {
	if len(b.refused) == 0 {
		return 0
	}
	for _, of := range b.refused {
		switch {
		case of.kind == Lost:
			events += lost
			continue
		case of.told != nil:
			of.told <- fmt.Errorf("%w: output refuses this line", ErrNotKept)
		}
		events++
		l.metrics.lost.Inc()
	}
	l.o.Log.Error("audit.output refuses lines for good: they are lost", "lines", len(b.refused))
	return events
}

// store writes lines to output, and hands them to the copies.
func (l *Log) store(b *batch) error {
	start := time.Now()
	l.writing.Store(&start)
	err := session.Contain(l.o.Log, "writing the audit log", func() error { return l.out.write(b) })
	l.writing.Store(nil)
	l.metrics.seconds.Observe(time.Since(start).Seconds())
	if err != nil {
		why := err.Error()
		if l.failing.Swap(&why) == nil {
			l.o.Log.Error("audit.output takes no lines", "error", err, "required", l.cfg.Required)
		}
		if !errors.Is(err, errUnsynced) {
			return err
		}
	} else if l.failing.Swap(nil) != nil {
		l.o.Log.Info("audit.output takes lines again")
	}
	l.metrics.lines.Add(float64(len(b.lines)))
	l.metrics.seq.Set(float64(l.at.seq))
	for _, c := range l.copies {
		c.give(b)
	}
	return err
}

// taken takes what was written out of the queue, and tells whom it concerns.
func (l *Log) taken(group []entry, n, lost int, err error) {
	l.mu.Lock()
	for i := range n {
		l.bytes -= len(l.queue[i].text)
	}
	rest := copy(l.queue, l.queue[n:])
	clear(l.queue[rest:])
	l.queue = l.queue[:rest]
	l.lost -= lost
	l.full = false
	l.mu.Unlock()
	if rest > 0 { // what came meanwhile found the queue not empty, and told nobody
		l.stir()
	}
	for _, e := range group {
		if e.told != nil {
			select {
			case e.told <- notKept(err):
			default: // knows that its line is refused
			}
		}
	}
}

func notKept(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(ErrNotKept, err)
}

// tellWaiting tells whoever waits that it is in vain for now. The events stay.
func (l *Log) tellWaiting() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.queue {
		if told := l.queue[i].told; told != nil {
			l.queue[i].told = nil
			told <- ErrNotKept
		}
	}
}

// begin writes down that writing begins, if it does.
func (l *Log) begin(b *batch, now time.Time) {
	if l.opening == nil {
		return
	}
	m := *l.opening
	m.Time = now
	l.mark(b, m)
}

// mark adds a line of the stream's own.
func (l *Log) mark(b *batch, m mark) {
	m.Time = m.Time.UTC()
	b.text = m.add(&l.at, b.text, l.key)
	l.noteLine(b, m.Kind, m.Time)
}

// noteLine notes the line that was added last.
func (l *Log) noteLine(b *batch, k Kind, t time.Time) {
	if l.unnoted == 0 {
		l.since = l.o.Now()
	}
	l.unsigned, l.unnoted = l.unsigned+1, l.unnoted+1
	switch k {
	case Opened, Checkpoint, Closed, Lost:
	default:
		if l.first.IsZero() {
			l.first = t.Round(0) // as the line has it
		}
	}
	b.lines = append(b.lines, line{end: len(b.text), kind: k, time: t})
}

// sign adds a line whose hash is signed, if there is a key.
func (l *Log) sign(b *batch, k Kind, now time.Time) {
	if l.key != nil || k == Closed {
		l.mark(b, mark{Time: now, Kind: k})
	}
	l.unsigned, l.first = 0, time.Time{}
}

// late reports whether an event is so much later than the first unsigned one
// that a signature has to come between them. That may be far behind the present:
// output took nothing for a while.
func (l *Log) late(t time.Time) bool {
	return !l.first.IsZero() && t.Round(0).Sub(l.first) >= checkpointAfter
}

// checkpoint signs what was written before.
func (l *Log) checkpoint() {
	before := l.progress
	b, now := new(batch), l.o.Now()
	l.sign(b, Checkpoint, now)
	l.unnoted = 0
	if len(b.lines) > 0 {
		if err := l.store(b); err != nil && !errors.Is(err, errUnsynced) {
			l.progress, l.since = before, now // tried again
			return
		}
	}
	l.noteHead(now, false)
}

// noteHead notes beside a file where its chain has got to, and whether it ended
// there.
func (l *Log) noteHead(now time.Time, closed bool) {
	f, ok := l.out.(*fileSink)
	if !ok || l.at.seq == 0 {
		return
	}
	if err := f.keepHead(l.at, closed, now, l.key); err != nil {
		l.o.Log.Warn("where the audit file's chain has got to was not noted beside it", "error", err)
	}
}

// leave ends a stream in an orderly way.
func (l *Log) leave() {
	if l.opening != nil {
		return
	}
	before := l.progress
	b, now := new(batch), l.o.Now()
	l.sign(b, Closed, now)
	closed := true
	if err := l.store(b); err != nil && !errors.Is(err, errUnsynced) {
		l.progress, closed = before, false
	}
	l.noteHead(now, closed)
}

// reopen goes on in the file that has the name now, and has the copies do so.
func (l *Log) reopen() error {
	for _, c := range l.copies {
		c.reopen()
	}
	old, ok := l.out.(*fileSink)
	if !ok {
		return nil
	}
	for l.flush() {
	}
	if same, err := old.sameFile(); err == nil && same {
		return nil
	}
	s, p, err := openFile(l.cfg.Output, l.key)
	if err != nil {
		return err
	}
	l.leave()
	old.close()
	l.out = s
	m := &mark{Kind: Opened} // of our own chain, whatever somebody put into the file
	if p != nil {
		m.Torn = p.torn
	}
	l.opens(m)
	l.failing.Store(nil)
	return nil
}

// finish writes what is left, for some seconds at most.
func (l *Log) finish() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	deadline := time.Now().Add(closeTime)
	for {
		for l.flush() {
		}
		l.mu.Lock()
		left := len(l.queue)
		l.mu.Unlock()
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			l.o.Log.Error("audit lines lost: output took none until the end", "lines", left)
			break
		}
		time.Sleep(retryFirst)
	}
	l.leave()
}

func (l *Log) closePlaces() {
	if l.out != nil {
		l.out.close()
	}
	for _, c := range l.copies {
		c.close()
	}
}
