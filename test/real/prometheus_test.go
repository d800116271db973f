//go:build real

package realtest

import (
	"os/exec"
	"testing"
)

// TestPrometheusRules: Prometheus' own tool takes the alert rules, and finds
// that they fire when they should and not else.
func TestPrometheusRules(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "anteroom.rules.yaml"}, {"test", "rules", "anteroom.rules.test.yaml"}} {
		c := exec.Command("promtool", args...)
		c.Dir = root + "/deploy/prometheus"
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("promtool %v = %v\n%s", args, err, out)
		}
	}
}
