package trace

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"golang.org/x/net/http/httpguts"
	"google.golang.org/protobuf/encoding/protowire"

	"anteroom/session"
)

const (
	queueSize = 2048 // spans that wait to be sent; a thousand bytes each
	batchSize = 512  // spans in one request
	batchTime = 2 * time.Second
	postTime  = 10 * time.Second // for one try
	flushTime = 3 * time.Second  // for all that is left at the end
	tries     = 4
	firstWait = time.Second
	lastWait  = 30 * time.Second
	maxAnswer = 64 << 10
	logEvery  = 10 * time.Minute // a collector that stays away is complained of so often
)

// Why spans were left out: a closed set.
const (
	dropQueue    = "queue_full" // they came faster than they were sent
	dropExport   = "not_sent"   // the collector did not take them
	dropRejected = "rejected"   // it said that it took the request, without them
)

// exporter sends spans, in batches.
type exporter struct {
	url      string
	roots    *session.Authorities // by whom the collector is known
	client   *http.Client
	headers  atomic.Pointer[http.Header]
	resource *resource.Resource
	log      *slog.Logger
	queue    chan *Span

	sent    prometheus.Counter
	dropped map[string]prometheus.Counter

	complained time.Time // when it was last logged that the collector is away; zero: it is not
}

func newExporter(cfg Config, o Options) (*exporter, error) {
	h, err := ParseHeaders(cfg.Headers)
	if err != nil {
		return nil, fmt.Errorf("telemetry.otlp_headers: %w", err)
	}
	wire := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: postTime / 2, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: postTime / 2,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     time.Minute,
		ForceAttemptHTTP2:   true,
	}
	roots, err := session.OpenAuthorities(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("telemetry.otlp_ca_file: %w", err)
	}
	e := &exporter{
		url:    strings.TrimSuffix(cfg.Endpoint, "/") + "/v1/traces",
		client: &http.Client{Transport: session.NewTransport(wire, roots), Timeout: postTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		roots:  roots, resource: resourceOf(cfg), log: o.Log, queue: make(chan *Span, queueSize),
	}
	e.headers.Store(&h)
	e.count(o.Registry)
	return e, nil
}

func (e *exporter) count(reg prometheus.Registerer) {
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_trace_spans_dropped_total", Help: "Spans left out, by reason."}, []string{"reason"})
	e.sent = prometheus.NewCounter(prometheus.CounterOpts{Name: "anteroom_trace_spans_sent_total", Help: "Spans that the collector took."})
	e.dropped = map[string]prometheus.Counter{}
	for _, why := range []string{dropQueue, dropExport, dropRejected} {
		e.dropped[why] = dropped.WithLabelValues(why)
	}
	if reg != nil {
		reg.MustRegister(e.sent, dropped)
	}
}

// ParseHeaders reads name=value,name=value; white space around each is left
// out, and values may be percent-encoded. The error shows no value.
func ParseHeaders(list session.Secret) (http.Header, error) {
	h := http.Header{}
	for item := range strings.SplitSeq(list.Reveal(), ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, value, ok := strings.Cut(item, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); !ok || err != nil || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, errors.New("is not name=value,name=value; write a comma in a value as %2C, and a % as %25")
		}
		h.Set(name, value)
	}
	return h, nil
}

// take queues a span to be sent. It never waits.
func (e *exporter) take(s *Span) {
	select {
	case e.queue <- s:
	default:
		e.dropped[dropQueue].Inc()
	}
}

// run sends what is queued: a batch when it is full, or has waited long enough.
// Once ctx is done, what is being sent and what is left have flushTime.
func (e *exporter) run(ctx context.Context) {
	defer e.client.CloseIdleConnections()
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(flushTime, cancel) })()
	for {
		batch := e.gather(ctx)
		if ctx.Err() != nil || !e.send(ctx, late, batch) {
			e.flush(late, batch)
			return
		}
	}
}

// gather waits for a batch; it is what there is, when ctx is done.
func (e *exporter) gather(ctx context.Context) []*Span {
	var batch []*Span
	select {
	case s := <-e.queue:
		batch = append(batch, s)
	case <-ctx.Done():
		return nil
	}
	soon := time.NewTimer(batchTime)
	defer soon.Stop()
	for len(batch) < batchSize {
		select {
		case s := <-e.queue:
			batch = append(batch, s)
		case <-soon.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

// flush sends what is left, each once.
func (e *exporter) flush(ctx context.Context, batch []*Span) {
	for {
		for more := true; more && len(batch) < batchSize; {
			select {
			case s := <-e.queue:
				batch = append(batch, s)
			default:
				more = false
			}
		}
		if len(batch) == 0 {
			return
		}
		_, err := e.post(ctx, batch)
		e.settle(len(batch), err)
		batch = nil
	}
}

// send sends a batch, again where that may help (OTLP: 429, 502, 503, 504). It
// reports false if ctx was done before that was decided; what is under way then
// has until late is done, for a batch that is cut off may have been taken.
func (e *exporter) send(ctx, late context.Context, batch []*Span) bool {
	wait := firstWait
	for try := 1; ; try++ {
		again, err := e.post(late, batch)
		if err != nil && ctx.Err() != nil {
			return false
		}
		if err == nil || again < 0 || try == tries {
			e.settle(len(batch), err)
			return true
		}
		e.complain(err)
		select {
		case <-time.After(min(max(wait, again), lastWait)):
			wait *= 2
		case <-ctx.Done():
			return false
		}
	}
}

// settle counts a batch that was not taken, and says when the collector is
// there again.
func (e *exporter) settle(n int, err error) {
	if err != nil {
		e.dropped[dropExport].Add(float64(n))
		e.complain(err)
		return
	}
	if !e.complained.IsZero() {
		e.complained = time.Time{}
		e.log.Info("the collector takes spans again (telemetry.otlp_endpoint)")
	}
}

func (e *exporter) complain(err error) {
	if now := time.Now(); e.complained.IsZero() || now.Sub(e.complained) >= logEvery {
		e.complained = now
		e.log.Warn("the collector does not take spans; some are left out (telemetry.otlp_endpoint)", "error", err)
	}
}

// post sends a batch once. again is how long to wait at least before another
// try; below zero: another would not help.
func (e *exporter) post(ctx context.Context, batch []*Span) (again time.Duration, err error) {
	body, err := encode(e.resource, batch)
	if err != nil {
		return -1, fmt.Errorf("encoding spans: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return -1, errors.New("telemetry.otlp_endpoint is no URL")
	}
	for name, values := range *e.headers.Load() {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("User-Agent", "Anteroom")
	resp, err := e.client.Do(r)
	if err != nil {
		return 0, session.WithoutURL(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch resp.StatusCode {
	case http.StatusOK:
		rejected := min(rejectedIn(answer), uint64(len(batch)))
		e.dropped[dropRejected].Add(float64(rejected))
		e.sent.Add(float64(uint64(len(batch)) - rejected))
		return 0, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return time.Duration(min(max(seconds, 0), int(lastWait/time.Second))) * time.Second, fmt.Errorf("it answers %d", resp.StatusCode)
	}
	return -1, fmt.Errorf("it answers %d", resp.StatusCode)
}

// rejectedIn is how many spans an answer says were not taken, all the same:
// ExportTraceServiceResponse { partial_success = 1 { rejected_spans = 1 } }.
func rejectedIn(answer []byte) uint64 {
	partial, ok := field(answer, 1, protowire.BytesType)
	if !ok {
		return 0
	}
	inner, size := protowire.ConsumeBytes(partial)
	rejected, ok := field(inner, 1, protowire.VarintType)
	if size < 0 || !ok {
		return 0
	}
	n, size := protowire.ConsumeVarint(rejected)
	if size < 0 {
		return 0
	}
	return n
}

// field is a message from the value of one of its fields on.
func field(message []byte, number protowire.Number, typ protowire.Type) ([]byte, bool) {
	for len(message) > 0 {
		n, t, size := protowire.ConsumeTag(message)
		if size < 0 {
			return nil, false
		}
		if message = message[size:]; n == number && t == typ {
			return message, true
		}
		if size = protowire.ConsumeFieldValue(n, t, message); size < 0 {
			return nil, false
		}
		message = message[size:]
	}
	return nil, false
}
