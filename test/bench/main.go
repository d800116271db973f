// Command bench measures Anteroom against a bare net/http handler and a bare
// tuned httputil.ReverseProxy that do the same work, in one run on one machine:
// figures from different runs do not compare. It needs wrk and a built anteroom.
//
//	bench ANTEROOM            all measurements
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
	for _, step := range []func(context.Context) error{s.rates, s.checks, func(ctx context.Context) error { return s.extAuthz(ctx, anteroom) }, s.dav, s.listing, s.bigBodies, s.sockets} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}
