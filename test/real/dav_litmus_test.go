//go:build real

package realtest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLitmus runs the litmus suites against a server and against the same kind
// of server through Anteroom: each named test has to come out the same.
func TestLitmus(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *davServer{"sabre": startSabre, "apache": startApache} {
		t.Run(name, func(t *testing.T) {
			outcomes := map[string]map[string]string{}
			bothWays(t, start, func(t *testing.T, _ *davServer, at wayToDAV) { outcomes[at.name] = litmus(t, at) })
			if outcomes["direct"] == nil || outcomes["through"] == nil {
				t.FailNow() // what came of it is said above
			}
			compareLitmus(t, outcomes["direct"], outcomes["through"])
		})
	}
}

// litmusSuites, and how many tests each has to run at least: litmus is silent
// about those it never came to.
var litmusSuites = map[string]int{"basic": 16, "copymove": 13, "props": 14, "locks": 30, "http": 4}

var litmusLine = regexp.MustCompile(`^ *\d+\. (\w+)\.+ (pass|FAIL|SKIPPED|WARNING)`)

// litmus is the outcome of every test, by suite/name.
func litmus(t *testing.T, at wayToDAV) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, suite := range slices.Sorted(maps.Keys(litmusSuites)) {
		out, err := client(t, time.Minute, command{dir: t.TempDir(), env: []string{"TESTS=" + suite},
			argv: []string{"litmus", "-k", at.origin + at.homes.files + "/", at.user, at.secret}}, "")
		if err != nil {
			t.Errorf("litmus %s: %v", suite, err)
		}
		ran := 0
		for line := range strings.SplitSeq(strings.ReplaceAll(out, "\r", "\n"), "\n") {
			if m := litmusLine.FindStringSubmatch(line); m != nil {
				ran++
				name := suite + "/" + m[1]
				for n := 2; found[name] != ""; n++ { // some are run more than once
					name = fmt.Sprintf("%s/%s (%d)", suite, m[1], n)
				}
				found[name] = m[2]
			}
		}
		if ran < litmusSuites[suite] {
			t.Errorf("litmus %s ran %d tests, want %d at least:\n%s", suite, ran, litmusSuites[suite], lastOf(out, 30))
		}
	}
	return found
}

func compareLitmus(t *testing.T, direct, through map[string]string) {
	t.Helper()
	passed := 0
	for name, want := range direct {
		if got := through[name]; got != want {
			t.Errorf("litmus %s through Anteroom = %q, directly %q", name, got, want)
		} else if got == "pass" {
			passed++
		}
	}
	for name, got := range through {
		if _, ok := direct[name]; !ok {
			t.Errorf("litmus %s through Anteroom = %q, directly it was not run", name, got)
		}
	}
	t.Logf("litmus: %d tests, %d pass both ways", len(direct), passed)
}
