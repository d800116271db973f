//go:build real

//lint:file-ignore SA1019 the first schema of dashboards is the one that every Grafana imports.

package realtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	grafanaprom "github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"go.yaml.in/yaml/v3"
)

// readDashboard reads the dashboard as Grafana's authors describe dashboards:
// a field that they do not know is an error.
func readDashboard(t *testing.T) *dashboard.Dashboard {
	t.Helper()
	for _, config := range []func(){
		func() { cog.NewRuntime().RegisterPanelcfgVariant(timeseries.VariantConfig()) },
		func() { cog.NewRuntime().RegisterPanelcfgVariant(stat.VariantConfig()) },
		func() { cog.NewRuntime().RegisterPanelcfgVariant(table.VariantConfig()) },
		func() { cog.NewRuntime().RegisterDataqueryVariant(grafanaprom.VariantConfig()) },
	} {
		config()
	}
	text, err := os.ReadFile(root + "/deploy/grafana/anteroom.json")
	if err != nil {
		t.Fatal(err)
	}
	// The strict reader names the faults, in a list that may be empty, and gives
	// nothing else.
	if err := new(dashboard.Dashboard).UnmarshalJSONStrict(text); err != nil && err.Error() != "" {
		t.Fatalf("anteroom.json is no dashboard: %v", err)
	}
	d := &dashboard.Dashboard{}
	if err := json.Unmarshal(text, d); err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil && err.Error() != "" {
		t.Fatalf("anteroom.json is no valid dashboard: %v", err)
	}
	return d
}

// asked is one query of a panel.
type asked struct{ panel, expr, legend string }

// queries are those of all panels. Each panel says what it shows, in which unit,
// at a place of its own, and asks the data source that is chosen.
func queries(t *testing.T, d *dashboard.Dashboard) (all []asked) {
	t.Helper()
	ids, taken := map[uint32]bool{}, map[[2]uint32]string{}
	for _, p := range d.Panels {
		if p.RowPanel != nil {
			continue
		}
		title := *p.Panel.Title
		if p.Panel.Description == nil || len(*p.Panel.Description) < 20 || p.Panel.FieldConfig.Defaults.Unit == nil && p.Panel.Type != "table" {
			t.Errorf("%s has no description or no unit", title)
		}
		if ids[*p.Panel.Id] {
			t.Errorf("%s has the id of another panel", title)
		}
		ids[*p.Panel.Id] = true
		for x := p.Panel.GridPos.X; x < p.Panel.GridPos.X+p.Panel.GridPos.W; x++ {
			for y := p.Panel.GridPos.Y; y < p.Panel.GridPos.Y+p.Panel.GridPos.H; y++ {
				if other := taken[[2]uint32{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s lies over %q, or beside the dashboard", title, other)
				}
				taken[[2]uint32{x, y}] = title
			}
		}
		for _, target := range p.Panel.Targets {
			q, ok := target.(*grafanaprom.Dataquery)
			if !ok {
				if v, is := target.(grafanaprom.Dataquery); is {
					q = &v
				} else {
					t.Fatalf("%s asks with %T, want a query of Prometheus", title, target)
				}
			}
			if *p.Panel.Datasource.Uid != "${datasource}" || *q.Datasource.Uid != "${datasource}" {
				t.Errorf("%s asks a data source of its own", title)
			}
			legend := ""
			if q.LegendFormat != nil {
				legend = *q.LegendFormat
			}
			all = append(all, asked{title, q.Expr, legend})
		}
	}
	return all
}

// filled is an expression as Grafana sends it, for everything that is scraped.
func filled(expr string) string {
	return strings.NewReplacer("$job", "anteroom", "$instance", ".*", "$__rate_interval", "20s").Replace(expr)
}

var legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)

// answered is an error unless a query has an answer with a number, and the labels
// that its legend shows.
func (p *prometheus) answered(q asked) error {
	all, err := p.query(filled(q.expr))
	if err != nil {
		return fmt.Errorf("%s: %w", q.panel, err)
	}
	if !slices.ContainsFunc(all, promSample.number) {
		return fmt.Errorf("%s: no data for %s", q.panel, q.expr)
	}
	for _, l := range legendLabel.FindAllStringSubmatch(q.legend, -1) {
		if all[0].Metric[l[1]] == "" {
			return fmt.Errorf("%s: the legend shows %s, which %v has not", q.panel, l[1], all[0].Metric)
		}
	}
	return nil
}

// TestDashboard: Grafana's own schema takes the dashboard; a real Prometheus that
// scrapes an Anteroom at work answers each of its queries with data, and the alert
// rules evaluate there; each metric is in docs/monitoring.md, as it is.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	if *d.Uid != "anteroom" || d.Id != nil {
		t.Errorf("uid = %q, id = %v, want anteroom and none", *d.Uid, d.Id)
	}
	all := queries(t, d)
	m := startMonitored(t)
	prom := startPrometheus(t, m.targets()...)
	m.whileExercised(t, func() error {
		var missing []error
		for _, q := range all {
			missing = append(missing, prom.answered(q))
		}
		return errors.Join(missing...)
	})
	t.Logf("%d queries of %d panels have data", len(all), len(d.Panels))
	t.Run("variables", func(t *testing.T) { testVariables(t, d, prom) })
	t.Run("rules", func(t *testing.T) { testRulesLive(t, prom) })
	t.Run("reference", func(t *testing.T) { testReference(t, m) })
}

// testVariables: the lists to choose from have what is scraped.
func testVariables(t *testing.T, d *dashboard.Dashboard, prom *prometheus) {
	want := map[string]int{"job": 1, "instance": 2}
	form := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	for _, v := range d.Templating.List {
		if v.Type == "datasource" {
			continue
		}
		query := form.FindStringSubmatch(fmt.Sprint(v.Query.Map["query"]))
		if query == nil {
			t.Fatalf("variable %s asks %v", v.Name, v.Query)
		}
		got, err := prom.values(filled(query[1]), query[2])
		if err != nil || len(got) != want[v.Name] {
			t.Errorf("variable %s = %v, %v, want %d", v.Name, got, err, want[v.Name])
		}
		delete(want, v.Name)
	}
	if len(want) > 0 {
		t.Errorf("variables that are missing: %v", want)
	}
}

// testRulesLive: Prometheus has evaluated each rule over the live metrics without
// an error, and every label that one names is there.
func testRulesLive(t *testing.T, prom *prometheus) {
	var live struct {
		Groups []struct {
			Rules []struct {
				Name, Query, Health, LastError string
				State                          string
			}
		}
	}
	until(t, prom.process, "evaluating rules", 30*time.Second, func() error {
		if err := prom.get("rules", nil, &live); err != nil {
			return err
		}
		for _, g := range live.Groups {
			for _, r := range g.Rules {
				if r.Health == "unknown" {
					return fmt.Errorf("%s was not evaluated yet", r.Name)
				}
			}
		}
		return nil
	})
	n, firing := 0, []string{}
	for _, g := range live.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" {
				t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
			}
			if r.State == "firing" {
				firing = append(firing, r.Name)
			}
			knownLabels(t, prom, r.Name, r.Query)
		}
	}
	// the certificate of the test ends within the hour, and somebody guesses passwords
	slices.Sort(firing)
	if want := []string{"AnteroomCertificateEndsToday", "AnteroomSuspicious"}; !slices.Equal(firing, want) {
		t.Errorf("firing = %v, want %v", firing, want)
	}
	t.Logf("%d rules evaluate", n)
}

var (
	metricName   = regexp.MustCompile(`\b(?:(?:anteroom|process|go)_\w+|up)\b`)
	labelMatcher = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"([^"]*)"`)
	groupLabels  = regexp.MustCompile(`\b(?:by|without|on|ignoring) \(([^)]*)\)`)
)

// knownLabels fails the test for a metric or a label that is not there.
func knownLabels(t *testing.T, prom *prometheus, name, expr string) {
	t.Helper()
	labels := map[string]bool{}
	for _, metric := range metricName.FindAllString(labelMatcher.ReplaceAllString(expr, ""), -1) {
		all, err := prom.series(metric)
		if err != nil || len(all) == 0 {
			t.Errorf("%s: no series of %s (%v)", name, metric, err)
		}
		for _, s := range all {
			for l := range s {
				labels[l] = true
			}
		}
	}
	for _, m := range labelMatcher.FindAllStringSubmatch(expr, -1) {
		if !labels[m[1]] {
			t.Errorf("%s: no metric in it has the label %s", name, m[1])
		}
		values := documentedValues(t)[m[1]]
		for value := range strings.SplitSeq(m[2], "|") {
			if !slices.Contains(values, value) {
				t.Errorf("%s: docs/monitoring.md knows no %s=%q", name, m[1], value)
			}
		}
	}
	for _, g := range groupLabels.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(g[1], ", ") {
			if !labels[l] {
				t.Errorf("%s: no metric in it has the label %s", name, l)
			}
		}
	}
}

// described is a metric: as docs/monitoring.md has it, or as /metrics does.
type described struct{ kind, labels, help string }

// testReference: docs/monitoring.md has every metric of ours with its type, its
// labels and what it means, and no other; and every value that a label has.
func testReference(t *testing.T, m *monitored) {
	live, values := liveMetrics(t, m.replicas[0].site, m.secure.site)
	doc := documentedMetrics(t)
	for name, is := range live {
		if doc[name] != is {
			t.Errorf("docs/monitoring.md has %s as %+v, want %+v:\n| `%s` | %s | %s | %s |", name, doc[name], is, name, is.kind, is.labels, is.help)
		}
	}
	for name := range doc {
		if _, ok := live[name]; !ok {
			t.Errorf("docs/monitoring.md has %s, which no /metrics has", name)
		}
	}
	known := documentedValues(t)
	for label, all := range values {
		if known[label] == nil && label != "version" {
			t.Errorf("docs/monitoring.md does not say which values %s has", label)
		}
		for value := range all {
			if !slices.Contains(known[label], value) && !slices.Contains(known[label], "…") && label != "version" {
				t.Errorf("docs/monitoring.md knows no %s=%q", label, value)
			}
		}
	}
}

var (
	helpLine   = regexp.MustCompile(`^# HELP (anteroom_\w+) (.*)$`)
	typeLine   = regexp.MustCompile(`^# TYPE (anteroom_\w+) (\w+)$`)
	sampleLine = regexp.MustCompile(`^(anteroom_\w+)\{(.*)\} `)
)

// liveMetrics are those of some Anterooms together, and the values of their labels.
func liveMetrics(t *testing.T, sites ...*site) (map[string]described, map[string]map[string]bool) {
	t.Helper()
	live, values := map[string]described{}, map[string]map[string]bool{}
	labels := map[string]map[string]bool{}
	for _, s := range sites {
		for line := range strings.SplitSeq(s.metrics(t), "\n") {
			if m := helpLine.FindStringSubmatch(line); m != nil {
				live[m[1]] = described{help: m[2]}
			} else if m := typeLine.FindStringSubmatch(line); m != nil {
				d := live[m[1]]
				d.kind = m[2]
				live[m[1]] = d
			} else if m := sampleLine.FindStringSubmatch(line); m != nil {
				name := familyOf(m[1], live)
				for _, l := range labelMatcher.FindAllStringSubmatch(m[2], -1) {
					if l[1] == "le" {
						continue
					}
					if labels[name] == nil {
						labels[name] = map[string]bool{}
					}
					labels[name][l[1]] = true
					if values[l[1]] == nil {
						values[l[1]] = map[string]bool{}
					}
					values[l[1]][l[2]] = true
				}
			}
		}
	}
	for name, d := range live {
		var quoted []string
		for _, l := range slices.Sorted(maps.Keys(labels[name])) {
			quoted = append(quoted, "`"+l+"`")
		}
		d.labels = strings.Join(quoted, ", ")
		live[name] = d
	}
	return live, values
}

// familyOf is the metric that a series belongs to: of a histogram's, the histogram.
func familyOf(series string, live map[string]described) string {
	for _, end := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(series, end); ok && live[base].kind == "histogram" {
			return base
		}
	}
	return series
}

var metricRow = regexp.MustCompile("(?m)^\\| `(anteroom_\\w+)` \\| (\\w+) \\| (.*?) ?\\| (.*) \\|$")

func documentedMetrics(t *testing.T) map[string]described {
	t.Helper()
	found := map[string]described{}
	for _, m := range metricRow.FindAllStringSubmatch(monitoringDoc(t), -1) {
		found[m[1]] = described{m[2], m[3], m[4]}
	}
	return found
}

var valueRow = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ([^|]*) \\|$")

// documentedValues are the values that docs/monitoring.md says labels have; … for
// those that it leaves to others.
func documentedValues(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, m := range valueRow.FindAllStringSubmatch(monitoringDoc(t), -1) {
		for _, v := range regexp.MustCompile("`([^`]*)`|…").FindAllStringSubmatch(m[2], -1) {
			found[m[1]] = append(found[m[1]], strings.Trim(v[0], "`"))
		}
	}
	return found
}

func monitoringDoc(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(root + "/docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestProvisioning: the examples for Grafana are of the form that it reads, and
// say where anteroom.json goes.
func TestProvisioning(t *testing.T) {
	for file, list := range map[string]string{"dashboards.yaml": "providers", "datasources.yaml": "datasources"} {
		text, err := os.ReadFile(root + "/deploy/grafana/provisioning/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var has map[string]any
		if err := yaml.Unmarshal(text, &has); err != nil || has["apiVersion"] != 1 {
			t.Errorf("%s: %v, apiVersion %v", file, err, has["apiVersion"])
		}
		if all, ok := has[list].([]any); !ok || len(all) != 1 {
			t.Errorf("%s has %v as %s, want one", file, has[list], list)
		}
	}
}
