package proxy

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/proxy/forwardauth"
	"anteroom/proxy/trace"
	"anteroom/proxy/upstream"
	"anteroom/session"
)

// exchange is one request on its way through: filled step by step, logged once
// at the end.
type exchange struct {
	http.ResponseWriter // the client's; WriteHeader and Write below note what passes
	r                   *http.Request
	origin              origin
	hop                 upstream.Hop
	door                string // which door it came to; from the closed set in routes.go
	who                 *session.Identity
	own                 session.Credential   // that the request came with, for Nextcloud; zero for none
	session             *session.Session     // the answer runs under it; nil if under none
	dialect             *forwardauth.Dialect // in which a front proxy asked; r is what it asked about then. nil: r came itself
	upload              *upload              // the body on its way in; nil: none
	reader              *guard               // of who takes the answer; may be nil
	start               time.Time
	status              int
	bytes               int64
	err                 error
	plain               int           // bytes at the start of r's path that name nothing of anybody's
	recorded            bool          // the audit log has its refusal
	hsts                []string      // for browsers to come by https alone; nil: they are not told
	programs            bool          // come here with an Authorization, too
	over                *session.Over // that the request came with, and that is no more; nil for none
	span                *trace.Span   // nil: nothing is traced
	reason              string        // it was refused for; "" for none
}

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 || status == http.StatusSwitchingProtocols {
		x.status = status
		x.upload.answered()
	}
	if h := x.Header(); x.hsts != nil && x.dialect == nil && status >= 200 && h["Strict-Transport-Security"] == nil {
		h["Strict-Transport-Security"] = x.hsts // what the application says of it stays
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	x.reader.begin()
	n, err := x.ResponseWriter.Write(b)
	x.reader.release()
	x.bytes += int64(n)
	return n, err
}

// FlushError sends what was written so far on its way.
func (x *exchange) FlushError() error {
	x.reader.begin()
	defer x.reader.release()
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Hijack takes the connection over, for a WebSocket.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err == nil && x.status == 0 {
		x.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

// bodyTime is how long a client may take to send a body that is for us, or
// that nobody wants any more.
const bodyTime = 5 * time.Second

// hurryBody sets that limit. The server waits for the rest of a body after an
// answer; without a limit a client could hold its connection for ever.
func (x *exchange) hurryBody() {
	if x.r.Body == nil || x.r.Body == http.NoBody {
		return
	}
	http.NewResponseController(x.ResponseWriter).SetReadDeadline(time.Now().Add(bodyTime))
}

// Unwrap lets http.ResponseController reach deadlines.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// ServeHTTP is where every request comes in: it is named, served, and written
// down, whatever happens to it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{ResponseWriter: w, r: r, start: s.o.Now(), door: doorNone, hsts: s.hsts}
	x.upload, x.reader = s.limits.newUpload(w, r), s.limits.newReader(w, r)
	s.metrics.inFlight.Inc()
	defer s.limits.last(x) // whatever becomes of finish
	defer s.finish(x)
	if err := s.serve(x); err != nil {
		s.refuse(x, err)
	}
}

// finish contains a panic to its request, then logs and counts it.
func (s *Server) finish(x *exchange) {
	s.metrics.inFlight.Dec()
	p, told := recover(), false
	if p != nil && p != http.ErrAbortHandler {
		x.err = errors.New("panic")
		session.LogPanic(s.o.Log, "a request", p, "request_id", x.hop.RequestID)
		if x.status == 0 {
			s.refuse(x, &refusal{status: http.StatusInternalServerError, reason: reasonInternal})
			told = true
		}
	}
	s.note(x)
	if p != nil && !told {
		panic(http.ErrAbortHandler) // the answer may be half out: let the server cut the connection
	}
}

// note writes the access line and the metrics of one exchange.
func (s *Server) note(x *exchange) {
	took := s.o.Now().Sub(x.start)
	s.metrics.count(x.door, x.status, took)
	s.ended(x)
	s.endSpan(x)
	if !s.o.Log.Enabled(x.r.Context(), slog.LevelInfo) {
		return
	}
	var room [14]slog.Attr
	attrs := append(room[:0],
		slog.String("request_id", x.hop.RequestID),
		slog.String("client", x.origin.client),
		slog.String("method", x.r.Method),
		slog.String("host", x.origin.host),
		slog.String("path", s.shownPath(x)),
		slog.Int("status", x.status),
		slog.Int64("bytes", x.bytes),
		slog.Int64("us", took.Microseconds()),
		slog.String("door", x.door))
	if x.who != nil {
		attrs = append(attrs, slog.String("sub", x.who.Subject), slog.String("sid", x.who.SessionID))
	}
	if x.dialect != nil {
		attrs = append(attrs, slog.String("dialect", x.dialect.Name))
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("error", x.err.Error()))
	}
	if id := x.hop.Traceparent; x.span != nil && id[3:35] != x.hop.RequestID {
		attrs = append(attrs, slog.String("trace_id", id[3:35]))
	}
	s.o.Log.LogAttrs(x.r.Context(), slog.LevelInfo, "request", attrs...)
}

// shownPath is the path as the program's log has it: of DAV and the JSON API the
// service alone, for names are personal, and the audit log is the place for them.
func (s *Server) shownPath(x *exchange) string {
	path := x.r.URL.EscapedPath()
	name := x.door
	if d := s.ownDoor(path); d != nil { // also where it did not get so far
		name = d.name
	}
	segments := map[string]int{doorDAV: 1, doorAPI: 2}[name]
	if segments == 0 && s.o.Audit.HidesPaths() && x.plain < len(path) {
		return path[:x.plain] + "/…"
	}
	if segments == 0 {
		return path
	}
	parts := strings.SplitN(path, "/", segments+2)
	if len(parts) < segments+2 {
		return path
	}
	return strings.Join(parts[:segments+1], "/") + "/…"
}

var requestIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)

// identify names the request: an id for people and a W3C trace context
// (https://www.w3.org/TR/trace-context/), the one part of the other. What a
// trusted proxy named keeps its name where that is believed: many hand on what
// the client said.
func (x *exchange) identify() {
	var b [24]byte
	binary.NativeEndian.PutUint64(b[0:], rand.Uint64())  // #nosec G404 -- names a request, opens nothing
	binary.NativeEndian.PutUint64(b[8:], rand.Uint64())  // #nosec G404 -- as above
	binary.NativeEndian.PutUint64(b[16:], rand.Uint64()) // #nosec G404 -- as above
	var out [55]byte
	copy(out[:], "00-")
	hex.Encode(out[3:], b[:16])
	out[35] = '-'
	hex.Encode(out[36:], b[16:])
	copy(out[52:], "-01")
	if x.origin.traces {
		tp := x.r.Header.Get("Traceparent")
		if _, ok := trace.Parse(tp); ok {
			copy(out[:36], tp[:36]) // the trace goes on; the parent is this hop
			copy(out[52:], tp[52:])
			x.hop.Tracestate = trace.State(x.r.Header["Tracestate"])
		}
	}
	x.hop.Traceparent = string(out[:])
	x.hop.RequestID = x.hop.Traceparent[3:35]
	if x.origin.traces {
		if id := x.r.Header.Get("X-Request-Id"); requestIDForm.MatchString(id) {
			x.hop.RequestID = id
		}
	}
}

// metrics is what this package counts.
type metrics struct {
	inFlight prometheus.Gauge
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refused  *prometheus.CounterVec
	checks   *prometheus.CounterVec
	byDoor   map[string]*doorMetrics // ready-made per door, so that counting looks nothing up by label
}

type doorMetrics struct {
	classes [6]prometheus.Counter // by first digit of the status
	seconds prometheus.Observer
}

func newMetrics(reg prometheus.Registerer, doors []string) *metrics {
	m := &metrics{
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "anteroom_requests_in_flight", Help: "Requests being served."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_requests_total", Help: "Requests served, by door and class of status."}, []string{"door", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "anteroom_request_seconds", Help: "Time from header read to answer done, by door; WebSockets are left out.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 30}}, []string{"door"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_refused_total", Help: "Requests refused, by reason."}, []string{"reason"}),
		checks:  newCheckMetrics(),
		byDoor:  map[string]*doorMetrics{},
	}
	for _, d := range doors {
		dm := &doorMetrics{seconds: m.seconds.WithLabelValues(d)}
		for i := range dm.classes {
			dm.classes[i] = m.requests.WithLabelValues(d, strconv.Itoa(i)+"xx")
		}
		m.byDoor[d] = dm
	}
	if reg != nil {
		reg.MustRegister(m.inFlight, m.requests, m.seconds, m.refused, m.checks)
	}
	return m
}

func (m *metrics) count(door string, status int, took time.Duration) {
	d := m.byDoor[door]
	if d == nil || status < 0 || status > 599 {
		return
	}
	d.classes[status/100].Inc()
	if status != http.StatusSwitchingProtocols { // WebSockets last as long as people talk
		d.seconds.Observe(took.Seconds())
	}
}
