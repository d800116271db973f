//go:build real

package charttest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testSchemas makes JSON Schemas of the kinds that the chart renders, from what the
// apiserver publishes about them, and holds testdata/schemas equal.
func (c *cluster) testSchemas(t *testing.T) {
	kinds := map[string]map[string]bool{} // by group and version
	eachSet(t, func(t *testing.T, _, rendered string) {
		for _, o := range objects(t, rendered) {
			at := text(o["apiVersion"])
			if kinds[at] == nil {
				kinds[at] = map[string]bool{}
			}
			kinds[at][o.kind()] = true
		}
	})
	wanted := map[string]bool{}
	for version, of := range kinds {
		published := c.published(t, version)
		for kind := range of {
			file := schemaFile(version, kind)
			wanted[file] = true
			hold(t, filepath.Join("testdata/schemas", file), kindSchema(t, published, version, kind))
		}
	}
	files, err := os.ReadDir("testdata/schemas")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !wanted[f.Name()] {
			t.Errorf("testdata/schemas/%s is of a kind that the chart does not render", f.Name())
		}
	}
}

// schemaFile is the name by which kubeconform looks for a kind.
func schemaFile(version, kind string) string {
	group, v, ok := strings.Cut(version, "/")
	if !ok {
		return strings.ToLower(kind) + "-" + version + ".json"
	}
	group, _, _ = strings.Cut(group, ".")
	return strings.ToLower(kind) + "-" + group + "-" + v + ".json"
}

// published are the definitions of a group's version, which for new kinds take a moment.
func (c *cluster) published(t *testing.T, version string) map[string]any {
	t.Helper()
	path := "/openapi/v3/apis/" + version
	if !strings.Contains(version, "/") {
		path = "/openapi/v3/api/" + version
	}
	var err error
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		var out string
		if out, err = c.run("", tool("kubectl"), "get", "--raw", path); err != nil {
			continue
		}
		var doc struct {
			Components struct{ Schemas map[string]any }
		}
		if err = json.Unmarshal([]byte(out), &doc); err == nil && len(doc.Components.Schemas) > 0 {
			return doc.Components.Schemas
		}
	}
	t.Fatalf("the apiserver publishes nothing of %s: %v", version, err)
	return nil
}

// kindSchema is a kind's schema with the definitions that it needs, and no others.
func kindSchema(t *testing.T, published map[string]any, version, kind string) string {
	t.Helper()
	for _, s := range published {
		if !isKind(s, version, kind) {
			continue
		}
		needed := map[string]any{}
		schema := strict(s, published, needed).(map[string]any)
		schema["definitions"] = needed
		out, err := json.Marshal(schema)
		if err != nil {
			t.Fatal(err)
		}
		return string(out) + "\n"
	}
	t.Fatalf("the apiserver knows no %s of %s", kind, version)
	return ""
}

func isKind(schema any, version, kind string) bool {
	list, _ := object(schema.(map[string]any))["x-kubernetes-group-version-kind"].([]any)
	for _, one := range list {
		o := object(one.(map[string]any))
		at := text(o["version"])
		if g := text(o["group"]); g != "" {
			at = g + "/" + at
		}
		if at == version && text(o["kind"]) == kind {
			return true
		}
	}
	return false
}

// strict copies a schema, without words for people, so that unknown fields are
// refused; definitions that it refers to are added to needed.
func strict(v any, published, needed map[string]any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = strict(v[i], published, needed)
		}
		return list
	case map[string]any:
		out := map[string]any{}
		_, eitherWay := v["x-kubernetes-int-or-string"]
		eitherWay = eitherWay || v["format"] == "int-or-string"
		for key, x := range v {
			_, isText := x.(string)
			switch {
			case key == "description" && isText, key == "format" && isText, key == "default", strings.HasPrefix(key, "x-kubernetes-"), key == "type" && eitherWay:
			case key == "$ref" && isText:
				name := strings.TrimPrefix(x.(string), "#/components/schemas/")
				out[key] = "#/definitions/" + name
				if _, ok := needed[name]; !ok {
					needed[name] = nil // first, for it may refer to itself
					needed[name] = strict(published[name], published, needed)
				}
			case key == "properties":
				properties := map[string]any{}
				for name, p := range x.(map[string]any) {
					properties[name] = strict(p, published, needed)
				}
				out[key] = properties
				if _, said := v["additionalProperties"]; !said {
					out["additionalProperties"] = false
				}
			default:
				out[key] = strict(x, published, needed)
			}
		}
		return out
	}
	return v
}
