//go:build real

// Package charttest holds the Helm chart against the tools that take it in: Helm
// itself, kubeconform, kube-score, the program that reads its configuration, and a
// kube-apiserver with its etcd on loopback. What it needs is there after
// test/setup. With -update it writes anew what is made: golden files, the chart's
// README, descriptions in its schema, copies of rules and dashboards, and the
// schemas of Kubernetes' own kinds.
package charttest

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write anew what is made from the chart")

// Where things are, from this folder.
const (
	root     = "../.."
	chart    = root + "/charts/anteroom"
	anteroom = root + "/.cache/chart/anteroom"
)

// What everything is rendered as.
const (
	release      = "anteroom"
	namespace    = "web"
	bundledRedis = release + "-anteroom-redis"
)

// TestMain builds the program that reads what the chart renders.
func TestMain(m *testing.M) {
	flag.Parse()
	if out, err := exec.Command("go", "-C", root, "build", "-o", ".cache/chart/anteroom", ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building anteroom: %v\n%s", err, out)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// tool is a program that test/setup has built.
func tool(name string) string { return absolute(filepath.Join(root, ".cache/bin", name)) }

func absolute(path string) string {
	p, err := filepath.Abs(path)
	if err != nil {
		panic(err)
	}
	return p
}

// run runs a program without the caller's cluster or configuration, and returns what
// it printed, both on its output and in the error if it failed.
func run(stdin io.Reader, argv ...string) (string, error) {
	var out, complaints bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "KUBECONFIG=" + os.DevNull}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &complaints
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s%s", filepath.Base(argv[0]), err, out.String(), complaints.String())
	}
	return out.String(), nil
}

func mustRun(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := run(nil, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// template renders a chart as "helm template" does.
func template(chart string, flags ...string) (string, error) {
	return run(nil, append([]string{tool("helm"), "template", release, chart, "--namespace", namespace}, flags...)...)
}

// set is one set of values of testdata/values.
type set struct{ name, file string }

func valueSets(t *testing.T) []set {
	t.Helper()
	files, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d sets of values (%v), want ten at least", len(files), err)
	}
	var sets []set
	for _, f := range files {
		sets = append(sets, set{strings.TrimSuffix(filepath.Base(f), ".yaml"), f})
	}
	return sets
}

// eachSet runs a test with every rendered set, and with the example of an
// application that has Anteroom as a sidecar.
func eachSet(t *testing.T, f func(t *testing.T, name, rendered string)) {
	for _, s := range valueSets(t) {
		t.Run(s.name, func(t *testing.T) {
			out, err := template(chart, "--values", s.file)
			if err != nil {
				t.Fatal(err)
			}
			f(t, s.name, out)
		})
	}
	t.Run("consumer", func(t *testing.T) {
		out, err := template(consumer(t))
		if err != nil {
			t.Fatal(err)
		}
		f(t, "consumer", out)
	})
}

// consumer is a copy of the example application's chart with ours below it, as "helm
// dependency build" would put it there.
func consumer(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "consumer")
	for from, to := range map[string]string{"testdata/consumer": dir, chart: filepath.Join(dir, "charts/anteroom")} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// object is a Kubernetes object, as far as tests look into it.
type object map[string]any

func (o object) kind() string { return text(o["kind"]) }
func (o object) name() string { return text(o.at("metadata", "name")) }

// at is what stands at a path of keys, or nil.
func (o object) at(path ...string) any {
	var v any = map[string]any(o)
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// objects reads rendered documents.
func objects(t *testing.T, rendered string) []object {
	t.Helper()
	var list []object
	for dec := yaml.NewDecoder(strings.NewReader(rendered)); ; {
		var o map[string]any // not object: maps within would be of the same type
		err := dec.Decode(&o)
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatalf("reading what was rendered: %v", err)
		}
		if len(o) > 0 {
			list = append(list, o)
		}
	}
}

// find is the one object of a kind and name.
func find(t *testing.T, list []object, kind, name string) object {
	t.Helper()
	for _, o := range list {
		if o.kind() == kind && o.name() == name {
			return o
		}
	}
	t.Fatalf("no %s %s was rendered", kind, name)
	return nil
}

// hold compares a file with what it should be, or writes it with -update.
func hold(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (make chart ARGS=-update writes it)", err)
	}
	if diff := difference(string(got), want); diff != "" {
		t.Errorf("%s is out of date (make chart ARGS=-update writes it); - is what it says, + what is made:\n%s", file, diff)
	}
}
