package main

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var updateChart = flag.Bool("update-chart", false, "write the configuration's keys into the Helm chart's schema")

// TestChartKnowsEveryKey holds the section config of the Helm chart's schema against
// the configuration itself: a misspelt key is refused before anything is installed.
func TestChartKnowsEveryKey(t *testing.T) {
	const file = "charts/anteroom/values.schema.json"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	values := schema["properties"].(map[string]any)
	written, _ := json.Marshal(configSchema())
	var want map[string]any
	if err := json.Unmarshal(written, &want); err != nil {
		t.Fatal(err)
	}
	got, _ := values["config"].(map[string]any)
	want["description"] = got["description"] // which is of the chart's values.yaml
	if *updateChart {
		values["config"] = want
		out, err := json.MarshalIndent(schema, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(out, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is out of date (make reference writes it); -want +got:\n%s", file, diff)
	}
}

// configSchema is the configuration as JSON Schema. What the chart needs is required.
func configSchema() map[string]any {
	s := sectionSchema(reflect.TypeFor[Config]())
	s["required"] = []string{"nextcloud", "server", "signin"}
	sections := s["properties"].(map[string]any)
	for section, key := range map[string]string{"nextcloud": "url", "server": "public_url", "signin": "client_id"} {
		sections[section].(map[string]any)["required"] = []string{key}
	}
	return s
}

func sectionSchema(t reflect.Type) map[string]any {
	properties := map[string]any{}
	for _, f := range fieldsOf(t) {
		p := keySchema(f)
		p["description"] = strings.ToUpper(f.doc[:min(1, len(f.doc))]) + f.doc[min(1, len(f.doc)):]
		if f.doc == "" {
			p["description"] = "The section " + f.name + " of config.yaml."
		}
		if isSecret(f.typ) {
			properties[f.name+"_file"] = map[string]any{"type": "string", "description": "The file with " + f.name + ". The chart sets it for what is in secrets."}
			p["description"] = "Not here, where everybody may read it: see secrets."
		}
		properties[f.name] = p
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

func keySchema(f field) map[string]any {
	word := map[string]any{"type": "string"}
	switch t := f.typ; {
	case isSection(t):
		return sectionSchema(t)
	case isStructList(t):
		return map[string]any{"type": "array", "items": sectionSchema(t.Elem())}
	case readsText(t): // one word, or more than that
		return map[string]any{"type": []string{"string", "number", "object"}}
	case t == reflect.TypeFor[time.Duration]():
		return word
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case t.Kind() == reflect.Int:
		return map[string]any{"type": "integer"}
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": "array", "items": word}
	case t.Kind() == reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": map[string]any{"type": []string{"string", "number", "boolean"}}}
	case len(f.oneof) > 0:
		return map[string]any{"type": "string", "enum": slices.Clone(f.oneof)}
	}
	return word
}
