package upstream

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"
)

// What a step of the request path may allocate, at most.
const (
	stripAllocs  = 0
	setAllocs    = 1 // the values that are the request's own
	tokenAllocs  = 0
	cookieAllocs = 3 // the line without our cookie, and the list it stands in
	queryAllocs  = 2
	targetAllocs = 0
)

func browserHeader() http.Header {
	return http.Header{
		"Accept": {"text/html"}, "Accept-Encoding": {"gzip, br"}, "Accept-Language": {"de"}, "Cache-Control": {"no-cache"},
		"Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"same-origin"}, "User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:145.0)"},
		"X-Some-Application-Header": {"1"},
	}
}

const cookieLine = "theme=dark; __Host-anteroom=0123456789abcdef0123456789abcdef; lang=de"

// steps are the parts of the request path, each with its ceiling.
func steps(tb testing.TB) map[string]struct {
	allocs float64
	run    func()
} {
	s := newStripper(testConfig(), true)
	a := newAsserter(tb, testConfig(), time.Now)
	who := testWho()
	as, err := a.assert(who, "https://app.example")
	if err != nil {
		tb.Fatal(err)
	}
	h, cookies, c := browserHeader(), http.Header{"Cookie": nil}, &call{as: as, hop: testHop()}
	line := []string{cookieLine}
	r := httptest.NewRequest("GET", "/api/v1/patients?limit=20&cursor=abc", nil)
	return map[string]struct {
		allocs float64
		run    func()
	}{
		"strip": {stripAllocs, func() { s.strip(h) }},
		"set":   {setAllocs, func() { c.set(h) }},
		"token": {tokenAllocs, func() { a.assert(who, "https://app.example") }},
		"cookies": {cookieAllocs, func() {
			cookies["Cookie"] = line
			filterCookies(cookies, ownCookie)
		}},
		"query":  {queryAllocs, func() { withParam("a=1&token=x&b=2", "token", as.jwt) }},
		"target": {targetAllocs, func() { targetOf(r) }},
	}
}

func TestStepsAreCheap(t *testing.T) {
	for name, step := range steps(t) {
		step.run() // once to settle what it works on
		if got := testing.AllocsPerRun(100, step.run); got > step.allocs {
			t.Errorf("%s allocates %v times, want at most %v", name, got, step.allocs)
		}
	}
}

func BenchmarkStep(b *testing.B) {
	for name, step := range steps(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				step.run()
			}
		})
	}
}

// BenchmarkSign is what a JWT costs when it is made anew.
func BenchmarkSign(b *testing.B) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256", "HS256"} {
		b.Run(alg, func(b *testing.B) {
			cfg := testConfig()
			cfg.JWT.Algorithm = alg
			a, who := newAsserter(b, cfg, time.Now), testWho()
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := a.Fresh(who, "https://app.example"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// nowhere is a ResponseWriter that keeps nothing.
type nowhere struct{ h http.Header }

func (n *nowhere) Header() http.Header         { return n.h }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

// contenders are a Forwarder and a bare ReverseProxy of the same tuning, in
// front of the same application, which gets the same headers of both: the
// bare one's are ready-made, and it asks and removes nothing. Both go by what wire
// makes of their transport.
func contenders(tb testing.TB, wire func(http.RoundTripper) http.RoundTripper) map[string]http.HandlerFunc {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	tb.Cleanup(app.Close)
	f, err := NewForwarder(testConfig(), Destination{URL: app.URL}, newAsserter(tb, testConfig(), time.Now), Options{OwnCookie: ownCookie, Traced: wire})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(f.Close)
	to, err := url.Parse(app.URL)
	if err != nil {
		tb.Fatal(err)
	}
	as, err := f.asserter.assert(testWho(), f.audience)
	if err != nil {
		tb.Fatal(err)
	}
	told := http.Header{}
	(&call{as: as, hop: testHop()}).set(told)
	bare := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			maps.Copy(p.Out.Header, told)
		},
		Transport: wire(&http.Transport{
			DialContext: (&net.Dialer{}).DialContext, MaxIdleConnsPerHost: idleConns, DisableCompression: true,
		}),
		BufferPool: &bufferPool{},
	}
	who, hop := testWho(), testHop()
	return map[string]http.HandlerFunc{
		"bare": bare.ServeHTTP,
		"forward": func(w http.ResponseWriter, r *http.Request) {
			if err := f.Forward(w, r, who, hop); err != nil {
				tb.Fatal(err)
			}
		},
	}
}

func browserRequest() *http.Request {
	r := httptest.NewRequest("GET", "http://site.example/api?x=1", nil)
	r.Header = browserHeader()
	r.Header.Set("Cookie", cookieLine)
	return r
}

// forwardAllocs is how many allocations Forward may add to ReverseProxy's own:
// the call and its context, the identity headers' place in the map, the values
// of this request, the cookie line.
const forwardAllocs = 8

// TestForwardIsCheap has the application answer in the same goroutine, so that
// nothing else allocates meanwhile, and takes the cheapest call: the pools give up
// something now and then, with the race detector a quarter of what they are given.
// The transport is not in it: BenchmarkForward has it.
func TestForwardIsCheap(t *testing.T) {
	answer := func(http.RoundTripper) http.RoundTripper { return atOnce{} }
	cheapest := map[string]float64{}
	for name, h := range contenders(t, answer) {
		r := browserRequest()
		call := func() { h(&nowhere{h: http.Header{}}, r) }
		cheapest[name] = testing.AllocsPerRun(1, call)
		for range 200 {
			cheapest[name] = min(cheapest[name], testing.AllocsPerRun(1, call))
		}
	}
	if extra := cheapest["forward"] - cheapest["bare"]; extra > forwardAllocs {
		t.Errorf("Forward allocates %v times more than a bare ReverseProxy's %v, want at most %d", extra, cheapest["bare"], forwardAllocs)
	}
}

// atOnce answers every request with the same few bytes.
type atOnce struct{}

func (atOnce) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader("hello")), ContentLength: 5,
	}, nil
}

func BenchmarkForward(b *testing.B) {
	for name, h := range contenders(b, func(t http.RoundTripper) http.RoundTripper { return t }) {
		b.Run(name, func(b *testing.B) {
			r := browserRequest()
			b.ReportAllocs()
			for b.Loop() {
				h(&nowhere{h: http.Header{}}, r)
			}
		})
	}
}
