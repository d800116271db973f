package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/session"
)

// Options is what a Log is made of besides its configuration. All may be nil.
type Options struct {
	Stdout, Stderr io.Writer
	Now            func() time.Time // nil: time.Now
	Log            *slog.Logger     // what is wrong with places
	Registry       prometheus.Registerer
	Sign           Signer      // of what is posted
	See            func(Event) // is shown every event as it comes, with its names as they are, whether or not it can be kept; must not wait, and is called by many at once
}

// ErrNotKept: an event was not written, or not in time. It may be later.
var ErrNotKept = errors.New("the audit log does not take lines")

// Log writes events to its places, in whole lines, in order: each by the window
// at the latest. Safe for concurrent use.
type Log struct {
	cfg    Config
	o      Options
	out    sink
	key    ed25519.PrivateKey // nil: checkpoints are not signed, and none are made
	paths  *Paths             // nil: names stay as they are
	off    bool
	tokens []*session.Rotating  // of collectors; all there are once the log is open
	roots  *session.Authorities // by whom collectors are known

	arrived chan struct{} // holds one: there is something to write
	hurry   chan struct{} // holds one: somebody waits for it
	reopens chan chan error
	stop    chan struct{}
	done    chan struct{}
	ended   sync.Once
	copies  []*copyTo
	metrics *metrics

	failing atomic.Pointer[string]    // why output takes no lines; nil: it does
	writing atomic.Pointer[time.Time] // since when a write lasts; nil: none is under way

	mu     sync.Mutex
	queue  []entry // guarded by mu
	bytes  int     // guarded by mu: of the queue
	lost   int     // guarded by mu: events for which there was no room, and no line says so yet
	full   bool    // guarded by mu: there was no room, and the program's log says so
	closed bool    // guarded by mu

	// The writer's own.
	progress
	opening *mark // comes before the next line; nil: the stream is open
	spare   []entry
	text    []byte
	lines   []line
}

// progress is how far the chain is written and signed.
type progress struct {
	at       link
	unsigned int       // lines since the last signature
	first    time.Time // that the first event among them has; zero: there is none
	unnoted  int       // lines since the head was noted
	since    time.Time // when the first of them was written
}

// entry is an event on its way.
type entry struct {
	kind Kind
	time time.Time
	text []byte       // its JSON without the last brace
	told chan<- error // holds one; nil: nobody waits
}

// Open opens the places that the configuration names. The log writes until it
// is closed.
func Open(cfg Config, o Options) (*Log, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{cfg: cfg, o: o, off: cfg.Output == "off" && len(cfg.Copies) == 0,
		arrived: make(chan struct{}, 1), hurry: make(chan struct{}, 1), reopens: make(chan chan error), stop: make(chan struct{}), done: make(chan struct{})}
	key, err := ParseKey(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("audit.key: %w", err)
	}
	if key != nil {
		l.key = signer(key)
	}
	if cfg.HashPaths {
		if key == nil {
			return nil, errors.New("audit.hash_paths needs audit.key")
		}
		l.paths = newPaths(key)
	}
	if l.roots, err = session.OpenAuthorities(cfg.CAFile); err != nil {
		return nil, fmt.Errorf("audit.ca_file: %w", err)
	}
	l.metrics = newMetrics(o.Registry, l)
	if err := l.openPlaces(); err != nil {
		l.closePlaces()
		return nil, err
	}
	if l.off {
		close(l.done)
	} else {
		go l.run()
	}
	return l, nil
}

func (l *Log) openPlaces() error {
	out, p, err := l.open(l.cfg.Output, l.o.Stdout, l.o.Stderr)
	if err != nil {
		return err
	}
	l.out = out
	l.goOnFrom(p)
	for _, place := range l.cfg.Copies {
		s, _, err := l.open(place, l.o.Stdout, l.o.Stderr)
		if err != nil {
			return fmt.Errorf("audit.copies: %w", err)
		}
		l.copies = append(l.copies, newCopy(s, l.o.Log, l.metrics))
	}
	return nil
}

// goOnFrom has the stream begin with what was there before.
func (l *Log) goOnFrom(p *prior) {
	m := &mark{Kind: Opened}
	if p == nil {
		l.at = newLink()
	} else {
		if p.missing > 0 {
			l.o.Log.Error("the audit file ends before what was written last: lines are missing", "file", l.cfg.Output, "lines", p.missing)
		}
		m.Torn = p.torn
		l.adopt(p, m)
	}
	l.opens(m)
}

// opens has the next line say that the stream begins here, with m.
func (l *Log) opens(m *mark) {
	if l.at.seq > 0 {
		m.Prev = hashText.EncodeToString(l.at.hash[:])
	}
	l.opening = m
}

// adopt goes on with the chain of a file, or, where its end cannot be ours,
// begins another: what a signature of ours comes after, it vouches for.
func (l *Log) adopt(p *prior, m *mark) {
	m.Unsigned = p.tail.lines
	if p.unsound == "" {
		l.progress = progress{at: p.at, unsigned: p.tail.lines, first: p.tail.first, unnoted: p.tail.lines}
		return
	}
	l.o.Log.Error("the audit file does not end as this program left it, or has another key: a new chain begins", "file", l.cfg.Output, "chain", p.at.chain, "problem", p.unsound)
	m.Instead = p.at.chain
	l.progress = progress{at: newLink()}
}

// Write takes an event, with the present time where it has none, and does not
// wait for it to be written. The error is ErrNotKept, of an event that is lost.
func (l *Log) Write(e Event) error { return l.put(e, nil) }

// Commit is Write that waits until output has the event: a file on its disk,
// another place by its own word. While output is known to take none it does not
// wait. The error is ErrNotKept or ctx's.
func (l *Log) Commit(ctx context.Context, e Event) error {
	if l.off {
		return l.put(e, nil)
	}
	told := make(chan error, 1)
	if err := l.put(e, told); err != nil {
		return err
	}
	if l.Failing() != nil {
		return ErrNotKept
	}
	select {
	case l.hurry <- struct{}{}:
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("%w: output took longer than %s", ErrNotKept, patience)
	}
}

// Require is what has to be kept before something happens: Commit where
// audit.required is set, Write where not, and then there is no error.
func (l *Log) Require(ctx context.Context, e Event) error {
	if l.cfg.Required {
		return l.Commit(ctx, e)
	}
	l.Write(e)
	return nil
}

// Required reports whether nothing may be answered without a line.
func (l *Log) Required() bool { return l != nil && l.cfg.Required }

// Requests reports whether each request to the application gets a line.
func (l *Log) Requests() bool { return l != nil && l.cfg.Requests && (!l.off || l.o.See != nil) }

// HidesPaths reports whether names in paths are hashed.
func (l *Log) HidesPaths() bool { return l != nil && l.paths != nil }

// Failing is why output takes no lines; nil while it does.
func (l *Log) Failing() error {
	if why := l.failing.Load(); why != nil {
		return fmt.Errorf("%w: %s", ErrNotKept, *why)
	}
	if since := l.writing.Load(); since != nil && time.Since(*since) >= patience { // a disk or pipe that hangs says nothing
		return fmt.Errorf("%w: a write has not ended within %s", ErrNotKept, patience)
	}
	return nil
}

// put puts an event into the queue.
func (l *Log) put(e Event, told chan<- error) error {
	if l.off && l.o.See == nil {
		return nil
	}
	if e.Time.IsZero() {
		e.Time = l.o.Now()
	}
	e.Time = e.Time.UTC()
	l.see(e)
	if l.off {
		return nil
	}
	queued := entry{kind: e.Kind, time: e.Time, text: l.encode(e), told: told}
	l.mu.Lock()
	if l.closed || len(l.queue) >= mostQueued || l.bytes+len(queued.text) > mostQueuedBytes {
		l.lost++
		said := l.full
		l.full = true
		l.mu.Unlock()
		if !said {
			l.o.Log.Error("audit lines are lost: too many wait to be written, or the program ends")
		}
		l.metrics.lost.Inc()
		return fmt.Errorf("%w: too many wait to be written", ErrNotKept)
	}
	l.queue, l.bytes = append(l.queue, queued), l.bytes+len(queued.text)
	first := len(l.queue) == 1
	l.mu.Unlock()
	if first {
		select {
		case l.arrived <- struct{}{}:
		default:
		}
	}
	return nil
}

// see shows an event. That who watches trips over it costs no line.
func (l *Log) see(e Event) {
	if l.o.See == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			session.LogPanic(l.o.Log, "watching the audit log", p)
		}
	}()
	l.o.See(e)
}

// encode is an event's JSON without its last brace.
func (l *Log) encode(e Event) []byte {
	e.Path, e.To, e.Object = l.paths.hide(e.Path, e.Plain), l.paths.hide(e.To, e.PlainTo), l.paths.hide(e.Object, 0)
	return e.appendTo(make([]byte, 0, lineRoom))
}

// lineRoom is what most lines fit into, in bytes.
const lineRoom = 384

// RenewToken exchanges the token that collectors are shown. One that does not
// take the new one yet is shown the one before.
func (l *Log) RenewToken(s session.Secret) {
	for _, t := range l.tokens {
		t.Renew(s)
	}
}

// RenewAuthorities has collectors known by those of a text in PEM from the next
// lines on. The error says why that stays as it was.
func (l *Log) RenewAuthorities(pem string) error { return l.roots.Renew(pem) }

// Reopen closes a file and opens the one that has its name now, as a program
// that rotates logs wants it; lines before are in the old, lines after in the
// new. If it cannot be opened the old one stays.
func (l *Log) Reopen() error {
	ask := make(chan error, 1)
	select {
	case l.reopens <- ask:
		return <-ask
	case <-l.done:
		return nil
	}
}

// Close writes what is left, says in the stream that it ends, and closes the
// places. Events that come later are lost.
func (l *Log) Close() error {
	l.ended.Do(func() { close(l.stop) })
	<-l.done
	return nil
}

// metrics is what this package counts.
type metrics struct {
	lines, lost, copiesLost prometheus.Counter
	seq                     prometheus.Gauge
	seconds                 prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, l *Log) *metrics {
	m := &metrics{
		lines:      prometheus.NewCounter(prometheus.CounterOpts{Name: "anteroom_audit_lines_total", Help: "Audit lines written."}),
		lost:       prometheus.NewCounter(prometheus.CounterOpts{Name: "anteroom_audit_lost_total", Help: "Audit events that were not kept."}),
		copiesLost: prometheus.NewCounter(prometheus.CounterOpts{Name: "anteroom_audit_copies_lost_total", Help: "Audit lines that a copy did not take."}),
		seq:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "anteroom_audit_sequence", Help: "Number of the last audit line in its chain; a file that ends before it was cut."}),
		seconds:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "anteroom_audit_write_seconds", Help: "Time to write a group of audit lines, sync included.", Buckets: []float64{.0005, .001, .005, .01, .05, .1, .5, 1, 5}}),
	}
	failing := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "anteroom_audit_failing", Help: "1 while audit.output takes no lines."}, func() float64 {
		if l.Failing() != nil {
			return 1
		}
		return 0
	})
	if reg != nil {
		reg.MustRegister(m.lines, m.lost, m.copiesLost, m.seq, m.seconds, failing)
	}
	return m
}
