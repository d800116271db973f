// Package trace tells a collector what a request took and of what: OpenTelemetry
// spans, sent by OTLP over HTTP. It trusts no name from outside: what is said of
// a request comes from sets closed in code or configuration, never a path, a
// query, a header's value or an error's text. Nobody waits for the collector:
// what it does not take in time is left out and counted.
//
// The OpenTelemetry SDK is not used, for it obeys environment variables of its
// own, logs by a logger of the whole process and does not count what it leaves
// out. The messages are those that OpenTelemetry publishes.
package trace

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/session"
)

// Config says where spans go, and how many.
type Config struct {
	Endpoint string         // the collector's base URL, /v1/traces not included; "" traces nothing
	Headers  session.Secret // name=value,name=value, with each request; "" for none
	CAFile   string         // PEM of who may vouch for the collector; "": those of the system
	Service  string         // service.name
	Version  string         // service.version
	Ratio    Ratio          // of the traces that begin here
}

// Options is what a Tracer needs besides.
type Options struct {
	Log      *slog.Logger
	Registry prometheus.Registerer // nil: nothing is counted
}

// Ratio is a share, from 0 to 1.
type Ratio float64

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Ratio) UnmarshalText(text []byte) error {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("is %.40q; write a share from 0 to 1, such as 0.1", text)
	}
	*r = Ratio(f)
	return nil
}

// String writes a ratio as it is read.
func (r Ratio) String() string { return strconv.FormatFloat(float64(r), 'f', -1, 64) }

// Tracer makes spans. A nil one traces nothing, and costs nothing. Safe for
// concurrent use; Run must be running.
type Tracer struct {
	below uint64 // a trace is sampled if what its id ends in is less
	out   *exporter
}

// New makes a tracer; it opens no connection. It is nil where there is no
// endpoint. An error is one of the configuration's.
func New(cfg Config, o Options) (*Tracer, error) {
	if cfg.Endpoint == "" {
		return nil, nil
	}
	out, err := newExporter(cfg, o)
	if err != nil {
		return nil, err
	}
	return &Tracer{below: uint64(math.Ldexp(float64(cfg.Ratio), 63)), out: out}, nil
}

// Run sends spans until ctx is done, and what is left of them then, for which
// it takes flushTime at most.
func (t *Tracer) Run(ctx context.Context) {
	if t != nil {
		t.out.run(ctx)
	}
}

// RenewHeaders exchanges Config.Headers.
func (t *Tracer) RenewHeaders(text session.Secret) error {
	h, err := ParseHeaders(text)
	if err == nil {
		t.out.headers.Store(&h)
	}
	return err
}

// RenewAuthorities has the collector known by those of a text in PEM. The error
// says why that stays as it was.
func (t *Tracer) RenewAuthorities(pem string) error { return t.out.roots.Renew(pem) }

// sampled decides for a trace that begins here as OpenTelemetry's
// TraceIdRatioBased does, so that programs with one ratio decide alike.
func (t *Tracer) sampled(id [16]byte) bool {
	return binary.BigEndian.Uint64(id[8:])>>1 < t.below
}

// kind is a span's, by OTLP's numbers.
type kind int32

const (
	kindInternal kind = 1
	kindServer   kind = 2
	kindClient   kind = 3
)

// Span is one piece of work, from its beginning on. Only who began it changes
// it. Of a trace that is not sampled it is a context alone.
type Span struct {
	t      *Tracer
	c      Context
	parent [8]byte // zero: it is the first of its trace
	link   Context // a span of another trace that led here; zero for none
	name   string
	kind   kind
	start  time.Time
	end    time.Time
	failed bool
	attrs  []attr
	room   [12]attr
}

// attr is one attribute: a text, or a number where text is "".
type attr struct {
	key, text string
	number    int64
}

func (s *Span) set(key, text string) {
	if text != "" {
		s.attrs = append(s.attrs, attr{key: key, text: text})
	}
}

func (s *Span) setNumber(key string, n int64) {
	s.attrs = append(s.attrs, attr{key: key, number: n})
}

// finish hands a span over to be sent.
func (s *Span) finish() {
	s.end = time.Now()
	s.t.out.take(s)
}

// Traceparent is the span as others are told of it; "" of nil.
func (s *Span) Traceparent() string {
	if s == nil {
		return ""
	}
	return s.c.Traceparent()
}

// child begins a span within another that is sampled.
func (t *Tracer) child(of *Span, k kind, name string) *Span {
	s := &Span{t: t, c: of.c, parent: of.c.Span, name: name, kind: k, start: time.Now()}
	s.c.Span = newSpanID()
	s.attrs = s.room[:0]
	return s
}

// root begins a trace; nil if it is not sampled.
func (t *Tracer) root(k kind, name string) *Span {
	var c Context
	for i := 0; i < len(c.Trace); i += 8 {
		binary.NativeEndian.PutUint64(c.Trace[i:], rand.Uint64()) // #nosec G404 -- names a trace, opens nothing
	}
	if !t.sampled(c.Trace) {
		return nil
	}
	c.Span, c.Sampled = newSpanID(), true
	s := &Span{t: t, c: c, name: name, kind: k, start: time.Now()}
	s.attrs = s.room[:0]
	return s
}

func newSpanID() (id [8]byte) {
	binary.NativeEndian.PutUint64(id[:], rand.Uint64()|1) // #nosec G404 -- as above; never zero
	return id
}

type spanKey struct{}

func spanIn(ctx context.Context) *Span {
	s, _ := ctx.Value(spanKey{}).(*Span)
	return s
}

// Traceparent is the trace context that ctx's work is done in, "" for none.
func (t *Tracer) Traceparent(ctx context.Context) string { return spanIn(ctx).Traceparent() }

// Redis begins the span of a round trip to Redis within ctx's; nil if that is
// not sampled, or there is none. Call what it returns with how it went, "ok" or
// a word for what is wrong.
func (t *Tracer) Redis(ctx context.Context, command string) (end func(result string)) {
	in := spanIn(ctx)
	if t == nil || in == nil || !in.c.Sampled {
		return nil
	}
	s := t.child(in, kindClient, "redis "+command)
	s.set("db.system.name", "redis")
	s.set("db.operation.name", command)
	return func(result string) {
		if s.failed = result != "ok"; s.failed {
			s.set("error.type", result)
		}
		s.finish()
	}
}
