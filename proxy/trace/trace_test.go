package trace

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"anteroom/session"
)

func TestParse(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	c, ok := Parse(good)
	if !ok || !c.Sampled || c.Traceparent() != good {
		t.Errorf("Parse(%s) = %+v, %v", good, c, ok)
	}
	if c, ok := Parse(good[:53] + "02"); !ok || c.Sampled {
		t.Errorf("flags 02: %+v, %v, want one that is not sampled", c, ok)
	}
	for _, bad := range []string{
		"", "00", good + "-", good[:54], "01" + good[2:], "ff" + good[2:], strings.ToUpper(good),
		"00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01", "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	} {
		if c, ok := Parse(bad); ok || c.Valid() {
			t.Errorf("Parse(%q) = %+v, want none", bad, c)
		}
	}
}

func TestState(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("a=1,", 33), ",")
	tests := []struct {
		values []string
		want   string
	}{
		{nil, ""},
		{[]string{"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"},
		{[]string{"a=1", "b=2"}, "a=1,b=2"},
		{[]string{"fw529a3039@dt=FfAaQ;!x"}, "fw529a3039@dt=FfAaQ;!x"},
		{[]string{" a=1 , b=2"}, " a=1 , b=2"},
		{[]string{"a"}, ""}, {[]string{"A=1"}, ""}, {[]string{"a=1,=2"}, ""}, {[]string{"a=ü"}, ""}, {[]string{"a=1=2"}, ""}, {[]string{"a="}, ""}, {[]string{"a@=1"}, ""},
		{[]string{"a=x\r\nX-Evil: 1"}, ""}, {[]string{many}, ""}, {[]string{"a=" + strings.Repeat("x", 600)}, ""}, {[]string{",,"}, ""},
	}
	for _, tt := range tests {
		if got := State(tt.values); got != tt.want {
			t.Errorf("State(%q) = %q, want %q", tt.values, got, tt.want)
		}
	}
}

func TestRatio(t *testing.T) {
	for _, ratio := range []Ratio{0, 0.25, 1} {
		tr := tracer(t, "http://localhost:1", ratio)
		n := 0
		for i := range 4000 {
			var id [16]byte
			binary.BigEndian.PutUint64(id[8:], uint64(i)<<52|1) // evenly spread, as ids are
			if tr.sampled(id) {
				n++
			}
		}
		if got := float64(n) / 4000; got < float64(ratio)-0.03 || got > float64(ratio)+0.03 {
			t.Errorf("of ratio %v, %v are sampled", ratio, got)
		}
	}
}

func TestHeaders(t *testing.T) {
	h, err := ParseHeaders(" Authorization = Bearer%20a%2Cb , X-Scope-OrgID=1,")
	if err != nil || h.Get("Authorization") != "Bearer a,b" || h.Get("X-Scope-OrgID") != "1" || len(h) != 2 {
		t.Errorf("ParseHeaders = %v, %v", h, err)
	}
	for _, bad := range []session.Secret{"canary", "a b=canary", "a=canary%zz", "a=canary%0d%0aB: 1", "=canary"} {
		if _, err := ParseHeaders(bad); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("ParseHeaders(%q) = %v, want an error that does not show it", bad.Reveal(), err)
		}
	}
}

func tracer(t *testing.T, url string, ratio Ratio) *Tracer {
	t.Helper()
	tr, err := New(Config{Endpoint: url, Ratio: ratio, Service: "test"}, Options{Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// counts are how many spans were sent, and left out by reason.
func counts(t *testing.T, tr *Tracer) map[string]float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(tr.out.sent)
	for _, c := range tr.out.dropped {
		_ = c
	}
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got["sent"] = families[0].Metric[0].GetCounter().GetValue()
	for why, c := range tr.out.dropped {
		m := prometheus.NewRegistry()
		m.MustRegister(c.(prometheus.Collector))
		f, err := m.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got[why] = f[0].Metric[0].GetCounter().GetValue()
	}
	return got
}

// receiver takes export requests and answers the n-th as it is told.
type receiver struct {
	mu    sync.Mutex
	spans int // guarded by mu; that were taken
	asked int // guarded by mu
}

func receive(t *testing.T, answer func(n int, w http.ResponseWriter) (taken bool)) (*receiver, string) {
	v := new(receiver)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var data otlp.TracesData
		if err := proto.Unmarshal(body, &data); err != nil {
			t.Error(err)
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.asked++
		if answer(v.asked, w) {
			v.spans += len(data.ResourceSpans[0].ScopeSpans[0].Spans)
		}
	}))
	t.Cleanup(s.Close)
	return v, s.URL
}

func (v *receiver) seen() (spans, asked int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.spans, v.asked
}

// request makes one span.
func request(tr *Tracer, i int) {
	own := Context{Trace: [16]byte{1, 15: byte(i)}, Span: [8]byte{1}}
	_, s := tr.Begin(context.Background(), Incoming{Own: own})
	s.End(Answered{Method: "GET", Door: "test", Status: 200})
}

func running(t *testing.T, tr *Tracer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { tr.Run(ctx); close(done) }()
	return sync.OnceFunc(func() { cancel(); <-done })
}

func TestFlush(t *testing.T) {
	v, url := receive(t, func(int, http.ResponseWriter) bool { return true })
	tr := tracer(t, url, 1)
	stop := running(t, tr)
	for i := range batchSize + 100 {
		request(tr, i)
	}
	stop()
	if spans, _ := v.seen(); spans != batchSize+100 || counts(t, tr)["sent"] != batchSize+100 {
		t.Errorf("%d spans arrived, counted %v, want all %d", spans, counts(t, tr), batchSize+100)
	}
}

// TestStopLetsGoOn: what a stop finds under way is neither cut off nor sent twice.
func TestStopLetsGoOn(t *testing.T) {
	came, goOn := make(chan struct{}, 2), make(chan struct{})
	v, url := receive(t, func(int, http.ResponseWriter) bool { came <- struct{}{}; <-goOn; return true })
	tr := tracer(t, url, 1)
	stop := running(t, tr)
	request(tr, 1)
	<-came
	time.AfterFunc(100*time.Millisecond, func() { close(goOn) })
	stop()
	if spans, asked := v.seen(); spans != 1 || asked != 1 || counts(t, tr)["sent"] != 1 {
		t.Errorf("%d spans in %d requests, counted %v, want one sent once", spans, asked, counts(t, tr))
	}
}

func TestQueueIsBounded(t *testing.T) {
	tr := tracer(t, "http://localhost:1", 1) // and nobody takes from it
	for i := range queueSize + 7 {
		request(tr, i)
	}
	if got := counts(t, tr); got[dropQueue] != 7 || len(tr.out.queue) != queueSize {
		t.Errorf("%v, with %d queued, want 7 left out of the queue", got, len(tr.out.queue))
	}
}

func TestAgain(t *testing.T) {
	tests := []struct {
		name        string
		statuses    []int // then 200
		spans       int
		asked       int
		sent, wrong float64
	}{
		{"it is busy", []int{503, 429}, 1, 3, 1, 0},
		{"it does not want them", []int{400}, 0, 1, 0, 1},
		{"it redirects", []int{307}, 0, 1, 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, url := receive(t, func(n int, w http.ResponseWriter) bool {
				if n > len(tt.statuses) {
					return true
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.statuses[n-1])
				return false
			})
			tr := tracer(t, url, 1)
			defer running(t, tr)()
			request(tr, 1)
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				got := counts(t, tr)
				if spans, asked := v.seen(); spans == tt.spans && asked == tt.asked && got["sent"] == tt.sent && got[dropExport] == tt.wrong {
					return
				}
				if time.Now().After(end) {
					spans, asked := v.seen()
					t.Fatalf("%d spans in %d requests, counted %v", spans, asked, got)
				}
			}
		})
	}
}

func TestRejected(t *testing.T) {
	_, url := receive(t, func(_ int, w http.ResponseWriter) bool {
		inner := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 2)
		inner = protowire.AppendString(protowire.AppendTag(inner, 2, protowire.BytesType), "too old")
		w.Write(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner))
		return true
	})
	tr := tracer(t, url, 1)
	stop := running(t, tr)
	for i := range 5 {
		request(tr, i)
	}
	stop()
	if got := counts(t, tr); got["sent"] != 3 || got[dropRejected] != 2 {
		t.Errorf("%v, want 3 sent and 2 rejected", got)
	}
	for _, garbage := range []string{"", "\x0a", "\x0a\xff", "\x0a\x02\x08", "not protobuf at all"} {
		rejectedIn([]byte(garbage)) // and does not panic
	}
}

// TestNil: where nothing is traced, nothing is in the way.
func TestNil(t *testing.T) {
	tr, err := New(Config{}, Options{})
	if tr != nil || err != nil {
		t.Fatalf("New = %v, %v, want none", tr, err)
	}
	if next := http.DefaultTransport; tr.Transport(next, "x") != next {
		t.Error("there is something around a transport")
	}
	if end := tr.Redis(context.Background(), "get"); end != nil {
		t.Error("a round trip is told of")
	}
	var s *Span
	s.End(Answered{})
	if tr.Traceparent(context.Background()) != "" || s.Sampled() {
		t.Error("there is a context")
	}
}
