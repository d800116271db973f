//go:build real

package charttest

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// valuesBegin is the line of the chart's README below which it is made.
const valuesBegin = "<!-- Below this line, make chart ARGS=-update writes what values.yaml says. -->\n"

// TestReadme holds the table of values in the chart's README against values.yaml.
func TestReadme(t *testing.T) {
	const file = chart + "/README.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(data), valuesBegin)
	if !ok {
		t.Fatalf("%s lacks the line %q", file, valuesBegin)
	}
	hold(t, file, head+valuesBegin+"\n"+table(t))
}

func table(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| value | default | what it is |\n|---|---|---|\n")
	cell := strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;")
	for _, v := range values(t) {
		def := ""
		if v.def != "" {
			def = "`" + v.def + "`"
		}
		if v.def == "" && v.comment == "" {
			continue // a section that its values explain
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.path, cell.Replace(def), cell.Replace(v.comment))
	}
	return b.String()
}
