//go:build real

package charttest

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMiddlewares holds the Middlewares against deploy/traefik/dynamic.yml, which is
// tried with a real Traefik, and the headers against what nginx is told.
func TestMiddlewares(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cookie.yaml")
	write(t, file, overlaid(t, "testdata/values/forward-auth-traefik.yaml", `{forwardAuth: {traefik: {relayCookies: true}}}`))
	out, err := template(chart, "--values", file)
	if err != nil {
		t.Fatal(err)
	}
	list := objects(t, out)
	asks := find(t, list, "Middleware", "anteroom")
	tried := read(t, root+"/deploy/traefik/dynamic.yml")
	for _, key := range []string{"trustForwardHeader", "authResponseHeaders", "addAuthCookiesToResponse"} {
		if diff := cmp.Diff(tried.at("http", "middlewares", "anteroom", "forwardAuth", key), asks.at("spec", "forwardAuth", key)); diff != "" {
			t.Errorf("%s: -tried +rendered\n%s", key, diff)
		}
	}
	if got, want := asks.at("spec", "forwardAuth", "address"), "http://anteroom.web.svc.cluster.local:8000/auth/forward/traefik"; got != want {
		t.Errorf("Traefik asks at %v, want %s", got, want)
	}
	clean := find(t, list, "Middleware", "anteroom-clean")
	if diff := cmp.Diff(tried.at("http", "middlewares", "clean", "headers"), clean.at("spec", "headers")); diff != "" {
		t.Errorf("clean: -tried +rendered\n%s", diff)
	}
	var headers []string
	for _, h := range asks.at("spec", "forwardAuth", "authResponseHeaders").([]any) {
		headers = append(headers, h.(string))
	}
	nginx := read(t, root+"/deploy/nginx/ingress.yaml")
	if got := nginx.at("metadata", "annotations", "nginx.ingress.kubernetes.io/auth-response-headers"); got != strings.Join(headers, ",") {
		t.Errorf("deploy/nginx/ingress.yaml hands on %v, and the chart %s", got, strings.Join(headers, ","))
	}
}

// TestIngressAnnotations holds what an Ingress of ingress-nginx is to have.
func TestIngressAnnotations(t *testing.T) {
	const file = root + "/deploy/nginx/ingress.yaml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	holdAnnotations(t, file, "wiki.example.com", string(text))
}

// validURL is what ingress-nginx, from 1.12 on, takes for a URL in an annotation.
var validURL = regexp.MustCompile(`^[-._~a-zA-Z0-9/:, ?&=$]*$`)

// holdAnnotations has the annotations in a text be such as ingress-nginx takes, and
// lead people who sign in back to where they were.
func holdAnnotations(t *testing.T, where, host, text string) {
	t.Helper()
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^ +nginx\.ingress\.kubernetes\.io/(auth-[a-z-]+): (.+)$`).FindAllStringSubmatch(text, -1) {
		found[m[1]] = m[2]
		if !validURL.MatchString(m[2]) {
			t.Errorf("%s: ingress-nginx refuses %s: %s", where, m[1], m[2])
		}
	}
	if len(found) != 3 {
		t.Errorf("%s: found %v, want auth-url, auth-signin and auth-response-headers", where, found)
	}
	if !strings.HasSuffix(found["auth-url"], "/auth/verify/nginx?host=$host") {
		t.Errorf("%s: auth-url %s does not say which host is forwarded to", where, found["auth-url"])
	}
	if !strings.Contains(text, "nginx.ingress.kubernetes.io/proxy-buffer-size: 32k") {
		t.Errorf("%s: an answer of more than 4k is not read", where)
	}
	const asked = "/page?a=1&b=2%20x"
	signin, err := url.Parse(strings.NewReplacer("$host", host, "$escaped_request_uri", url.QueryEscape(asked)).Replace(found["auth-signin"]))
	if err != nil {
		t.Fatalf("%s: auth-signin: %v", where, err)
	}
	if got, want := signin.Query().Get("return_to"), "https://"+host+asked; got != want {
		t.Errorf("%s: who signs in is led back to %q, want %q", where, got, want)
	}
}

func read(t *testing.T, file string) object {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, string(data))[0]
}

// TestPathsLeaveOutWhatFrontProxiesAsk looks at every way in of the sets for
// forward-auth: a client may not ask as a front proxy does.
func TestPathsLeaveOutWhatFrontProxiesAsk(t *testing.T) {
	eachSet(t, func(t *testing.T, name, rendered string) {
		if !strings.HasPrefix(name, "forward-auth") {
			return
		}
		ways := 0
		for _, o := range objects(t, rendered) {
			for _, path := range paths(o) {
				ways++
				for _, asked := range []string{"/auth/verify", "/auth/verify/nginx", "/auth/forward", "/auth/forward/traefik", "/auth/forward/envoy/x"} {
					if asked == path.path || !path.exact && strings.HasPrefix(asked, strings.TrimSuffix(path.path, "/")+"/") {
						t.Errorf("%s %s leads to %s", o.kind(), o.name(), asked)
					}
				}
			}
		}
		if ways < 10 {
			t.Errorf("%d ways lead in, want those of people", ways)
		}
	})
}

type way struct {
	path  string
	exact bool
}

func paths(o object) []way {
	var all []way
	rules, _ := o.at("spec", "rules").([]any)
	for _, r := range rules {
		rule := object(r.(map[string]any))
		matches, _ := rule["matches"].([]any)
		for _, m := range matches {
			match := object(m.(map[string]any))
			all = append(all, way{text(match.at("path", "value")), text(match.at("path", "type")) == "Exact"})
		}
		list, _ := rule.at("http", "paths").([]any)
		for _, p := range list {
			path := object(p.(map[string]any))
			all = append(all, way{text(path["path"]), text(path["pathType"]) == "Exact"})
		}
	}
	return all
}
