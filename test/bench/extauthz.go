package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"anteroom/demo"
)

// asker is one way to ask. The clients do next to nothing with an answer, as
// wrk: those of net/http and grpc-go would cost more than what is measured.
type asker struct {
	name        string
	connections int // among which the callers are spread evenly
	client      func(ctx context.Context, callers int, until time.Time, asked *atomic.Int64) error
	rates       []float64
	cpus        []time.Duration // of the server, for one question
}

// envoyWorkers is how many connections an Envoy with as many threads keeps,
// where it speaks HTTP/2.
const envoyWorkers = 2

// extAuthz compares Envoy's two ways to ask: the HTTP door and gRPC, about the
// same request, by as many callers at once over as many connections.
func (s *scene) extAuthz(ctx context.Context, anteroom string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	cloud := demo.NewNextcloud(demo.Options{})
	provider := &http.Server{Handler: cloud}
	go provider.Serve(l)
	defer provider.Close()
	site, grpcAt := freeAddr(), freeAddr()
	server, err := s.startAnteroom(ctx, anteroom, cloud, l.Addr().String(), site,
		"ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1", "ANTEROOM_SERVER_EXT_AUTHZ_LISTEN="+grpcAt, "ANTEROOM_SERVER_H2C=true")
	if err != nil {
		return err
	}
	cookie, err := signIn(site)
	if err != nil {
		return err
	}
	header := [][2]string{{"cookie", cookie}, {"user-agent", "bench"}, {"accept", "*/*"}, {"x-forwarded-proto", "http"}, {"x-request-id", strings.Repeat("0", 32)}}
	askers, err := waysToAsk(site, grpcAt, header)
	if err != nil {
		return err
	}
	for range rounds {
		for _, a := range askers {
			if err := a.run(ctx, server.Process.Pid); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
	}
	fmt.Printf("ext_authz, %d callers, medians of %d rounds of %v, in turns\n", connections, rounds, roundTime)
	for _, a := range askers {
		fmt.Printf("  %-40s %9.0f req/s   server CPU %8v each\n", a.name, median(a.rates), median(a.cpus))
	}
	for i := 0; i < len(askers); i += 2 {
		h, g := askers[i], askers[i+1]
		fmt.Printf("  gRPC over %2d connections: %.2f of the HTTP door's rate, %.2f of its server CPU\n", g.connections, median(g.rates)/median(h.rates), float64(median(g.cpus))/float64(median(h.cpus)))
	}
	return nil
}

// waysToAsk are pairs of HTTP and gRPC.
func waysToAsk(site, grpcAt string, header [][2]string) ([]*asker, error) {
	const path = "/auth/forward/envoy/hello"
	text := "GET " + path + " HTTP/1.1\r\nHost: " + site + "\r\n"
	fields := [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", site}, {":path", path}}
	asked := &auth.AttributeContext_HttpRequest{Id: "1", Method: "GET", Scheme: "http", Host: site, Path: "/hello", Protocol: "HTTP/1.1", Headers: map[string]string{}}
	for _, h := range header {
		text += h[0] + ": " + h[1] + "\r\n"
		fields = append(fields, h)
		asked.Headers[h[0]] = h[1]
	}
	peer := &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: "192.0.2.7", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 4000}}}}}
	m, err := proto.Marshal(&auth.CheckRequest{Attributes: &auth.AttributeContext{Source: peer, Destination: peer, Request: &auth.AttributeContext_Request{Http: asked}}})
	if err != nil {
		return nil, err
	}
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...) // gRPC over HTTP/2, Length-Prefixed-Message
	call := [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", grpcAt}, {":path", auth.Authorization_Check_FullMethodName}, {"content-type", "application/grpc"}, {"te", "trailers"}, {"grpc-timeout", "5S"}}
	over1, over2, grpc := plainClient(site, text+"\r\n"), muxClient(site, fields, nil), muxClient(grpcAt, call, framed)
	return []*asker{
		{name: "HTTP/1.1, /auth/forward/envoy", connections: connections, client: over1},
		{name: "gRPC, Authorization/Check", connections: connections, client: grpc},
		{name: fmt.Sprintf("HTTP/2 over %d connections", envoyWorkers), connections: envoyWorkers, client: over2},
		{name: fmt.Sprintf("gRPC over %d connections", envoyWorkers), connections: envoyWorkers, client: grpc},
	}, nil
}

// run lets all callers ask for one round.
func (a *asker) run(ctx context.Context, server int) error {
	var asked atomic.Int64
	var clients sync.WaitGroup
	faults := make([]error, a.connections)
	before, begun := cpuOf(server), time.Now()
	for i := range a.connections {
		clients.Go(func() { faults[i] = a.client(ctx, connections/a.connections, begun.Add(roundTime), &asked) })
	}
	clients.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	a.rates = append(a.rates, float64(asked.Load())/time.Since(begun).Seconds())
	a.cpus = append(a.cpus, ((cpuOf(server) - before) / time.Duration(asked.Load())).Round(100*time.Nanosecond))
	return nil
}

// cpuOf is the processor time that a process has used, in steps of 10 ms.
func cpuOf(pid int) time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
