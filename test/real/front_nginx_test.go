//go:build real

package realtest

import (
	"os"
	"path/filepath"
	"testing"
)

var nginx = front{name: "nginx", door: "/auth/verify/nginx", start: startNginx}

func startNginx(t *testing.T, f *frontage) *process {
	t.Helper()
	dir := deployed(t, "nginx", "listen 80;", "listen 127.0.0.1:"+f.port+";", "example.com", "front.test",
		"server anteroom:8000;", "server "+f.Listen+";", "server app:8001;", "server "+f.app.Listen+";")
	conf := `
user root; daemon off; worker_processes 1; pid ` + dir + `/nginx.pid; error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path ` + dir + `/t1; proxy_temp_path ` + dir + `/t2; fastcgi_temp_path ` + dir + `/t3; uwsgi_temp_path ` + dir + `/t4; scgi_temp_path ` + dir + `/t5;
	include ` + dir + `/anteroom.conf;
}
`
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return launch(t, "nginx", command{dir: dir, argv: []string{"/usr/sbin/nginx", "-p", dir, "-c", file}})
}

func TestNginx(t *testing.T) { frontSuite(t, nginx) }
