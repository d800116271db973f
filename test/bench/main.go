// Command bench measures Anteroom against a bare net/http handler and a bare
// tuned httputil.ReverseProxy that do the same work, in one run on one machine:
// figures from different runs do not compare. It needs wrk and a built anteroom.
//
//	bench ANTEROOM            all measurements, or the one that BENCH_ONLY names
//	bench app|proxy …         the processes it starts for itself
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "app":
		err = serveApp(os.Args[2], os.Args[3])
	case len(os.Args) == 4 && os.Args[1] == "proxy":
		err = serveBareProxy(os.Args[2], os.Args[3])
	case len(os.Args) == 2:
		err = measure(ctx, os.Args[1])
	default:
		err = fmt.Errorf("usage: bench ANTEROOM")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, anteroom string) error {
	s, err := newScene(ctx, anteroom)
	if err != nil {
		return err
	}
	defer s.end()
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"rates", s.rates}, {"audit", s.audited}, {"checks", s.checks}, {"extauthz", func(ctx context.Context) error { return s.extAuthz(ctx, anteroom) }},
		{"dav", s.dav}, {"listing", s.listing}, {"bodies", s.bigBodies}, {"sockets", s.sockets},
	}
	only := os.Getenv("BENCH_ONLY")
	for _, step := range steps {
		if only != "" && only != step.name {
			continue
		}
		if err := step.run(ctx); err != nil {
			return err
		}
	}
	return nil
}
