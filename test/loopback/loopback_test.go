package loopback

import "testing"

func TestPort(t *testing.T) {
	seen := map[string]bool{}
	for range 500 { // of 12,000: without claims one comes twice in all but 1 of 30,000 runs
		port := Port(t)
		if seen[port] {
			t.Fatalf("port %s was given twice", port)
		}
		seen[port] = true
	}
}
