package proxy

import (
	"fmt"
	"strings"
	"testing"
)

func TestDevices(t *testing.T) {
	asked := 0
	d := devices{name: func(agent string) string {
		if agent == "" || strings.HasPrefix(agent, "odd") {
			return "Unknown device"
		}
		asked++
		return "Browser of " + agent[:1]
	}}
	for range 3 {
		for agent, want := range map[string]string{"a/1": "Browser of a", "b/1": "Browser of b", "": "", "odd": "", "AppleCoreMedia/1.0.0 (iPhone)": "", strings.Repeat("a", longestAgent+1): ""} {
			if got := d.of(agent); got != want {
				t.Errorf("of(%.40q) = %q, want %q", agent, got, want)
			}
		}
	}
	if asked != 2 {
		t.Errorf("two agents were read %d times, want once each", asked)
	}
	for i := range 5 * mostAgents {
		d.of(fmt.Sprint("c/", i))
		if len(d.known) > mostAgents {
			t.Fatalf("%d agents are remembered, want %d at most", len(d.known), mostAgents)
		}
	}
}
