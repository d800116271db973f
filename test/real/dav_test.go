//go:build real

package realtest

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anteroom/test/loopback"
)

// The account that the servers here know.
const (
	davUser   = "alice"
	davSecret = "pw-alice"
)

// davServer is a DAV server and the places of one account on it. A service it
// has not is "".
type davServer struct {
	*process
	name     string
	origin   string
	user     string   // the account
	secret   string   // its password
	roots    services // of Anteroom's integrations, on the server
	homes    services // the account's own, below those; no slash at their end
	calendar string   // what a calendar there is called; "" where there is none yet
	env      []string // more of the Anteroom before it: name, value, …
	fast     bool     // the Anteroom before it is judged by its speed or its memory
}

// services are the paths of something for each of the DAV services.
type services struct{ files, calendars, contacts string }

// wayToDAV is one way to a DAV server: straight, or through Anteroom.
type wayToDAV struct {
	name, origin string
	roots, homes services // full paths
	user, secret string
}

// direct is the way past Anteroom.
func (d *davServer) direct() wayToDAV {
	return wayToDAV{"direct", d.origin, d.roots, d.roots.join(d.homes), d.user, d.secret}
}

// join puts paths below others.
func (s services) join(below services) services {
	return services{s.files + below.files, s.calendars + below.calendars, s.contacts + below.contacts}
}

// davFolder makes a folder that servers without the tests' rights can reach,
// with a file of test/dav for each name, @KEY@ replaced as told: key, value, …
func davFolder(t *testing.T, names []string, replace ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := strings.NewReplacer(append(replace, "@DIR@", dir)...)
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(root, "test/dav", name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), r.Replace(string(b)))
	}
	return dir
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// startSabre starts sabre/dav behind nginx and php-fpm, laid out as Nextcloud
// is, with a calendar "ward" and an address book "staff" for each account.
func startSabre(t *testing.T) *davServer {
	t.Helper()
	port, fpm := loopback.Port(t), loopback.Port(t)
	files := absolute(t, root+"/test/dav")
	dir := davFolder(t, []string{"nginx.conf", "fpm.conf"}, "@PORT@", port, "@FPM@", fpm, "@FILES@", files)
	if out, err := exec.Command("php", filepath.Join(files, "sabre-setup.php"), filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("setting up sabre/dav: %v\n%s", err, out)
	}
	launch(t, "php-fpm", command{dir: dir, argv: []string{phpFPM(t), "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", filepath.Join(dir, "fpm.conf")}})
	d := &davServer{name: "sabre/dav", origin: "http://127.0.0.1:" + port, user: davUser, secret: davSecret, calendar: "Ward",
		roots: services{"/remote.php/dav", "/remote.php/dav/calendars", "/remote.php/dav/addressbooks"},
		homes: services{"/files/" + davUser, "/" + davUser, "/" + davUser}}
	d.process = launch(t, "nginx", command{dir: dir, argv: []string{"/usr/sbin/nginx", "-p", dir, "-c", filepath.Join(dir, "nginx.conf")}})
	d.await(t)
	return d
}

// phpFPM finds the binary, whose name has PHP's version in it.
func phpFPM(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("/usr/sbin/php-fpm*")
	if err != nil || len(found) == 0 {
		t.Fatalf("php-fpm is not installed (make setup): %v", err)
	}
	return found[len(found)-1]
}

// startRadicale starts Radicale, which has calendars and address books side by
// side below /alice/, and none at first.
func startRadicale(t *testing.T) *davServer {
	t.Helper()
	port := loopback.Port(t)
	dir := davFolder(t, []string{"radicale.conf"}, "@PORT@", port)
	writeFile(t, filepath.Join(dir, "passwords"), davUser+":"+davSecret+"\n")
	d := &davServer{name: "Radicale", origin: "http://127.0.0.1:" + port, user: davUser, secret: davSecret, homes: services{"", "/" + davUser, "/" + davUser}}
	d.process = launch(t, "radicale", command{dir: dir, argv: []string{"/usr/bin/python3", "-m", "radicale", "--config", filepath.Join(dir, "radicale.conf")}})
	d.await(t)
	return d
}

// startApache starts Apache's mod_dav: files alone, at /webdav.
func startApache(t *testing.T) *davServer {
	t.Helper()
	port := loopback.Port(t)
	dir := davFolder(t, []string{"apache.conf"}, "@PORT@", port, "@MODULES@", "/usr/lib/apache2/modules")
	hash, err := exec.Command("htpasswd", "-nbs", davUser, davSecret).Output()
	if err != nil {
		t.Fatalf("htpasswd: %v", err)
	}
	writeFile(t, filepath.Join(dir, "passwords"), string(hash))
	for _, sub := range []string{"", "data", "data/" + davUser, "empty"} { // its workers run as another account
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	d := &davServer{name: "Apache", origin: "http://127.0.0.1:" + port, user: davUser, secret: davSecret, roots: services{files: "/webdav"}, homes: services{files: "/" + davUser}}
	d.process = launch(t, "apache2", command{dir: dir, argv: []string{"/usr/sbin/apache2", "-D", "FOREGROUND", "-f", filepath.Join(dir, "apache.conf")}})
	d.await(t)
	return d
}

// await waits until the server answers davUser.
func (d *davServer) await(t *testing.T) {
	t.Helper()
	at := d.direct()
	path := at.homes.files
	if path == "" {
		path = at.homes.calendars
	}
	until(t, d.process, "starting "+d.name, 20*time.Second, func() error {
		r, err := http.NewRequest("PROPFIND", d.origin+path+"/", nil)
		if err != nil {
			return err
		}
		r.SetBasicAuth(d.user, d.secret)
		r.Header.Set("Depth", "0")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusMultiStatus {
			return fmt.Errorf("PROPFIND %s = %d, want 207", path, resp.StatusCode)
		}
		return nil
	})
}
