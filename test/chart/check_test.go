//go:build real

package charttest

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"anteroom/test/loopback"
)

// TestConfigurationIsGood has the program itself check the configuration of every
// set, with files where the pod would have them.
func TestConfigurationIsGood(t *testing.T) {
	eachSet(t, func(t *testing.T, name, rendered string) {
		config := mountConfig(t, objects(t, rendered))
		out, err := run(nil, absolute(anteroom), "check", "--config", config)
		if err != nil {
			data, _ := os.ReadFile(config)
			t.Fatalf("%v\n%s", err, data)
		}
		if !strings.Contains(out, "The configuration is good") {
			t.Errorf("anteroom check says %q", out)
		}
	})
}

// mountConfig writes the rendered configuration and what the pod's volumes would
// hold below a folder, and returns the configuration's file.
func mountConfig(t *testing.T, list []object) string {
	t.Helper()
	dir := t.TempDir()
	pod := podWithAnteroom(t, list)
	volumes := map[string]object{}
	for _, v := range pod["volumes"].([]any) {
		volumes[text(object(v.(map[string]any))["name"])] = v.(map[string]any)
	}
	sources, _ := volumes["anteroom-secrets"].at("projected", "sources").([]any)
	for _, s := range sources {
		secret := object(s.(map[string]any)["secret"].(map[string]any))
		for _, i := range secret["items"].([]any) {
			item := object(i.(map[string]any))
			write(t, filepath.Join(dir, "secrets", text(item["path"])), secretText(t, list, text(secret["name"]), text(item["key"]), text(item["path"])))
		}
	}
	pair := loopback.Certificate(t, func(c *x509.Certificate) { c.DNSNames = []string{"voiceassist.example.com"} })
	cert, key := string(pair.Cert), string(pair.Key)
	write(t, filepath.Join(dir, "tls/tls.crt"), cert)
	write(t, filepath.Join(dir, "tls/tls.key"), key)
	write(t, filepath.Join(dir, "ca/ca.crt"), cert)
	for _, o := range list {
		if config := text(o.at("data", "config.yaml")); config != "" {
			file := filepath.Join(dir, "config.yaml")
			write(t, file, strings.ReplaceAll(config, "/run/anteroom", dir))
			return file
		}
	}
	t.Fatal("no ConfigMap has a config.yaml")
	return ""
}

// podWithAnteroom is the pod that serves: the Deployment's, or for a sidecar alone
// that of helm test, which has the same volumes.
func podWithAnteroom(t *testing.T, list []object) map[string]any {
	t.Helper()
	for _, kind := range []string{"Deployment", "Pod"} {
		for _, o := range list {
			if spec, _ := podSpec(o); o.kind() == kind && spec != nil {
				return spec
			}
		}
	}
	t.Fatal("nothing runs Anteroom")
	return nil
}

// secretText is what a Secret holds: as it was rendered, or for one that would be
// there already, something of its kind.
func secretText(t *testing.T, list []object, secret, key, file string) string {
	t.Helper()
	for _, o := range list {
		if o.kind() == "Secret" && o.name() == secret {
			text, err := base64.StdEncoding.DecodeString(text(o.at("data", key)))
			if err != nil || len(text) == 0 {
				t.Fatalf("Secret %s has no %s: %v", secret, key, err)
			}
			return string(text)
		}
	}
	switch file {
	case "jwt-keys":
		return mustRun(t, absolute(anteroom), "keys", "new", "--jwt", "ES256")
	case "session-keys", "audit-key":
		return mustRun(t, absolute(anteroom), "keys", "new")
	case "redis-url":
		return "rediss://redis.example.net:6379/0"
	}
	return "somethingLongEnoughForAllOfThemToTake"
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestServesWithMadeSecrets starts the program with what the chart makes, and looks at
// the keys it publishes: those that Helm drew have to be keys, two of them.
func TestServesWithMadeSecrets(t *testing.T) {
	out, err := template(chart, "--values", "testdata/values/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	site, admin := serve(t, mountConfig(t, objects(t, out)))
	var set struct {
		Keys []struct{ Kid, Kty, Alg, D string }
	}
	get(t, site+"/.well-known/jwks.json", http.StatusOK, &set)
	if len(set.Keys) != 2 || set.Keys[0].Alg != "ES256" || set.Keys[0].Kid == set.Keys[1].Kid {
		t.Errorf("published are %+v, want two keys for ES256", set.Keys)
	}
	for _, k := range set.Keys {
		if k.D != "" {
			t.Error("a private key is published")
		}
	}
	get(t, admin+"/healthz", http.StatusOK, nil)
	get(t, admin+"/readyz", http.StatusServiceUnavailable, nil) // there is no Nextcloud
}

// serve starts the program on addresses of loopback, and ends it with the test.
func serve(t *testing.T, config string, env ...string) (site, admin string) {
	t.Helper()
	site, admin = loopback.Address(t), loopback.Address(t)
	cmd := exec.Command(absolute(anteroom), "serve")
	cmd.Env = append([]string{"ANTEROOM_CONFIG=" + config, "ANTEROOM_SERVER_LISTEN=" + site, "ANTEROOM_SERVER_ADMIN_LISTEN=" + admin}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var printed strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("anteroom ended with %v\n%s", err, printed.String())
		}
	})
	answers(t, "http://"+admin+"/healthz")
	return "http://" + site, "http://" + admin
}

// answers waits until an address answers at all, half a minute at most.
func answers(t *testing.T, url string) {
	t.Helper()
	var err error
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		var resp *http.Response
		if resp, err = http.Get(url); err == nil {
			resp.Body.Close()
			return
		}
	}
	t.Fatalf("does not answer: %v", err)
}

func get(t *testing.T, url string, status int, into any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != status {
		t.Errorf("GET %s: %s, want %d", url, resp.Status, status)
	}
	if into == nil {
		return
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Errorf("GET %s: %v", url, err)
	}
}

// TestBundledRedis starts a Redis as the subchart has it, and Anteroom with it: the
// user may do what Anteroom does, and nothing else.
func TestBundledRedis(t *testing.T) {
	out, err := template(chart, "--values", "testdata/values/production.yaml")
	if err != nil {
		t.Fatal(err)
	}
	list := objects(t, out)
	address, password := startRedis(t, list)
	config := mountConfig(t, list)
	_, admin := serve(t, config, "ANTEROOM_SESSION_REDIS_URL=redis://"+address+"/0")
	var ready struct{ Checks map[string]string }
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until) && ready.Checks["redis"] != "ok"; time.Sleep(50 * time.Millisecond) {
		get(t, admin+"/readyz", http.StatusServiceUnavailable, &ready)
	}
	if ready.Checks["redis"] != "ok" {
		t.Errorf("/readyz says of Redis: %q, want ok", ready.Checks["redis"])
	}
	report, err := exec.Command("env", "-i", "ANTEROOM_CONFIG="+config, "ANTEROOM_SESSION_REDIS_URL=redis://"+address+"/0", absolute(anteroom), "doctor").CombinedOutput()
	if line := regexp.MustCompile(`(?m)^.* Redis.*$`).FindString(string(report)); !strings.HasPrefix(line, "ok") {
		t.Errorf("anteroom doctor says of Redis: %q, want ok (%v)\n%s", line, err, report)
	}
	host, port, _ := net.SplitHostPort(address)
	cli := func(argv ...string) string {
		out, err := run(nil, append([]string{"/usr/bin/redis-cli", "-h", host, "-p", port}, argv...)...)
		return strings.TrimSpace(out + fmt.Sprint(errOrNothing(err)))
	}
	for _, c := range []struct {
		want string
		argv []string
	}{
		{"PONG", []string{"ping"}},
		{"NOPERM", []string{"get", "anteroom:x"}},
		{"OK", []string{"--user", "anteroom", "--pass", password, "--no-auth-warning", "set", "anteroom:x", "1"}},
		{"NOPERM", []string{"--user", "anteroom", "--pass", password, "--no-auth-warning", "get", "other:x"}},
		{"NOPERM", []string{"--user", "anteroom", "--pass", password, "--no-auth-warning", "flushall"}},
		{"NOPERM", []string{"--user", "anteroom", "--pass", password, "--no-auth-warning", "config", "set", "maxmemory", "1"}},
		{"WRONGPASS", []string{"auth", "anteroom", "guess"}},
	} {
		if got := cli(c.argv...); !strings.Contains(got, c.want) {
			t.Errorf("redis-cli %s: %q, want %s", strings.Join(c.argv, " "), got, c.want)
		}
	}
}

func errOrNothing(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// startRedis runs Debian's Redis with the rendered configuration, on loopback.
func startRedis(t *testing.T, list []object) (address, password string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "users.acl"), secretText(t, list, bundledRedis, "users.acl", ""))
	conf := text(find(t, list, "ConfigMap", bundledRedis).at("data", "redis.conf"))
	address = loopback.Address(t)
	_, port, _ := net.SplitHostPort(address)
	for from, to := range map[string]string{"port 6379": "port " + port, "bind * -::*": "bind 127.0.0.1", "/data": dir, "/run/redis": dir} {
		if !strings.Contains(conf, from) {
			t.Fatalf("redis.conf lacks %q:\n%s", from, conf)
		}
		conf = strings.ReplaceAll(conf, from, to)
	}
	write(t, filepath.Join(dir, "redis.conf"), conf)
	cmd := exec.Command("/usr/bin/redis-server", filepath.Join(dir, "redis.conf"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var printed strings.Builder
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Log(printed.String())
		}
	})
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return address, secretText(t, list, bundledRedis, "password", "")
		}
	}
	t.Fatalf("Redis does not answer:\n%s", printed.String())
	return "", ""
}
