package redistest

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentedRules: the rules the suites prove are those that people read.
func TestDocumentedRules(t *testing.T) {
	b, err := os.ReadFile("../../docs/sessions.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, rules := range []string{ACL, ACLOfCluster} {
		if !strings.Contains(string(b), rules) {
			t.Errorf("docs/sessions.md does not say %q", rules)
		}
	}
}
