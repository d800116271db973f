//go:build real

package realtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anteroom/test/loopback"
)

// prometheus is a Prometheus of its own over some Anteroom, configured as
// deploy/prometheus has it.
type prometheus struct {
	*process
	url string
}

// startPrometheus has it scrape every second.
func startPrometheus(t *testing.T, targets ...string) *prometheus {
	t.Helper()
	port := loopback.Port(t)
	conf, err := os.ReadFile(root + "/deploy/prometheus/prometheus.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(conf)
	for _, change := range [][2]string{
		{"scrape_interval: 15s", "scrape_interval: 1s"}, {"evaluation_interval: 15s", "evaluation_interval: 1s"},
		{"[anteroom:9090]", "[" + strings.Join(targets, ", ") + "]"},
		{"- anteroom.rules.yaml", "- " + absolute(t, root+"/deploy/prometheus/anteroom.rules.yaml")},
	} {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("prometheus.example.yaml has no %q any more", change[0])
		}
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "prometheus.yml"), text)
	p := &prometheus{url: "http://127.0.0.1:" + port}
	p.process = launch(t, "prometheus", command{dir: dir, argv: []string{"prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:" + port, "--log.level=warn"}})
	until(t, p.process, "starting Prometheus", 60*time.Second, func() error {
		all, err := p.query(`up == 1`)
		if err == nil && len(all) < len(targets) {
			err = fmt.Errorf("%d of %d targets are up", len(all), len(targets))
		}
		return err
	})
	return p
}

// sample is one series of an answer, with its last value.
type promSample struct {
	Metric map[string]string
	Value  [2]any // time, and the value as text
}

func (s promSample) number() bool { return s.Value[1] != "NaN" }

// query evaluates an expression now.
func (p *prometheus) query(expr string) (all []promSample, err error) {
	var data struct{ Result []promSample }
	err = p.get("query", url.Values{"query": {expr}}, &data)
	return data.Result, err
}

// series are those that there are of a metric.
func (p *prometheus) series(metric string) (all []map[string]string, err error) {
	return all, p.get("series", url.Values{"match[]": {metric}}, &all)
}

// values are what label_values(selector, label) of Grafana asks for.
func (p *prometheus) values(selector, label string) (all []string, err error) {
	return all, p.get("label/"+label+"/values", url.Values{"match[]": {selector}}, &all)
}

func (p *prometheus) get(what string, with url.Values, data any) error {
	resp, err := http.Get(p.url + "/api/v1/" + what + "?" + with.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return fmt.Errorf("%s: %d: %w", what, resp.StatusCode, err)
	}
	if said.Status != "success" {
		return fmt.Errorf("%s %v: %s", what, with, said.Error)
	}
	return nil
}
