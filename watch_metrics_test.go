package main

import (
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"anteroom/proxy/watch"
)

// TestPrometheusRules: each metric and rule of ours that the alert rules name
// exists, each rule of watch is in one of them, and each alert has a section in
// docs/monitoring.md, and tests that it fires and that it does not.
func TestPrometheusRules(t *testing.T) {
	text, err := os.ReadFile("deploy/prometheus/anteroom.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Labels      struct{ Severity string }
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	metrics, tested := metricNames(t), testedAlerts(t)
	doc, err := os.ReadFile("docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	var watched []string
	seen := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			names := regexp.MustCompile(`anteroom_\w+`).FindAllString(r.Expr, -1)
			for _, name := range names {
				if !metrics[name] && !metrics[strings.TrimSuffix(name, "_bucket")] {
					t.Errorf("%s looks at %s, which is no metric", r.Alert, name)
				}
			}
			if len(names) == 0 || seen[r.Alert] {
				t.Errorf("%q looks at no metric of ours, or is there twice", r.Alert)
			}
			seen[r.Alert] = true
			if n := tested[r.Alert]; n.fires == 0 || n.silent == 0 {
				t.Errorf("%s has %d tests that it fires and %d that it does not, want both", r.Alert, n.fires, n.silent)
			}
			if !strings.Contains(string(doc), "\n### "+r.Alert+"\n\n*"+r.Labels.Severity) || r.Annotations["runbook_url"] != "docs/monitoring.md#"+strings.ToLower(r.Alert) {
				t.Errorf("%s is not in docs/monitoring.md as %s, or runbook_url is not there: %q", r.Alert, r.Labels.Severity, r.Annotations["runbook_url"])
			}
			for _, m := range regexp.MustCompile(`rule=~"([^"]*)"`).FindAllStringSubmatch(r.Expr, -1) {
				watched = append(watched, strings.Split(m[1], "|")...)
			}
		}
	}
	want := watch.Rules()
	slices.Sort(want)
	slices.Sort(watched)
	if !slices.Equal(watched, want) {
		t.Errorf("rules of watch that are alerted of = %v, want %v", watched, want)
	}
}

// alertTests is how many tests of promtool there are of an alert.
type alertTests struct{ fires, silent int }

func testedAlerts(t *testing.T) map[string]alertTests {
	text, err := os.ReadFile("deploy/prometheus/anteroom.rules.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Checks []struct {
				Alert string `yaml:"alertname"`
				Fires []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	all := map[string]alertTests{}
	for _, one := range file.Tests {
		for _, c := range one.Checks {
			n := all[c.Alert]
			if len(c.Fires) > 0 {
				n.fires++
			} else {
				n.silent++
			}
			all[c.Alert] = n
		}
	}
	return all
}

// TestDashboardMetrics: each metric of ours that the dashboard names exists.
func TestDashboardMetrics(t *testing.T) {
	text, err := os.ReadFile("deploy/grafana/anteroom.json")
	if err != nil {
		t.Fatal(err)
	}
	metrics := metricNames(t)
	named := regexp.MustCompile(`anteroom_\w+`).FindAllString(string(text), -1)
	for _, name := range named {
		base := strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
		if !metrics[name] && !metrics[base] {
			t.Errorf("the dashboard names %s, which is no metric", name)
		}
	}
	if len(named) < 50 {
		t.Errorf("the dashboard names %d metrics, want those of all rows", len(named))
	}
}

// metricNames are the names of all metrics of a program with Redis, provisioning
// and a service account whose password is exchanged.
func metricNames(t *testing.T) map[string]bool {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("p"), 0o600); err != nil {
		t.Fatal(err)
	}
	sys := system{Out: io.Discard, Err: io.Discard, Environ: []string{
		"NEXTCLOUD_BASE_URL=http://localhost:1", "NEXTCLOUD_CLIENT_ID=c", "NEXTCLOUD_REDIRECT_URI=http://localhost:8000/auth/callback",
		"ANTEROOM_UPSTREAM=http://localhost:1", "ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_REDIS_URL=redis://127.0.0.1:1",
		"ANTEROOM_SESSION_KEYS=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "ANTEROOM_IDENTITY_PROVISION_URL=http://localhost:1",
		"NEXTCLOUD_WEBDAV_USERNAME=u", "NEXTCLOUD_WEBDAV_PASSWORD_FILE=" + password, "ANTEROOM_INTEGRATIONS_ROTATE_EVERY=24h",
	}}
	cfg, faults := loadConfig("", false, sys.lookup, sys.Environ)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	h, err := build(cfg, newLog(cfg.Telemetry, sys.Err), sys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.closeStore(); h.audit.Close() })
	h.rotating()
	names := map[string]bool{"anteroom_tls_certificate_expiry_seconds": true} // where there is TLS
	rec := httptest.NewRecorder()
	h.server.Admin(h.checks, h.registry, nil).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+)`).FindAllStringSubmatch(rec.Body.String(), -1) {
		names[m[1]] = true
	}
	described := make(chan *prometheus.Desc, 1000)
	h.registry.Describe(described)
	close(described)
	for d := range described {
		names[regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d.String())[1]] = true
	}
	return names
}
