package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHelp: each command says what it is, on the output, whatever else is wrong.
func TestHelp(t *testing.T) {
	lines := []string{"--help", "help", "-h", "--config absent.yaml --help"}
	for _, i := range invocations() {
		lines = append(lines, i.path+" --help", "help "+i.path, "--config absent.yaml "+i.path+" -h")
	}
	for _, c := range commands() {
		lines = append(lines, c.name+" --help")
	}
	for _, line := range lines {
		out, said, err := typed(line)
		if !errors.Is(err, flag.ErrHelp) || said != "" || !strings.Contains(out, "Usage: anteroom") {
			t.Errorf("anteroom %s = %v, printed %q, said %q; want help on the output", line, err, out, said)
		}
		for _, l := range strings.Split(out, "\n") {
			if len([]rune(l)) > 104 {
				t.Errorf("anteroom %s has a line of %d characters: %s", line, len(l), l)
			}
		}
	}
}

// TestHelpNamesEveryFlag: the table's arguments name no flag that is not there,
// and help shows each with its own words.
func TestHelpNamesEveryFlag(t *testing.T) {
	for _, i := range invocations() {
		out, _, _ := typed(i.path + " --help")
		var names []string
		for _, f := range i.flagsOf() {
			names = append(names, "--"+f.Name)
			if !strings.Contains(out, "\n  --"+f.Name) {
				t.Errorf("help of %s does not show --%s:\n%s", i.path, f.Name, out)
			}
		}
		for _, word := range strings.Fields(i.args) {
			if word = strings.Trim(word, "[]."); strings.HasPrefix(word, "--") && !slices.Contains(names, word) {
				t.Errorf("the table says %s %s, which takes %v", i.path, word, names)
			}
		}
	}
}

func TestWrongCommands(t *testing.T) {
	for line, want := range map[string]string{
		"srve":                 `no command "srve"; did you mean serve?`,
		"chekc":                `no command "chekc"; did you mean check?`,
		"frobnicate":           "anteroom --help lists them",
		"--bogus":              "serve: flag provided but not defined: -bogus (see anteroom serve --help)",
		"keys rotate /nowhere": "rotating keys of /nowhere: no such file",
		"clients new":          "anteroom clients new NAME [--group GROUP]",
		"keys":                 "anteroom keys new [--jwt",
		"keys burn":            "anteroom keys rotate [--force] FILE",
		"keys rotate":          "name one file",
		"keys rotate a b":      "name one file",
		"keys new --jwt HS1":   "HS1",
		"clients new a b":      `"b"`,
		"check --nothing":      "see anteroom check --help",
		"check extra":          `"extra"`,
		"version now":          `"now"`,
		"completion":           "bash, zsh or fish",
		"completion tcsh":      "bash, zsh or fish",
		"man page":             `no page "page"`,
		"audit find":           "name one path",
		"demo --provider ldap": "say oidc or nextcloud",
	} {
		if out, said, err := typed(line); err == nil || errors.Is(err, flag.ErrHelp) || !strings.Contains(said+err.Error(), want) || strings.HasPrefix(err.Error(), "anteroom") || out != "" {
			t.Errorf("anteroom %s = %v, said %q, printed %q; want a failure that says %q", line, err, said, out, want)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, line := range []string{"version", "--version"} {
		if out, _, err := typed(line); err != nil || !strings.HasPrefix(out, "anteroom ") {
			t.Errorf("anteroom %s = %q, %v", line, out, err)
		}
	}
}

// TestExitCodes: a service manager can tell what a restart does not mend.
func TestExitCodes(t *testing.T) {
	for line, want := range map[string]int{
		"serve":                      78,
		"serve --config absent.yaml": 78,
		"check":                      1,
		"nothing":                    1,
	} {
		if _, _, err := typed(line); exitCode(err) != want {
			t.Errorf("anteroom %s exits with %d (%v), want %d", line, exitCode(err), err, want)
		}
	}
}

// TestBashCompletion asks a real bash what it offers.
func TestBashCompletion(t *testing.T) {
	script, _, err := typed("completion bash")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "some.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range commands() {
		all = append(all, c.name)
	}
	for _, tt := range []struct {
		line string // the last word is completed
		want []string
	}{
		{"anteroom ", append(all, "--config", "--help", "--version")},
		{"anteroom se", []string{"serve", "sessions"}},
		{"anteroom --config some.yaml se", []string{"serve", "sessions"}},
		{"anteroom --config = some.yaml se", []string{"serve", "sessions"}}, // as bash splits --config=some.yaml
		{"anteroom sessions ", []string{"list", "revoke", "--help"}},
		{"anteroom sessions revoke --", []string{"--all", "--config", "--id", "--user", "--yes", "--help"}},
		{"anteroom sessions revoke --user list --a", []string{"--all"}},
		{"anteroom explain GET /notes --us", []string{"--user"}},
		{"anteroom connect ", []string{"rotate", "--config", "--force", "--to", "--user", "--help"}},
		{"anteroom check --config s", []string{"some.yaml"}},
		{"anteroom check --config = s", []string{"some.yaml"}},
		{"anteroom audit verify s", []string{"some.yaml"}},
		{"anteroom keys rotate ", []string{"some.yaml"}},
		{"anteroom demo --provider n", []string{"nextcloud"}},
		{"anteroom keys new --jwt ", []string{"ES256", "EdDSA", "RS256"}},
		{"anteroom completion ", []string{"bash", "zsh", "fish", "--help"}},
		{"anteroom version --c", nil},
	} {
		words := strings.Split(tt.line, " ")
		cmd := exec.Command("bash", append([]string{"--norc", "-uc", script + `
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _anteroom; printf '%s\n' "${COMPREPLY[@]}"`, "bash"}, words...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("completing %q: %v\n%s", tt.line, err, out)
		}
		if diff := cmp.Diff(tt.want, strings.Fields(string(out))); diff != "" && len(tt.want)+len(strings.Fields(string(out))) > 0 {
			t.Errorf("completing %q (-want +got):\n%s", tt.line, diff)
		}
	}
}

// TestManualNamesEverything: no command, flag or key is left out, and nothing
// in a text is taken for a request of roff.
func TestManualNamesEverything(t *testing.T) {
	commandsPage, _, err := typed("man")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range invocations() {
		if !strings.Contains(commandsPage, ".SS anteroom "+roffInline(i.path)) {
			t.Errorf("the manual has no section for %s", i.path)
		}
		for _, f := range i.flagsOf() {
			if !strings.Contains(commandsPage, `\fB\-\-`+roffInline(f.Name)) {
				t.Errorf("the manual lacks --%s of %s", f.Name, i.path)
			}
		}
	}
	configPage, _, err := typed("man config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range configReference() {
		if !strings.Contains(configPage, `\fB`+roffInline(k.Path)+`\fR`) || k.Env != "" && !strings.Contains(configPage, roffInline(k.Env)) {
			t.Errorf("the manual lacks %s", k.Path)
		}
	}
	requests := []string{".TH", ".ad", ".nh", ".SH", ".SS", ".TP", ".PP", ".RS", ".RE", ".nf", ".fi"}
	for n, line := range strings.Split(commandsPage+configPage, "\n") {
		if word, _, _ := strings.Cut(line, " "); (strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'")) && !slices.Contains(requests, word) {
			t.Errorf("line %d would be taken for a request: %s", n+1, line)
		}
	}
}

// typed runs one line with nothing in the environment.
func typed(line string) (out, said string, err error) {
	var o, e bytes.Buffer
	err = run(context.Background(), strings.Fields(line), system{Out: &o, Err: &e})
	return o.String(), e.String(), err
}
