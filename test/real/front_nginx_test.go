//go:build real

package realtest

import (
	"os"
	"path/filepath"
	"testing"
)

var (
	nginx = front{name: "nginx", door: "/auth/verify/nginx", start: func(t *testing.T, f *frontage) *process { return startNginx(t, f, "anteroom.conf") }}

	// nginxBefore is in front of an Anteroom that forwards by itself.
	nginxBefore = front{name: "nginx", forwards: true, relays: true, start: func(t *testing.T, f *frontage) *process { return startNginx(t, f, "reverse-proxy.conf") }}
)

// startNginx starts nginx with a file of deploy/.
func startNginx(t *testing.T, f *frontage, which string) *process {
	t.Helper()
	dir := deployed(t, "nginx", "listen 80;", "listen 127.0.0.1:"+f.port+";", "example.com", "front.test",
		"server anteroom:8000;", "server "+f.Listen+";", "server app:8001;", "server "+f.app.Listen+";")
	return runNginx(t, dir, "include "+dir+"/"+which+";")
}

// runNginx starts nginx in a folder, with what is said within http.
func runNginx(t *testing.T, dir, within string) *process {
	t.Helper()
	conf := `
user root; daemon off; worker_processes 1; pid ` + dir + `/nginx.pid; error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path ` + dir + `/t1; proxy_temp_path ` + dir + `/t2; fastcgi_temp_path ` + dir + `/t3; uwsgi_temp_path ` + dir + `/t4; scgi_temp_path ` + dir + `/t5;
	` + within + `
}
`
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return launch(t, "nginx", command{dir: dir, argv: []string{"/usr/sbin/nginx", "-p", dir, "-c", file}})
}

func TestNginx(t *testing.T) { frontSuite(t, nginx) }

// TestNginxBefore: what must hold where nginx passes everything to Anteroom.
func TestNginxBefore(t *testing.T) { frontTest{newFrontage(t, nginxBefore, "app"), "app"}.all(t) }
