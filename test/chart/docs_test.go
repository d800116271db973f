//go:build real

package charttest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
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

// TestRecipeForRedis runs the recipe of docs/kubernetes.md for the bundled Redis'
// Secret: its users are those of the Secret that the chart would make.
func TestRecipeForRedis(t *testing.T) {
	page, err := os.ReadFile(root + "/docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	recipe := regexp.MustCompile("(?s)```sh\n([^`]*users\\.acl <<END\n[^`]*)```").FindStringSubmatch(string(page))
	if recipe == nil {
		t.Fatal("docs/kubernetes.md has no recipe for users.acl")
	}
	script := "set -euo pipefail\ncd " + t.TempDir() + "\nkubectl() { " + tool("kubectl") + " \"$@\" --dry-run=client --output yaml; }\n" + recipe[1]
	out, err := run(nil, "/bin/bash", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	var secret struct {
		Metadata struct{ Name string }
		Data     map[string]string
	}
	if err := yaml.Unmarshal([]byte(out), &secret); err != nil {
		t.Fatal(err)
	}
	password, acl := decoded(t, secret.Data["password"]), decoded(t, secret.Data["users.acl"])
	if len(password) < 40 || strings.TrimSpace(password) != password {
		t.Errorf("the password is %q, want 40 characters and no line's end", password)
	}

	rendered, err := template(chart, "--values", "testdata/values/production.yaml")
	if err != nil {
		t.Fatal(err)
	}
	list := objects(t, rendered)
	made := secretText(t, list, bundledRedis, "password", "")
	want := strings.ReplaceAll(secretText(t, list, bundledRedis, "users.acl", ""), digest(made), digest(password))
	if acl != want {
		t.Errorf("users.acl by the recipe and by the chart: %s", difference(acl, want))
	}
	if !strings.Contains(string(page), "existingSecret: "+secret.Metadata.Name+"\n") {
		t.Errorf("the recipe makes %s, and redis.existingSecret names another", secret.Metadata.Name)
	}
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func decoded(t *testing.T, s string) string {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRendersAlike has two renderings that cannot see what is there be the same, with
// what docs/kubernetes.md names for tools that install so.
func TestRendersAlike(t *testing.T) {
	page, err := os.ReadFile(root + "/docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	piece := regexp.MustCompile("(?s)```yaml\n([^`]*existingSecret:[^`]*)```").FindStringSubmatch(string(page))
	if piece == nil {
		t.Fatal("docs/kubernetes.md has no values with redis.existingSecret")
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	write(t, file, overlaid(t, "testdata/values/minimal.yaml", piece[1]))
	var first string
	for i := range 2 {
		out, err := template(chart, "--values", file)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = out
		} else if diff := difference(first, out); diff != "" {
			t.Errorf("a second rendering differs: %s", diff)
		}
	}
}
