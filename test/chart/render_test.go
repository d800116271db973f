//go:build real

package charttest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// difference compares texts line by line; "" is none.
func difference(got, want string) string {
	return cmp.Diff(strings.Split(got, "\n"), strings.Split(want, "\n"))
}

func TestLint(t *testing.T) {
	for _, s := range valueSets(t) {
		t.Run(s.name, func(t *testing.T) {
			out, err := run(nil, tool("helm"), "lint", "--strict", chart, "--values", s.file, "--namespace", namespace)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out, "[WARNING]") || strings.Contains(out, "[ERROR]") {
				t.Errorf("helm lint says:\n%s", out)
			}
		})
	}
}

// made finds what the chart draws anew at each rendering.
var made = regexp.MustCompile(`(?m)^  (session-keys|jwt-keys|audit-key|password|users\.acl): [A-Za-z0-9+/=]+$`)

// copied finds what TestCopies holds: rules and dashboards.
var copied = regexp.MustCompile(`(?ms)^  # Alert rules for Prometheus.*?^---$|^  [a-z-]+\.json: \|\n(    .*?\n)+`)

func TestGolden(t *testing.T) {
	eachSet(t, func(t *testing.T, name, rendered string) {
		golden := copied.ReplaceAllString(made.ReplaceAllString(rendered, "  $1: <made>"), "  <copied>\n---\n")
		hold(t, filepath.Join("testdata/golden", name+".yaml"), golden)
	})
}

// TestSecretsAreDrawnAnew keeps the golden files from hiding a constant.
func TestSecretsAreDrawnAnew(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		out, err := template(chart, "--values", "testdata/values/production.yaml")
		if err != nil {
			t.Fatal(err)
		}
		drawn := made.FindAllString(out, -1)
		if len(drawn) != 4 {
			t.Fatalf("%d secrets were made, want session-keys, jwt-keys, password and users.acl", len(drawn))
		}
		for _, d := range drawn {
			if seen[d] {
				t.Errorf("%.20s… was made twice", d)
			}
			seen[d] = true
		}
	}
}

// TestKubeconform holds every object against the schemas of testdata/schemas, which
// TestCluster makes from the apiserver's own.
func TestKubeconform(t *testing.T) {
	eachSet(t, func(t *testing.T, _, rendered string) {
		out, err := conform(rendered)
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(out, "Errors: 0, Skipped: 0") {
			t.Errorf("kubeconform says %s; want nothing skipped", out)
		}
	})
}

func conform(manifest string) (string, error) {
	return run(strings.NewReader(manifest), tool("kubeconform"), "-strict", "-summary", "-schema-location",
		absolute("testdata/schemas")+"/{{ .ResourceKind }}{{ .KindSuffix }}.json")
}

func TestKubeconformSeesFaults(t *testing.T) {
	out, err := template(chart, "--values", "testdata/values/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, from, to string }{
		{"an unknown field", "enableServiceLinks: false", "enableServiceLink: false"},
		{"a wrong type", "replicas: 1", "replicas: one"},
	} {
		broken := strings.Replace(out, c.from, c.to, 1)
		if broken == out {
			t.Fatalf("%s: %q was not rendered", c.what, c.from)
		}
		if _, err := conform(broken); err == nil {
			t.Errorf("kubeconform passes %s over", c.what)
		}
	}
}

// answered are what kube-score says and is not followed, each with the reason; in one
// set of values, or in all.
var answered = []struct{ set, says, why string }{
	{"", "does not have a matching egress NetworkPolicy", "where Nextcloud is, the chart cannot know: networkPolicy.egress bounds it for whoever says so"},
	{"", "Deployment few replicas", "one pod is all that sessions in memory allow"},
	{"", "does not have a host podAntiAffinity set", "topologySpreadConstraints spread pods, and take no pod's place away"},
	{"", "CPU limit is not set", "it would stop everybody's requests for parts of each 100 ms; memory is limited"},
	{"", "ImagePullPolicy is not set to Always", "tags are of releases and do not move; with Always, a start needs the registry"},
	{"everything", "does not have a matching NetworkPolicy", "networkPolicy.enabled is false there"},
	{"sidecar", "services selector does not match any pods", "the pods are the application's; the set consumer has them"},
	{"production", "anteroom-app/web networking.k8s.io/v1/NetworkPolicy: The NetworkPolicys selector doesn't match any pods", "the pods are the application's"},
	{"sidecar", "NetworkPolicys selector doesn't match any pods", "the same"},
}

func TestKubeScore(t *testing.T) {
	eachSet(t, func(t *testing.T, name, rendered string) {
		out, err := run(strings.NewReader(rendered), tool("kube-score"), "score", "--output-format", "ci", "--kubernetes-version", "v1.30", "-")
		if !strings.Contains(out, "[OK]") {
			t.Fatalf("kube-score has looked at nothing: %v", err)
		}
		for line := range strings.Lines(out) {
			if (strings.HasPrefix(line, "[CRITICAL]") || strings.HasPrefix(line, "[WARNING]")) && !isAnswered(name, line) {
				t.Error(line)
			}
		}
	})
}

func isAnswered(set, line string) bool {
	for _, a := range answered {
		if strings.Contains(line, a.says) && (a.set == "" || a.set == set) {
			return true
		}
	}
	return false
}

// TestPods holds every pod against what Anteroom promises of it beyond Pod Security.
func TestPods(t *testing.T) {
	eachSet(t, func(t *testing.T, _, rendered string) {
		seen := 0
		for _, o := range objects(t, rendered) {
			spec, where := podSpec(o)
			if spec == nil {
				continue
			}
			seen++
			if spec["automountServiceAccountToken"] != false {
				t.Errorf("%s: its pods hold a token for Kubernetes", where)
			}
			for _, c := range spec["containers"].([]any) {
				checkContainer(t, where, object(c.(map[string]any)))
			}
		}
		if seen == 0 {
			t.Error("nothing runs pods")
		}
	})
}

func podSpec(o object) (spec map[string]any, where string) {
	path := []string{"spec", "template", "spec"}
	if o.kind() == "Pod" {
		path = []string{"spec"}
	}
	spec, _ = o.at(path...).(map[string]any)
	if _, ok := spec["containers"]; !ok {
		return nil, ""
	}
	return spec, o.kind() + " " + o.name()
}

func checkContainer(t *testing.T, where string, c object) {
	t.Helper()
	for _, want := range []struct {
		path []string
		is   any
	}{
		{[]string{"securityContext", "runAsNonRoot"}, true},
		{[]string{"securityContext", "readOnlyRootFilesystem"}, true},
		{[]string{"securityContext", "allowPrivilegeEscalation"}, false},
	} {
		if got := c.at(want.path...); got != want.is {
			t.Errorf("%s, container %v: %s is %v, want %v", where, c["name"], strings.Join(want.path, "."), got, want.is)
		}
	}
	if diff := cmp.Diff(c.at("securityContext", "capabilities"), any(map[string]any{"drop": []any{"ALL"}})); diff != "" {
		t.Errorf("%s, container %v: capabilities: %s", where, c["name"], diff)
	}
	if c.at("resources", "limits", "memory") == nil || c.at("resources", "limits", "ephemeral-storage") == nil {
		t.Errorf("%s, container %v: memory or storage is unlimited", where, c["name"])
	}
}

// TestCopies holds the chart's copies of what is elsewhere in the tree equal to it: a
// chart has to be whole by itself.
func TestCopies(t *testing.T) {
	copies := map[string]string{chart + "/files/anteroom.rules.yaml": root + "/deploy/prometheus/anteroom.rules.yaml"}
	for _, pair := range [][2]string{{root + "/deploy/grafana/", chart + "/dashboards/"}, {chart + "/dashboards/", root + "/deploy/grafana/"}} {
		files, err := filepath.Glob(pair[0] + "*.json")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			copies[chart+"/dashboards/"+filepath.Base(f)] = root + "/deploy/grafana/" + filepath.Base(f)
		}
	}
	for there, original := range copies {
		want, err := os.ReadFile(original)
		if err != nil {
			t.Errorf("%s is a copy of nothing: %v", there, err)
			continue
		}
		hold(t, there, string(want))
	}
}
