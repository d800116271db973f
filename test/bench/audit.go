package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// audited measures what writing down every request costs: the same program
// with audit.output off, with a file as by default (each line on the disk
// within 50 ms), with hashed names too, and with audit.required, where each
// request waits for its line.
func (s *scene) audited(ctx context.Context) error {
	key := "ANTEROOM_AUDIT_KEY=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	kinds := []struct {
		name string
		env  []string
	}{
		{"audit off", []string{"ANTEROOM_AUDIT_OUTPUT=off"}},
		{"audit to a file, the default durability", []string{"ANTEROOM_AUDIT_OUTPUT=" + filepath.Join(s.dir, "audit1.log"), key}},
		{"… with hashed names", []string{"ANTEROOM_AUDIT_OUTPUT=" + filepath.Join(s.dir, "audit2.log"), key, "ANTEROOM_AUDIT_HASH_PATHS=true"}},
		{"… and required", []string{"ANTEROOM_AUDIT_OUTPUT=" + filepath.Join(s.dir, "audit3.log"), key, "ANTEROOM_AUDIT_REQUIRED=true"}},
	}
	var ts []*target
	for _, k := range kinds {
		site := freeAddr()
		if _, err := s.startAnteroom(ctx, s.program, s.cloud, s.cloudAt, site, k.env...); err != nil {
			return err
		}
		cookie, err := signIn(site)
		if err != nil {
			return err
		}
		ts = append(ts, &target{name: k.name, url: "http://" + site + "/hello", cookie: cookie})
	}
	for range rounds {
		for _, t := range ts {
			if err := t.run(ctx); err != nil {
				return err
			}
		}
	}
	fmt.Printf("audit: %d connections, signed in → application, medians of %d rounds of %v, in turns\n", connections, rounds, roundTime)
	for _, t := range ts {
		t.print()
	}
	fmt.Printf("  throughput against off: %.2f by default, %.2f with hashed names, %.2f where each request waits for its line (%v added at the median)\n",
		ratio(ts[1], ts[0]), ratio(ts[2], ts[0]), ratio(ts[3], ts[0]), (median(ts[3].p50s) - median(ts[0].p50s)).Round(10*time.Microsecond))
	return nil
}
