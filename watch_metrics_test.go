package main

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"anteroom/proxy/watch"
)

// TestPrometheusRules: each metric and rule of ours that the alert rules name
// exists, and each rule of watch is in one of them.
func TestPrometheusRules(t *testing.T) {
	text, err := os.ReadFile("deploy/prometheus/anteroom.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	metrics := metricNames(t)
	var watched []string
	seen := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			names := regexp.MustCompile(`anteroom_\w+`).FindAllString(r.Expr, -1)
			for _, name := range names {
				if !metrics[name] {
					t.Errorf("%s looks at %s, which is no metric", r.Alert, name)
				}
			}
			if len(names) == 0 || seen[r.Alert] {
				t.Errorf("%q looks at no metric of ours, or is there twice", r.Alert)
			}
			seen[r.Alert] = true
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

// metricNames are the names of all metrics of a program with Redis.
func metricNames(t *testing.T) map[string]bool {
	sys := system{Out: io.Discard, Err: io.Discard, Environ: []string{
		"NEXTCLOUD_BASE_URL=http://localhost:1", "NEXTCLOUD_CLIENT_ID=c", "NEXTCLOUD_REDIRECT_URI=http://localhost:8000/auth/callback",
		"ANTEROOM_UPSTREAM=http://localhost:1", "ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_REDIS_URL=redis://127.0.0.1:1",
		"ANTEROOM_SESSION_KEYS=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
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
	names := map[string]bool{}
	described := make(chan *prometheus.Desc, 1000)
	h.registry.Describe(described)
	close(described)
	for d := range described {
		names[regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d.String())[1]] = true
	}
	return names
}
