package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var updateReference = flag.Bool("update-reference", false, "write docs/configuration.md anew")

// TestReferenceIsUpToDate: docs/configuration.md says what the structs say. Make
// it anew with: go test -run TestReferenceIsUpToDate -update-reference .
func TestReferenceIsUpToDate(t *testing.T) {
	example, err := os.ReadFile("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := reference(configReference(), string(example))
	if *updateReference {
		if err := os.WriteFile("docs/configuration.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/configuration.md is not what the program has; run go test -run TestReferenceIsUpToDate -update-reference . (-want +got):\n%s", diff)
	}
}

const referenceHead = `# Configuration reference

Made from the program itself; do not edit. [config.yaml](../config.yaml) has the
same keys in the order in which one decides things, with examples.

Anteroom reads ` + "`config.yaml`" + ` in its working directory, or the file of ` + "`--config`" + `
or ` + "`ANTEROOM_CONFIG`" + `. A variable beats the file; of two variables for one key
the ` + "`ANTEROOM_`" + ` one does. An empty variable counts as unset. A key that is not
known is a fault, in the file and in the environment. A ` + "`NEXTCLOUD_`" + ` variable that
is not below is Nextcloud's own and passed over, unless it is nearly one that is.

- **Lists** in a variable are separated by commas; lists of mappings (` + "`routes`" + `,
  ` + "`clients`" + `) are YAML there, too. **Durations** are written ` + "`90s`" + `, ` + "`30m`" + `, ` + "`12h`" + `.
- **Secrets** (marked so) can be in a file: ` + "`client_secret_file`" + ` beside
  ` + "`client_secret`" + `, and the variable with ` + "`_FILE`" + ` at its end. A changed file is
  taken up while the program runs, but for the few that [rotation.md](rotation.md) names.
- ` + "`anteroom check`" + ` says all that is wrong, with line, key and remedy, and
  ` + "`anteroom check --print-config`" + ` what is in force.

`

// reference is the page: a section for each of the configuration's, with the
// words that config.yaml has for it.
func reference(keys []Key, example string) string {
	var b strings.Builder
	b.WriteString(referenceHead)
	at := ""
	for _, k := range keys {
		if section := strings.FieldsFunc(k.Path, func(r rune) bool { return r == '.' || r == '[' })[0]; section != at {
			if at != "" {
				b.WriteString("\n")
			}
			at = section
			fmt.Fprintf(&b, "## %s\n\n%s| key | variable | default | what it is |\n| --- | --- | --- | --- |\n", section, aboutSection(section, example))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Path, variablesOf(k), defaultOf(k), meaningOf(k))
	}
	return b.String()
}

// aboutSection is the comment that config.yaml has before a section, without its
// number.
func aboutSection(section, example string) string {
	m := regexp.MustCompile(`(?m)((?:^# .*\n)+)^#?` + section + `:`).FindStringSubmatch(example)
	if m == nil {
		return ""
	}
	text := regexp.MustCompile(`(?m)^# (\d+\. )?`).ReplaceAllString(m[1], "")
	return text + "\n"
}

func variablesOf(k Key) string {
	names := []string{k.Guide, k.Env}
	for i, n := range names {
		if n != "" {
			names[i] = "`" + n + "`"
		}
	}
	return strings.Join(slices.DeleteFunc(names, func(n string) bool { return n == "" }), ", ")
}

func defaultOf(k Key) string {
	if k.Default == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(k.Default, "|", `\|`) + "`"
}

func meaningOf(k Key) string {
	text := strings.ReplaceAll(k.Doc, "|", `\|`)
	if len(k.OneOf) > 0 {
		text += " (one of: " + strings.Join(k.OneOf, ", ") + ")"
	}
	if k.Secret {
		text = "*Secret.* " + text
	}
	return strings.ReplaceAll(text, "<", "&lt;")
}
