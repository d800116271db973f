package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// root is the project, seen from here.
const root = "../.."

// programDir is where the program is built to; TestMain makes and removes it.
var programDir string

// built is the program, built once.
var built = sync.OnceValues(func() (string, error) {
	program := filepath.Join(programDir, "anteroom")
	out, err := exec.Command("go", "build", "-o", program, root).CombinedOutput()
	if err != nil {
		os.Stderr.Write(out)
	}
	return program, err
})

func anteroom(t *testing.T) string {
	t.Helper()
	program, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// output is what the program prints, in an environment of its own. Its exit code
// is for those to look at who want it.
func output(t *testing.T, dir string, environ []string, args ...string) (string, error) {
	t.Helper()
	c := exec.Command(anteroom(t), args...)
	c.Dir, c.Env = dir, append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, environ...)
	out, err := c.CombinedOutput()
	return string(out), err
}

// variables are those that the program has, with the _FILE twins of secrets. The
// reference is made from the program, which a test beside it holds.
func variables(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{"ANTEROOM_CONFIG": true}
	for _, line := range strings.Split(read(t, "docs/configuration.md"), "\n") {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `") || len(cells) < 4 {
			continue
		}
		for _, m := range regexp.MustCompile("`([A-Z0-9_]+)`").FindAllStringSubmatch(cells[1], -1) {
			all[m[1]] = true
			if strings.Contains(line, "| *Secret.*") {
				all[m[1]+"_FILE"] = true
			}
		}
	}
	if len(all) < 100 {
		t.Fatalf("the reference names %d variables, want more than 100", len(all))
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
