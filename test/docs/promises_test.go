package docs

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	heldBy   = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(\w+ \*testing\.[TF]\)`)
)

// TestPromisesAreHeld: each promise of docs/security.md names tests that hold it,
// and each of those is in the tree.
func TestPromisesAreHeld(t *testing.T) {
	there := map[string]bool{}
	err := fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && p != "." || d.Name() == "node_modules"):
			return fs.SkipDir
		case strings.HasSuffix(p, "_test.go"):
			for _, m := range testFunc.FindAllStringSubmatch(read(t, p), -1) {
				there[m[1]] = true
			}
		}
		return nil
	})
	if err != nil || len(there) < 500 {
		t.Fatalf("%d tests found, %v, want 500 or more", len(there), err)
	}
	_, table, found := strings.Cut(read(t, "docs/security.md"), "\n| promise | held by |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(strings.TrimSpace(table), "\n")
	if !found || len(rows) < 15 {
		t.Fatalf("docs/security.md has %d promises in its table, want 15 or more", len(rows))
	}
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "|"), "|")
		if len(cells) != 2 {
			t.Errorf("%s: %d cells, want 2", row, len(cells))
			continue
		}
		names := heldBy.FindAllStringSubmatch(cells[1], -1)
		if len(names) == 0 || strings.Count(cells[1], "`") != 2*len(names) {
			t.Errorf("%s: the promise names no test, or something else", row)
		}
		for _, m := range names {
			if !there[m[1]] {
				t.Errorf("%s: there is no %s", strings.TrimSpace(cells[0]), m[1])
			}
		}
	}
}
