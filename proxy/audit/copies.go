package audit

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"anteroom/session"
)

// copyTo hands lines on to one place, as far as it takes them: it is never
// waited for. What does not fit into its room is lost, and counted.
type copyTo struct {
	to      sink
	log     *slog.Logger
	metrics *metrics

	mu    sync.Mutex
	queue []*batch // guarded by mu
	bytes int      // guarded by mu

	again atomic.Bool // a file is to be opened anew

	more chan struct{} // holds one
	stop chan struct{}
	done chan struct{}
}

func newCopy(to sink, log *slog.Logger, m *metrics) *copyTo {
	c := &copyTo{to: to, log: log, metrics: m, more: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go c.run()
	return c
}

// give takes a copy of lines.
func (c *copyTo) give(b *batch) {
	own := &batch{text: slices.Clone(b.text), lines: slices.Clone(b.lines)}
	c.mu.Lock()
	if c.bytes+len(own.text) > mostCopied {
		c.mu.Unlock()
		c.metrics.copiesLost.Add(float64(len(own.lines)))
		return
	}
	c.queue, c.bytes = append(c.queue, own), c.bytes+len(own.text)
	c.mu.Unlock()
	c.wake()
}

func (c *copyTo) wake() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// reopen has a file opened anew before the next line.
func (c *copyTo) reopen() {
	c.again.Store(true)
	c.wake()
}

// renew goes on in the file that has the name now, where this is a file.
func (c *copyTo) renew() {
	old, ok := c.to.(*fileSink)
	if !ok {
		return
	}
	if same, err := old.sameFile(); err == nil && same {
		return
	}
	s, _, err := openFile(old.name, nil)
	if err != nil {
		c.log.Error("a copy of the audit log goes on in its old file", "error", err)
		return
	}
	old.close()
	c.to = s
}

func (c *copyTo) run() {
	defer close(c.done)
	failing, retry := false, retryFirst
	for {
		if c.again.Swap(false) {
			c.renew()
		}
		b := c.first()
		if b == nil {
			select {
			case <-c.more:
				continue
			case <-c.stop:
				return
			}
		}
		err := session.Contain(c.log, "writing a copy of the audit log", func() error { return c.to.write(b) })
		if err == nil {
			if failing {
				c.log.Info("a copy of the audit log takes lines again")
			}
			failing, retry = false, retryFirst
			c.refused(b)
			c.drop()
			continue
		}
		if !failing {
			c.log.Error("a copy of the audit log takes no lines", "error", err)
		}
		failing = true
		select {
		case <-time.After(retry):
		case <-c.stop:
			c.lose()
			return
		}
		retry = min(2*retry, retryMost)
	}
}

func (c *copyTo) first() *batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil
	}
	return c.queue[0]
}

func (c *copyTo) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes -= len(c.queue[0].text)
	c.queue[0] = nil
	c.queue = c.queue[1:]
}

// refused counts the lines that the place refuses for good.
func (c *copyTo) refused(b *batch) {
	if n := len(b.refused); n > 0 {
		c.metrics.copiesLost.Add(float64(n))
		c.log.Error("a copy of the audit log refuses lines for good: it lacks them", "lines", n)
	}
}

// lose counts what is left.
func (c *copyTo) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, b := range c.queue {
		n += len(b.lines)
	}
	c.metrics.copiesLost.Add(float64(n))
	c.log.Error("a copy of the audit log lacks lines: it took none until the end", "lines", n)
}

// close hands on what is left if it is taken, and ends.
func (c *copyTo) close() {
	close(c.stop)
	<-c.done
	c.to.close()
}
