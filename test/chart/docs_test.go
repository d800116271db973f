//go:build real

package charttest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocs renders every piece of values in docs/kubernetes.md, alone where it is
// whole, else over the set minimal, and has the program check what comes of it.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile(root + "/docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		piece := m[1]
		if strings.Contains(piece, "…") || strings.HasPrefix(piece, "# Chart.yaml") {
			continue // of the application's chart, which testdata/consumer is whole
		}
		tried++
		values := piece
		if !strings.Contains(piece, "client_id:") {
			values = overlaid(t, "testdata/values/minimal.yaml", piece)
		}
		file := filepath.Join(t.TempDir(), "values.yaml")
		write(t, file, values)
		out, err := template(chart, "--values", file)
		if err != nil {
			t.Errorf("docs/kubernetes.md:\n%s\n%v", piece, err)
			continue
		}
		if _, err := run(nil, absolute(anteroom), "check", "--config", mountConfig(t, objects(t, out))); err != nil {
			t.Errorf("docs/kubernetes.md:\n%s\n%v", piece, err)
		}
	}
	if tried < 5 {
		t.Errorf("%d pieces were tried, want all", tried)
	}
}
