//go:build real

package realtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// ingressNginx is nginx with what ingress-nginx makes of the annotations of
// deploy/nginx/ingress.yaml, as far as asking goes: the URL that is asked about has
// the Host header, and the answer's header has to fit one buffer.
var ingressNginx = front{name: "ingress-nginx", door: "/auth/verify/nginx", start: func(t *testing.T, f *frontage) *process {
	t.Helper()
	dir := deployed(t, "nginx", "anteroom.anteroom.svc.cluster.local:8000", f.Listen)
	var ingress struct {
		Metadata struct{ Annotations map[string]string }
	}
	text, err := os.ReadFile(filepath.Join(dir, "ingress.yaml"))
	if err == nil {
		err = yaml.Unmarshal(text, &ingress)
	}
	if err != nil {
		t.Fatal(err)
	}
	a := func(name string) string { return ingress.Metadata.Annotations["nginx.ingress.kubernetes.io/"+name] }
	buffer := "4k"
	if size := a("proxy-buffer-size"); size != "" {
		buffer = size
	}
	var answered strings.Builder
	for _, name := range strings.Split(a("auth-response-headers"), ",") {
		v := strings.ToLower(strings.ReplaceAll(name, "-", "_"))
		answered.WriteString("auth_request_set $told_" + v + " $upstream_http_" + v + "; proxy_set_header " + name + " $told_" + v + ";\n")
	}
	server := `
	server {
		listen 127.0.0.1:` + f.port + `; server_name NAME.front.test;
		proxy_buffer_size ` + buffer + `; proxy_buffers 4 ` + buffer + `; proxy_buffering off; proxy_http_version 1.1;
		location = /_asks {
			internal;
			proxy_pass_request_body off;
			proxy_set_header Content-Length "";
			proxy_set_header X-Forwarded-Proto "";
			proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
			proxy_set_header X-Original-Method $request_method;
			proxy_set_header X-Sent-From "nginx-ingress-controller";
			proxy_set_header X-Forwarded-For $remote_addr;
			set $target "` + a("auth-url") + `";
			proxy_pass $target;
		}
		location / {
			auth_request /_asks;
			` + answered.String() + `
			proxy_set_header Host $http_host;
			proxy_pass http://` + f.app.Listen + `;
		}
	}`
	return runNginx(t, dir, strings.ReplaceAll(server, "NAME", "app")+strings.ReplaceAll(server, "NAME", "wiki"))
}}

// TestIngressNginx: a request line and a Host of different hosts are judged by
// neither, and an answer with many cookies is read whole.
func TestIngressNginx(t *testing.T) {
	f := newFrontage(t, ingressNginx, "auth", "ANTEROOM_ROUTES", `[{host: app.front.test, allow: public}, {path: /public, allow: public}, {path: /, allow: signed-in}]`)
	s := frontTest{f, "wiki"}
	for request, want := range map[string]int{
		"GET /notes HTTP/1.1\r\nHost: " + f.host("app"):                                              200,
		"GET http://" + f.host("app") + "/notes HTTP/1.1\r\nHost: " + f.host("app"):                  200,
		"GET /public/x HTTP/1.1\r\nHost: " + f.host("wiki"):                                          200,
		"GET /notes HTTP/1.1\r\nHost: " + f.host("wiki"):                                             401,
		"GET http://" + f.host("wiki") + "/notes HTTP/1.1\r\nHost: " + f.host("app"):                 403,
		"GET http://" + f.host("app") + "/notes HTTP/1.1\r\nHost: " + f.host("wiki"):                 403,
		"GET http://" + f.host("wiki") + "/notes HTTP/1.1\r\nHost: app.front.test":                   403,
		"GET http://wiki.front.test/notes HTTP/1.1\r\nHost: " + f.host("app") + "\r\nX-Sent-From: x": 403,
	} {
		before := len(f.app.reached())
		got := s.send(t, "127.0.0.1:"+f.port, "127.0.0.1", request+"\r\n"+head(nil))
		if got.status != want || len(f.app.reached()) != before && want != 200 {
			t.Errorf("%q = %d, want %d", request, got.status, want)
		}
	}
	if got := s.through(t, "GET", "/public/x", "Cookie: theme="+strings.Repeat("x", 6000)); got.status != 200 {
		t.Errorf("what is public, with 6 KB of cookies = %d, want 200", got.status)
	}
}
