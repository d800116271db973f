package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	connections = 32
	rounds      = 5 // of each target, in turns, so that what else the machine does falls on all alike
	roundTime   = 3 * time.Second
	bigBody     = 1 << 30
	socketCount = 2000
)

// target is one thing wrk is pointed at.
type target struct {
	name, url string
	cookie    string
	headers   []string
	rates     []float64
	p50s      []time.Duration
	p99s      []time.Duration
}

// rates compares requests per second and latency.
func (s *scene) rates(ctx context.Context) error {
	site := "http://" + s.site
	ts := []*target{
		{name: "bare handler, application's answer", url: "http://" + s.app + "/hello"},
		{name: "bare ReverseProxy → application", url: "http://" + s.proxy + "/hello"},
		{name: "bare ReverseProxy, same headers added", url: "http://" + s.proxy + "/same/hello"},
		{name: "Anteroom, signed in → application", url: site + "/hello", cookie: s.cookie},
		{name: "bare handler, the check's answer", url: "http://" + s.app + "/check"},
		{name: "Anteroom, signed in, check (/auth/me)", url: site + "/auth/me", cookie: s.cookie},
		{name: "Anteroom with Redis, check (/auth/me)", url: "http://" + s.shared.site + "/auth/me", cookie: s.shared.cookie},
		{name: "Anteroom with Redis → application", url: "http://" + s.shared.site + "/hello", cookie: s.shared.cookie},
	}
	for range rounds {
		for _, t := range ts {
			if err := t.run(ctx); err != nil {
				return err
			}
		}
	}
	fmt.Printf("%d connections, medians of %d rounds of %v, in turns\n", connections, rounds, roundTime)
	for _, t := range ts {
		t.print()
	}
	fmt.Printf("  proxying: %.2f of the bare ReverseProxy that adds the same headers, %.2f of one that adds none\n", ratio(ts[3], ts[2]), ratio(ts[3], ts[1]))
	fmt.Printf("  check:    %.2f of the bare handler\n", ratio(ts[5], ts[4]))
	fmt.Printf("  session.store redis against memory: check %.2f, proxying %.2f\n", ratio(ts[6], ts[5]), ratio(ts[7], ts[3]))
	return s.calm(ctx, ts[2], ts[3])
}

// calm measures what Anteroom adds to one request when nothing queues.
func (s *scene) calm(ctx context.Context, bare, ours *target) error {
	one := func(t *target) *target { return &target{name: t.name, url: t.url, cookie: t.cookie} }
	bare, ours = one(bare), one(ours)
	for range rounds {
		for _, t := range []*target{bare, ours} {
			if err := t.runWith(ctx, 1); err != nil {
				return err
			}
		}
	}
	fmt.Printf("  one connection: bare ReverseProxy p50 %v, Anteroom p50 %v: %v added\n", median(bare.p50s), median(ours.p50s), median(ours.p50s)-median(bare.p50s))
	return nil
}

func (t *target) print() {
	fmt.Printf("  %-40s %9.0f req/s   p50 %8v   p99 %8v\n", t.name, median(t.rates), median(t.p50s), median(t.p99s))
}

func ratio(a, b *target) float64 { return median(a.rates) / median(b.rates) }

var (
	rateLine    = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	latencyLine = regexp.MustCompile(`(50|99)%\s+([\d.]+[mu]?s)`)
)

func (t *target) run(ctx context.Context) error { return t.runWith(ctx, connections) }

func (t *target) runWith(ctx context.Context, conns int) error {
	args := []string{"-t1", "-c" + strconv.Itoa(conns), "-d" + strconv.Itoa(int(roundTime/time.Second)) + "s", "--latency"}
	if t.cookie != "" {
		args = append(args, "-H", "Cookie: "+t.cookie)
	}
	for _, h := range t.headers {
		args = append(args, "-H", h)
	}
	out, err := exec.CommandContext(ctx, "wrk", append(args, t.url)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("wrk %s: %w\n%s", t.url, err, out)
	}
	if bytes.Contains(out, []byte("Non-2xx")) {
		return fmt.Errorf("%s: not every answer was 2xx\n%s", t.name, out)
	}
	m := rateLine.FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("wrk said\n%s", out)
	}
	rate, _ := strconv.ParseFloat(string(m[1]), 64)
	t.rates = append(t.rates, rate)
	for _, l := range latencyLine.FindAllSubmatch(out, -1) {
		d, _ := time.ParseDuration(string(l[2]))
		if string(l[1]) == "50" {
			t.p50s = append(t.p50s, d)
		} else {
			t.p99s = append(t.p99s, d)
		}
	}
	return nil
}

func median[T float64 | time.Duration](v []T) T {
	s := slices.Clone(v)
	slices.Sort(s)
	if len(s) == 0 {
		return 0
	}
	return s[len(s)/2]
}

// bigBodies streams 1 GiB each way and reports the memory it took.
func (s *scene) bigBodies(ctx context.Context) error {
	before := s.memory("VmRSS")
	for _, dir := range []string{"download", "upload"} {
		start := time.Now()
		n, err := s.stream(ctx, dir)
		if err != nil || n != bigBody {
			return fmt.Errorf("%s of 1 GiB: %d bytes, %w", dir, n, err)
		}
		took := time.Since(start)
		fmt.Printf("1 GiB %-8s %6.0f MiB/s, resident %d → %d KiB, peak %d KiB\n", dir, 1024/took.Seconds(), before, s.memory("VmRSS"), s.memory("VmHWM"))
	}
	return nil
}

func (s *scene) stream(ctx context.Context, dir string) (int64, error) {
	method, body, path := http.MethodGet, io.Reader(nil), "/download?bytes="+strconv.Itoa(bigBody)
	if dir == "upload" {
		method, path, body = http.MethodPost, "/upload", io.LimitReader(zeros{}, bigBody)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.site+path, body)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Cookie", s.cookie)
	if dir == "upload" {
		r.ContentLength = bigBody
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if dir == "download" {
		return io.Copy(io.Discard, resp.Body)
	}
	b, err := io.ReadAll(resp.Body)
	n, _ := strconv.ParseInt(string(b), 10, 64)
	return n, err
}

// memory reads a line of the anteroom process's status, in KiB.
func (s *scene) memory(line string) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.anteroom.Process.Pid))
	if err != nil {
		return -1
	}
	for l := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return n
		}
	}
	return -1
}

// sockets opens idle WebSockets and reports the memory each takes.
func (s *scene) sockets(ctx context.Context) error {
	before := s.memory("VmRSS")
	var mu sync.Mutex
	var open []*websocket.Conn
	var failed error
	var wg sync.WaitGroup
	limit := make(chan struct{}, 50)
	client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext}}
	for range socketCount {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			c, _, err := websocket.Dial(ctx, "ws://"+s.site+"/socket", &websocket.DialOptions{HTTPClient: client, HTTPHeader: http.Header{"Cookie": {s.cookie}}})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			open = append(open, c)
		})
	}
	wg.Wait()
	if failed != nil {
		return fmt.Errorf("opening sockets: %d of %d, %w", len(open), socketCount, failed)
	}
	time.Sleep(2 * time.Second) // let what opening them took be given back
	after := s.memory("VmRSS")
	fmt.Printf("%d idle WebSockets: resident %d → %d KiB, %.1f KiB each\n", len(open), before, after, float64(after-before)/float64(len(open)))
	for _, c := range open {
		c.CloseNow()
	}
	return nil
}
