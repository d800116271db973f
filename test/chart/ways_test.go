//go:build real

package charttest

import (
	"fmt"
	"strings"
	"testing"
)

// TestTraefikIsToldOfTLS: by itself it speaks plain HTTP to every port but 443.
func TestTraefikIsToldOfTLS(t *testing.T) {
	const scheme = "traefik.ingress.kubernetes.io/service.serversscheme"
	for _, c := range []struct {
		flags string
		want  any
	}{
		{"ingress.controller=traefik", "https"},
		{"ingress.controller=traefik,service.annotations.example\\.com/pool=public", "https"},
		{`ingress.controller=traefik,service.annotations.traefik\.ingress\.kubernetes\.io/service\.serversscheme=h2c`, "h2c"},
		{"ingress.controller=traefik,tls.enabled=false,tls.certManager.enabled=false", nil},
		{"ingress.controller=nginx", nil},
	} {
		out, err := template(chart, "--values", "testdata/values/tls.yaml", "--set", c.flags)
		if err != nil {
			t.Fatal(err)
		}
		service := find(t, objects(t, out), "Service", "anteroom")
		if got := service.at("metadata", "annotations", scheme); got != c.want {
			t.Errorf("%s: %s is %v, want %v", c.flags, scheme, got, c.want)
		}
	}
}

// TestSidecarIsAskedWhereItIs: localhost is another pod's to whoever asks from
// outside, helm test and the kubelet alike.
func TestSidecarIsAskedWhereItIs(t *testing.T) {
	rendered, err := template(consumer(t))
	if err != nil {
		t.Fatal(err)
	}
	list, tests := objects(t, rendered), ""
	for _, o := range list {
		if o.kind() == "Pod" {
			tests += " " + fmt.Sprint(o.at("spec", "containers").([]any)[0].(map[string]any)["args"])
		}
	}
	if tests != " [healthcheck]" {
		t.Errorf("helm test runs%s, want [healthcheck] alone", tests)
	}
	spec, _ := podSpec(find(t, list, "Deployment", "notes"))
	application := object(spec["containers"].([]any)[0].(map[string]any))
	probes := 0
	for key, probe := range application {
		if !strings.HasSuffix(key, "Probe") {
			continue
		}
		probes++
		if object(probe.(map[string]any)).at("exec", "command") == nil {
			t.Errorf("%s of the application is %v, want one by exec: it listens on localhost alone", key, probe)
		}
	}
	if probes == 0 {
		t.Error("the application has no probes")
	}
}

// TestRedisBesideAnother has the bundled Redis share neither names nor labels with
// what another chart calls redis, in the same release.
func TestRedisBesideAnother(t *testing.T) {
	rendered, err := template(chart, "--values", "testdata/values/production.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, o := range objects(t, rendered) {
		if strings.HasPrefix(o.name(), release+"-redis") {
			t.Errorf("%s %s has a name that another chart's Redis would have", o.kind(), o.name())
		}
		if strings.HasPrefix(o.name(), bundledRedis) {
			seen++
		}
		for _, path := range [][]string{{"spec", "selector"}, {"spec", "selector", "matchLabels"}, {"spec", "template", "metadata", "labels"}} {
			if o.at(append(path, "app.kubernetes.io/name")...) == "redis" {
				t.Errorf("%s %s: %s are those of another chart's Redis", o.kind(), o.name(), strings.Join(path, "."))
			}
		}
	}
	if seen < 5 {
		t.Errorf("%d objects are the bundled Redis', want all of them", seen)
	}
}

// TestRedisStartsAnew: what it reads at start alone has it replaced, and a password
// that each rendering draws does not.
func TestRedisStartsAnew(t *testing.T) {
	sum := func(flags ...string) any {
		t.Helper()
		out, err := template(chart, append([]string{"--values", "testdata/values/production.yaml"}, flags...)...)
		if err != nil {
			t.Fatal(err)
		}
		return find(t, objects(t, out), "StatefulSet", bundledRedis).at("spec", "template", "metadata", "annotations", "checksum/config")
	}
	first := sum()
	if first != sum() {
		t.Error("two renderings alike would replace Redis")
	}
	for _, changed := range []string{"redis.prefix=door", "redis.maxMemory=200mb"} {
		if first == sum("--set", changed) {
			t.Errorf("%s would leave Redis as it is", changed)
		}
	}
}
