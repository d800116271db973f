//go:build real

package charttest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestBadValues has the chart refuse what cannot work, and say what is wrong where.
func TestBadValues(t *testing.T) {
	for _, c := range []struct {
		name, values string   // over those of the set minimal; null takes one out
		want         []string // what the message says
	}{
		// By the schema.
		{"an unknown mode", `mode: proxy`, []string{"at '/mode': value must be one of 'standalone', 'forwardAuth', 'sidecar'"}},
		{"a misspelt value", `replica: 2`, []string{"additional properties 'replica' not allowed"}},
		{"a misspelt value below", `ingress: {enable: true}`, []string{"at '/ingress': additional properties 'enable' not allowed"}},
		{"a misspelt section of the configuration", `config: {sesion: {store: redis}}`, []string{"at '/config': additional properties 'sesion' not allowed"}},
		{"a misspelt key of the configuration", `config: {server: {trusted_proxy: [10.0.0.0/8]}}`, []string{"at '/config/server': additional properties 'trusted_proxy' not allowed"}},
		{"no Nextcloud", `config: {nextcloud: null}`, []string{"at '/config': missing property 'nextcloud'"}},
		{"no client id", `config: {signin: {client_id: null}}`, []string{"at '/config/signin': missing property 'client_id'"}},
		{"no public URL", `config: {server: {public_url: null}}`, []string{"at '/config/server': missing property 'public_url'"}},
		{"a word for a number", `replicas: many`, []string{"at '/replicas': got string, want integer"}},
		{"a text for a truth", `redis: {enabled: "yes"}`, []string{"at '/redis/enabled': got string, want boolean"}},
		{"a port beyond", `service: {port: 70000}`, []string{"at '/service/port': maximum: got 70,000, want 65,535"}},
		{"a kind of Service", `service: {type: External}`, []string{"at '/service/type': value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'"}},
		{"an unknown secret", `secrets: {existing: {clientsecret: {name: x}}}`, []string{"at '/secrets/existing': additional properties 'clientsecret' not allowed"}},
		{"a secret without name", `secrets: {existing: {session-keys: {key: x}}}`, []string{"at '/secrets/existing/session-keys': missing property 'name'"}},
		{"an empty secret", `secrets: {values: {client-secret: ""}}`, []string{"at '/secrets/values/client-secret': minLength: got 0, want 1"}},
		{"a digest that is none", `image: {digest: latest}`, []string{"at '/image/digest': 'latest' does not match pattern"}},
		{"a tag in the repository", `image: {repository: "anteroom:latest"}`, []string{"at '/image/repository': 'anteroom:latest' does not match pattern"}},
		{"a controller", `ingress: {controller: haproxy}`, []string{"at '/ingress/controller': value must be one of 'none', 'nginx', 'traefik'"}},
		{"no time to drain", `drain: {timeoutSeconds: 0}`, []string{"at '/drain/timeoutSeconds': minimum: got 0, want 1"}},
		{"a network peer", `networkPolicy: {from: [{cidr: 10.0.0.0/8}]}`, []string{"at '/networkPolicy/from/0': additional properties 'cidr' not allowed"}},
		{"a duration of the configuration", `config: {session: {lifetime: 12}}`, []string{"at '/config/session/lifetime': got number, want string"}},
		{"a word of the configuration", `config: {session: {store: file}}`, []string{"at '/config/session/store': value must be one of 'memory', 'cookie', 'redis'"}},
		{"a memory of Redis", `redis: {maxMemory: 100Mi}`, []string{"at '/redis/maxMemory': '100Mi' does not match pattern"}},
		// By what values mean together.
		{"no upstream", `config: {upstream: null}`, []string{"config.upstream is not set: where the application listens"}},
		{"no client secret", `secrets: {values: {client-secret: null}}`, []string{"the client's secret is not there: put it into a Secret that secrets.existing.client-secret names"}},
		{"a secret in the configuration", `config: {signin: {client_secret: oops}}`, []string{"config.signin.client_secret would stand in a ConfigMap for all to read", "secrets.existing.client-secret"}},
		{"a password in a URL", `config: {session: {store: redis, redis: {url: "rediss://me:oops@redis:6379/0"}}}`, []string{"config.session.redis.url has a password", "secrets.existing.redis-password"}},
		{"a secret twice", `secrets: {existing: {client-secret: {name: x}}}`, []string{"secrets.values.client-secret: it is in secrets.existing or secrets.external, too; keep one"}},
		{"pods that share nothing", `replicas: 2`, []string{"2 pods cannot share sessions that are kept in memory: set redis.enabled"}},
		{"more pods by load", `autoscaling: {enabled: true}`, []string{"6 pods cannot share sessions that are kept in memory"}},
		{"two Redis", `{redis: {enabled: true}, config: {session: {redis: {url: "redis://other:6379"}}}}`, []string{"names a Redis, and redis.enabled brings another; keep one"}},
		{"an address that is the chart's", `config: {server: {admin_listen: "127.0.0.1:9090"}}`, []string{"config.server.admin_listen is the chart's to set"}},
		{"draining that is the chart's", `config: {server: {drain_timeout: 5m}}`, []string{"config.server.drain_timeout is the chart's to set; write drain.timeoutSeconds"}},
		{"forwardAuth with upstream", `mode: forwardAuth`, []string{"config.upstream is the chart's to set in mode forwardAuth; leave it out"}},
		{"forwardAuth that nobody may ask", `{mode: forwardAuth, config: {upstream: null}}`, []string{"config.server.trusted_proxies is not set, and nobody else may ask"}},
		{"sidecar of unknown pods", `{mode: sidecar, config: {upstream: null}}`, []string{"sidecar.selectorLabels is not set"}},
		{"keys that cannot be made", `config: {identity: {jwt: {algorithm: RS256}}}`, []string{"the chart makes keys for ES256 alone, and config.identity.jwt.algorithm is RS256", "anteroom keys new --jwt RS256"}},
		{"passwords that cannot be written", `config: {integrations: {rotate_every: 720h}}`, []string{"config.integrations.rotate_every has Anteroom write new passwords into their files"}},
		{"a certificate without issuer", `tls: {enabled: true, certManager: {enabled: true}}`, []string{"tls.certManager.issuerRef.name is not set"}},
		{"a certificate for nothing", `tls: {certManager: {enabled: true, issuerRef: {name: x}}}`, []string{"tls.certManager.enabled has a certificate made that nothing uses"}},
		{"a vault without name", `secrets: {external: {data: {audit-key: {key: x}}}}`, []string{"secrets.external.storeRef.name is not set"}},
		{"forward-auth in another mode", `forwardAuth: {traefik: {enabled: true}}`, []string{"forwardAuth is for mode: forwardAuth, and in mode standalone nothing would come of it"}},
		{"an application that stays open", `networkPolicy: {enabled: false, application: {podLabels: {app: voiceassist}}}`, []string{"networkPolicy.application closes the application's own pods"}},
		{"an application that stays open in another mode", `{mode: forwardAuth, config: {upstream: null, server: {trusted_proxies: [10.0.0.0/8]}}, networkPolicy: {application: {podLabels: {app: wiki}}}}`, []string{"networkPolicy.application closes the application's own pods"}},
		{"egress of a sidecar", `{mode: sidecar, sidecar: {selectorLabels: {app: notes}}, config: {upstream: null}, networkPolicy: {egress: {enabled: true, rules: [{}]}}}`, []string{"not in mode: sidecar"}},
		{"egress to nowhere", `networkPolicy: {egress: {enabled: true}}`, []string{"networkPolicy.egress.rules is empty: nobody could sign in"}},
		{"a route to no Gateway", `httpRoute: {enabled: true}`, []string{"httpRoute.parentRefs is empty: name the Gateway"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "bad.yaml")
			write(t, file, overlaid(t, "testdata/values/minimal.yaml", c.values))
			out, err := template(chart, "--values", file)
			if err == nil {
				t.Fatalf("was rendered:\n%s", out)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the message lacks %q:\n%v", w, err)
				}
			}
		})
	}
}

// overlaid is a file of values with others over them.
func overlaid(t *testing.T, file, over string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var below, above map[string]any
	for text, into := range map[string]*map[string]any{string(data): &below, over: &above} {
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	overlay(below, above)
	out, err := yaml.Marshal(below)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func overlay(below, above map[string]any) {
	for key, v := range above {
		under, isMap := below[key].(map[string]any)
		over, both := v.(map[string]any)
		switch {
		case v == nil:
			delete(below, key)
		case isMap && both:
			overlay(under, over)
		default:
			below[key] = v
		}
	}
}

// TestSchema holds the schema against values.yaml: every value is in it, with its
// default good and the comment as description; every property has a description.
func TestSchema(t *testing.T) {
	const file = chart + "/values.schema.json"
	var schema map[string]any
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for _, v := range values(t) {
		p := property(schema, v.path)
		if p == nil {
			t.Errorf("%s is in values.yaml, and not in the schema", v.path)
			continue
		}
		described[v.path] = true
		if v.comment != "" {
			p["description"] = v.comment
		}
	}
	out, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	hold(t, file, string(out)+"\n")
	undescribed(t, schema, "")
}

// TestEverySecretHasAFile holds the chart's list of secrets against the
// configuration's keys: what can be read from a file can be given by a Secret.
func TestEverySecretHasAFile(t *testing.T) {
	source, err := os.ReadFile(chart + "/templates/_secrets.tpl")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{} // by key
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+): ([a-z_.]+)$`).FindAllStringSubmatch(string(source), -1) {
		files[m[2]] = m[1]
	}
	var schema map[string]any
	data, err := os.ReadFile(chart + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	keys := secretKeys(property(schema, "config"), "")
	if len(keys) < 10 {
		t.Fatalf("found %d secrets in the configuration, want all of them", len(keys))
	}
	for _, key := range append(keys, "identity.jwt.keys") {
		if files[key] == "" {
			t.Errorf("%s_file is a key of the configuration, and templates/_secrets.tpl has no file for it", key)
			continue
		}
		for _, way := range []string{"secrets.existing", "secrets.values", "secrets.external.data"} {
			if property(schema, way+"."+files[key]) == nil {
				t.Errorf("%s cannot hold %s", way, files[key])
			}
		}
	}
	if want := len(keys) + 1; len(files) != want {
		t.Errorf("templates/_secrets.tpl has %d files, and the configuration %d", len(files), want)
	}
}

// secretKeys are the keys that have a twin which names a file with it.
func secretKeys(schema map[string]any, path string) []string {
	var keys []string
	properties, _ := schema["properties"].(map[string]any)
	for name, p := range properties {
		at := strings.TrimPrefix(path+"."+name, ".")
		if _, twin := properties[name+"_file"]; twin {
			keys = append(keys, at)
		}
		keys = append(keys, secretKeys(p.(map[string]any), at)...)
	}
	return keys
}

// property is the schema of a value by its path, or nil.
func property(schema map[string]any, path string) map[string]any {
	for key := range strings.SplitSeq(path, ".") {
		properties, _ := schema["properties"].(map[string]any)
		schema, _ = properties[key].(map[string]any)
	}
	return schema
}

func undescribed(t *testing.T, schema map[string]any, path string) {
	properties, _ := schema["properties"].(map[string]any)
	if properties != nil && schema["additionalProperties"] != false {
		t.Errorf("%s lets in values that nobody knows", path)
	}
	for key, p := range properties {
		p := p.(map[string]any)
		at := strings.TrimPrefix(path+"."+key, ".")
		if len(text(p["description"])) < 5 {
			t.Errorf("%s has no description", at)
		}
		undescribed(t, p, at)
	}
	if items, ok := schema["items"].(map[string]any); ok {
		undescribed(t, items, path+"[]")
	}
}

// value is one line of values.yaml with the comment above it.
type value struct{ path, comment, def string }

// values lists what values.yaml sets, in its order; a mapping that is a section is
// listed before what is in it.
func values(t *testing.T) []value {
	t.Helper()
	data, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	return valuesOf(t, doc.Content[0], "")
}

func valuesOf(t *testing.T, n *yaml.Node, path string) []value {
	t.Helper()
	var list []value
	for i := 0; i < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+k.Value, ".")
		list = append(list, value{at, comment(k.HeadComment), written(t, v)})
		if section(v) && at != "autoscaling.behavior" && at != "podSecurityContext" && at != "securityContext" {
			list = append(list, valuesOf(t, v, at)...)
		}
	}
	return list
}

// section reports whether a mapping is written over several lines.
func section(n *yaml.Node) bool {
	return n.Kind == yaml.MappingNode && len(n.Content) > 0 && n.Style&yaml.FlowStyle == 0
}

// comment joins the lines of a comment; what is an example, indented or beyond an
// empty line, is not of it.
func comment(head string) string {
	if i := strings.LastIndex(head, "\n\n"); i >= 0 {
		head = head[i+2:]
	}
	var words []string
	for line := range strings.Lines(head) {
		words = append(words, strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "#"))...)
	}
	return strings.Join(words, " ")
}

// written is a default on one line, as YAML.
func written(t *testing.T, n *yaml.Node) string {
	t.Helper()
	if section(n) {
		return ""
	}
	flow := *n
	flow.HeadComment, flow.LineComment, flow.FootComment = "", "", ""
	if n.Kind != yaml.ScalarNode {
		flow.Style |= yaml.FlowStyle
	}
	out, err := yaml.Marshal(&flow)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}
