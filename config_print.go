package main

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"anteroom/proxy/authz"
	"anteroom/proxy/throttle"
	"anteroom/proxy/trace"
	"anteroom/session"
)

// redactedConfig is the effective configuration as YAML, with every secret, and
// every value in a URL's query, as [redacted]. But for the secrets, it can be loaded again and means the same.
func redactedConfig(c *Config) string {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(toNode(reflect.ValueOf(*c))); err != nil {
		return fmt.Sprintf("# cannot be shown: %v\n", err)
	}
	return out.String()
}

func toNode(v reflect.Value) *yaml.Node {
	switch x := v.Interface().(type) {
	case session.Secret:
		if x == "" {
			return scalar("")
		}
		return scalar(x.String())
	case time.Duration:
		return scalar(brief(x))
	case trace.Ratio:
		return scalar(x.String())
	case throttle.Rate:
		return scalar(x.String())
	case authz.Allow:
		return allowNode(x)
	}
	switch v.Kind() {
	case reflect.Struct:
		return structNode(v)
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if !isStructList(v.Type()) {
			n.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			n.Content = append(n.Content, toNode(v.Index(i)))
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, k := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int {
			return bytes.Compare([]byte(a.String()), []byte(b.String()))
		}) {
			n.Content = append(n.Content, scalar(k.String()), scalar(v.MapIndex(k).String()))
		}
		return n
	case reflect.String:
		return scalar(withoutQuery(v.String()))
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v.Interface())} // numbers, true and false
}

// withoutQuery is a text that is, where it is a URL with a query, without the
// values in that: collectors and webhooks are given tokens there.
func withoutQuery(text string) string {
	address, query, asked := strings.Cut(text, "?")
	if !asked || !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		return text
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, _, named := strings.Cut(pair, "=")
		if pairs[i] = session.Secret("").String(); named {
			pairs[i] = name + "=" + pairs[i]
		}
	}
	return address + "?" + strings.Join(pairs, "&")
}

func structNode(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v.Type()) {
		n.Content = append(n.Content, scalar(f.name), toNode(v.Field(f.index)))
	}
	return n
}

// allowNode writes the one-word forms as words.
func allowNode(a authz.Allow) *yaml.Node {
	switch {
	case a.Public:
		return scalar("public")
	case a.SignedIn:
		return scalar("signed-in")
	case !a.Said():
		return scalar("")
	}
	return structNode(reflect.ValueOf(a))
}

func scalar(s string) *yaml.Node {
	n := new(yaml.Node)
	n.SetString(s)
	return n
}
