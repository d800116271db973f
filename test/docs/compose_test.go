//go:build real

package docs

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anteroom/demo"
	"anteroom/test/loopback"
	"anteroom/test/person"
)

// project is what docker compose makes of a file.
type project struct {
	Name     string
	Services map[string]service
	Volumes  map[string]struct{ Name string }
	Networks map[string]struct {
		Name string
		IPAM struct {
			Config []struct{ Gateway string }
		}
	}
	Secrets map[string]struct{ File string }
}

type service struct {
	Image       string
	Command     []string
	Environment map[string]string
	User        string
	ReadOnly    bool     `json:"read_only"`
	CapDrop     []string `json:"cap_drop"`
	SecurityOpt []string `json:"security_opt"`
	Restart     string
	Healthcheck *struct {
		Test    []string
		Disable bool
	}
	Logging struct{ Options map[string]string }
	Volumes []struct {
		Source, Target string
		ReadOnly       bool `json:"read_only"`
	}
	Ports []struct {
		HostIP string `json:"host_ip"`
		Target int
	}
	Deploy struct {
		Resources struct {
			Limits struct {
				CPUs   float64
				Memory string
				Pids   int
			}
		}
	}
	DependsOn  map[string]struct{ Condition string } `json:"depends_on"`
	ExtraHosts []string                              `json:"extra_hosts"`
}

// compose runs docker compose config, which needs no daemon.
func compose(t *testing.T, file string, environ ...string) (string, error) {
	t.Helper()
	program, err := filepath.Abs(filepath.Join(root, ".cache/bin/compose"))
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "-f", filepath.Join(root, "deploy", file), "--env-file", "/dev/null", "config", "--format", "json")
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, environ...)
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return stderr.String(), err
	}
	return string(out), nil
}

func loadProject(t *testing.T, file string, environ ...string) *project {
	t.Helper()
	out, err := compose(t, file, environ...)
	if err != nil {
		t.Fatalf("docker compose config of %s: %v:\n%s", file, err, out)
	}
	p := new(project)
	if err := json.Unmarshal([]byte(out), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// filledIn is .env.example with what it leaves empty.
func filledIn(t *testing.T) (environ []string) {
	t.Helper()
	for line := range strings.Lines(read(t, "deploy/.env.example")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			if strings.HasSuffix(line, "=") {
				line += "something"
			}
			environ = append(environ, line)
		}
	}
	return environ
}

func TestFirstRunIsCleanShell(t *testing.T) {
	if out, err := exec.Command("shellcheck", "--shell=sh", "--severity=style", filepath.Join(root, "deploy/first-run/first-run.sh")).CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v:\n%s", err, out)
	}
}

// TestCompose: the stack as docker compose sees it.
func TestCompose(t *testing.T) {
	p := loadProject(t, "compose.yaml")
	if got, want := slices.Sorted(maps.Keys(p.Services)), []string{"anteroom", "application", "first-run", "nextcloud", "nextcloud-db", "redis"}; !slices.Equal(got, want) {
		t.Errorf("services = %v, want %v", got, want)
	}
	for name, s := range p.Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %d at %q, want 127.0.0.1 alone", name, port.Target, port.HostIP)
			}
		}
	}
	if c := p.Services["anteroom"].DependsOn["first-run"].Condition; c != "service_completed_successfully" {
		t.Errorf("anteroom starts when first-run is %q, want when it is done", c)
	}
	if h := p.Services["application"].Healthcheck; h == nil || !h.Disable {
		t.Error("the application has the image's healthcheck, which asks for Anteroom: up --wait would never end well")
	}
	nextcloud, first := p.Services["nextcloud"], p.Services["first-run"]
	if nextcloud.Image != first.Image {
		t.Errorf("first-run has %s, Nextcloud %s, want the same", first.Image, nextcloud.Image)
	}
	for k, v := range nextcloud.Environment {
		if first.Environment[k] != v {
			t.Errorf("first-run has %s=%q, Nextcloud %q", k, first.Environment[k], v)
		}
	}
}

func TestComposeProduction(t *testing.T) {
	if out, err := compose(t, "compose.production.yaml"); err == nil || !strings.Contains(out, "set it in .env, such as ") {
		t.Errorf("docker compose config without .env = %v:\n%s\nwant what to set", err, out)
	}
	p := loadProject(t, "compose.production.yaml", filledIn(t)...)
	for name, s := range p.Services {
		limits := s.Deploy.Resources.Limits
		for what, ok := range map[string]bool{
			"a read-only root":    s.ReadOnly,
			"no capabilities":     slices.Equal(s.CapDrop, []string{"ALL"}),
			"no-new-privileges":   slices.Contains(s.SecurityOpt, "no-new-privileges:true"),
			"a user other than 0": s.User != "" && !strings.HasPrefix(s.User, "0"),
			"a restart":           s.Restart == "unless-stopped",
			"a healthcheck":       s.Healthcheck != nil && len(s.Healthcheck.Test) > 1,
			"limits of resources": limits.Memory != "" && limits.Pids > 0,
			"a start on one CPU":  limits.CPUs == 0, // Docker refuses more than there are
			"a limit of its log":  s.Logging.Options["max-size"] != "",
			"no port of the public": !slices.ContainsFunc(s.Ports, func(p struct {
				HostIP string `json:"host_ip"`
				Target int
			}) bool {
				return p.HostIP != "127.0.0.1"
			}),
		} {
			if !ok {
				t.Errorf("%s has not %s", name, what)
			}
		}
	}

	// The secrets that the quick start has people make are those that are used.
	dir := t.TempDir()
	for _, b := range blocks("docs/quickstart.md", read(t, "docs/quickstart.md")) {
		if b.before == "<!-- tested: run -->" {
			c := exec.Command("bash", "-eu", "-c", b.text)
			c.Dir, c.Env = dir, []string{"PATH=" + filepath.Dir(anteroom(t)) + ":" + os.Getenv("PATH")}
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v:\n%s", b, err, out)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "secrets/client_secret"), []byte("something"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Their folder is mounted: a container keeps a single file that is replaced.
	folder := ""
	for _, v := range p.Services["anteroom"].Volumes {
		if v.Target == "/run/secrets" && v.ReadOnly {
			folder = filepath.Join(dir, filepath.Base(v.Source)) + "/"
		}
	}
	environ := environOf(p.Services["anteroom"], func(v string) string {
		if rest, ok := strings.CutPrefix(v, "/run/secrets/"); ok {
			return folder + rest
		}
		return strings.Replace(v, "/var/log/anteroom", filepath.Join(dir, "audit"), 1)
	})
	if out, err := output(t, dir, environ, "check"); err != nil {
		t.Errorf("anteroom check: %v:\n%s", err, out)
	}
	redisAsConfigured(t, p, dir, environ)
}

// TestComposeProductionApplication: an application on this machine is looked for
// where network front alone leads by itself, and so is the front proxy.
func TestComposeProductionApplication(t *testing.T) {
	p := loadProject(t, "compose.production.yaml", filledIn(t)...)
	if len(p.Networks["front"].IPAM.Config) != 1 {
		t.Fatalf("network front = %+v, want one subnet", p.Networks["front"])
	}
	bridge, s := p.Networks["front"].IPAM.Config[0].Gateway, p.Services["anteroom"]
	if got, want := s.ExtraHosts, []string{"host.docker.internal=" + bridge}; bridge == "" || !slices.Equal(got, want) {
		t.Errorf("extra_hosts = %v, want %v", got, want)
	}
	if got, want := s.Environment["ANTEROOM_SERVER_TRUSTED_PROXIES"], bridge+"/32"; got != want {
		t.Errorf("trusted proxies = %s, want %s", got, want)
	}
	for _, file := range []string{"deploy/compose.production.yaml", "deploy/.env.example", "docs/quickstart.md"} {
		text := read(t, file)
		for _, want := range []string{bridge, p.Networks["front"].Name, "0.0.0.0"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %s", file, want)
			}
		}
	}
}

// TestComposeFilesLeaveEachOtherAlone: both are in one folder, and read one .env.
func TestComposeFilesLeaveEachOtherAlone(t *testing.T) {
	trial, production := loadProject(t, "compose.yaml"), loadProject(t, "compose.production.yaml", filledIn(t)...)
	if trial.Name == production.Name || trial.Name == "" {
		t.Errorf("both are project %q: one's containers would be taken for the other's", trial.Name)
	}
	volumes := map[string]bool{}
	for _, v := range trial.Volumes {
		volumes[v.Name] = true
	}
	for _, v := range production.Volumes {
		if volumes[v.Name] {
			t.Errorf("both have the volume %s", v.Name)
		}
	}
	alone, err := compose(t, "compose.yaml")
	if err != nil {
		t.Fatal(alone)
	}
	if beside, err := compose(t, "compose.yaml", filledIn(t)...); err != nil || beside != alone {
		t.Errorf("compose.yaml with production's .env: %v (-alone +beside):\n%s", err, cmp.Diff(alone, beside))
	}
}

// redisAsConfigured starts Redis with the command of the file, and has the doctor
// look at it with Anteroom's environment.
func redisAsConfigured(t *testing.T, p *project, dir string, environ []string) {
	t.Helper()
	address := loopback.Address(t)
	host, port, _ := net.SplitHostPort(address)
	words := replaced(p.Services["redis"].Command, "/run/secrets/redis_conf", filepath.Join(dir, "secrets", filepath.Base(p.Secrets["redis_conf"].File)))
	process(t, nil, words[0], append(words[1:], "--bind", host, "--port", port, "--dir", t.TempDir())...)
	for i, e := range environ {
		environ[i] = strings.Replace(e, "redis:6379", address, 1)
	}
	var line string
	for end := time.Now().Add(60 * time.Second); !strings.HasPrefix(line, "ok") && time.Now().Before(end); {
		out, _ := output(t, dir, environ, "doctor")
		line = regexp.MustCompile(`(?m)^.* Redis: .*(\n +→.*)?$`).FindString(out)
	}
	if !strings.HasPrefix(line, "ok") {
		t.Errorf("doctor says of Redis: %q, want ok", line)
	}
}

// environOf is a service's environment with some values exchanged.
func environOf(s service, value func(string) string) (environ []string) {
	for k, v := range s.Environment {
		environ = append(environ, k+"="+value(v))
	}
	return environ
}

// TestHealthcheckIsTheImages: the files call the program where the image has it.
func TestHealthcheckIsTheImages(t *testing.T) {
	m := regexp.MustCompile(`(?m)^ENTRYPOINT \["([^"]+)"`).FindStringSubmatch(read(t, "Dockerfile"))
	if m == nil {
		t.Fatal("the Dockerfile has no entry point")
	}
	for file, p := range map[string]*project{"compose.yaml": loadProject(t, "compose.yaml"), "compose.production.yaml": loadProject(t, "compose.production.yaml", filledIn(t)...)} {
		if got, want := p.Services["anteroom"].Healthcheck.Test, []string{"CMD", m[1], "healthcheck"}; !slices.Equal(got, want) {
			t.Errorf("%s asks %v, want %v", file, got, want)
		}
	}
}

// process is a program that runs until the test is over.
func process(t *testing.T, environ []string, program string, args ...string) {
	t.Helper()
	c := exec.Command(program, args...)
	c.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environ...)
	c.Dir = t.TempDir()
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		c.Wait()
		if t.Failed() {
			t.Logf("%s %v said:\n%s", filepath.Base(program), args, said.String())
		}
	})
}

// TestStack runs what compose.yaml runs, without containers: first-run and what
// it hands over, the application with its command, Redis, and Anteroom with its
// environment, in front of a pretend Nextcloud. Only addresses differ. Somebody
// signs in by the names that a browser would use.
func TestStack(t *testing.T) {
	p := loadProject(t, "compose.yaml")
	f := newFirstRun(t, freshOcc())
	f.mustRun()
	o := loadOcc(t, f.state)
	made := o.Clients[0]

	cloud := demo.NewNextcloud(demo.Options{OIDC: demo.OIDC20, BaseURL: "http://localhost:8080",
		Clients: []demo.Client{{ID: made.ID, Secret: made.Secret, Name: made.Name, RedirectURIs: made.URIs, LogoutURIs: o.LogoutURIs}},
		Users:   append(demo.DefaultUsers(), demo.User{UID: "voiceassist_service", Password: o.Users["voiceassist_service"].AppPassword})})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: cloud}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })

	redis, application, site, admin := loopback.Address(t), loopback.Address(t), loopback.Address(t), loopback.Address(t)
	host, port, _ := net.SplitHostPort(redis)
	process(t, nil, "redis-server", "--bind", host, "--port", port, "--save", "")
	process(t, nil, anteroom(t), replaced(p.Services["application"].Command, ":8001", application, "http://anteroom:8000", "http://"+site)...)
	elsewhere := strings.NewReplacer("/handover", f.handover, "nextcloud:80", l.Addr().String(), "redis:6379", redis, "application:8001", application)
	environ := append(environOf(p.Services["anteroom"], func(v string) string {
		if v == "http://localhost:8080" {
			return v
		}
		return elsewhere.Replace(v)
	}), "ANTEROOM_SERVER_LISTEN="+site, "ANTEROOM_SERVER_ADMIN_LISTEN="+admin)
	if out, err := output(t, t.TempDir(), environ, "check"); err != nil {
		t.Fatalf("anteroom check: %v:\n%s", err, out)
	}
	process(t, environ, anteroom(t))
	healthy(t, environ)

	somebody := person.New(map[string]string{"user": "testdoc", "password": "testdoc123"})
	names := map[string]string{"localhost:8000": site, "localhost:8080": l.Addr().String()}
	somebody.Client.Transport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, names[address])
	}}
	page, err := somebody.SignIn("http://localhost:8000/")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"testdoc", "Test Doctor", "Verified."} {
		if !strings.Contains(page.Body, want) {
			t.Errorf("the application does not show %q:\n%s", want, page.Body)
		}
	}
	out, err := output(t, t.TempDir(), environ, "doctor")
	if err != nil || strings.Contains(out, "FAILED") {
		t.Errorf("doctor: %v:\n%s", err, out)
	}
}

// TestStackWithAClientByHand: the way that first-run names where it cannot make
// a client leads to a configuration that can be used.
func TestStackWithAClientByHand(t *testing.T) {
	p := loadProject(t, "compose.yaml", "FIRST_RUN_CLIENT_ID=by-hand", "FIRST_RUN_CLIENT_SECRET=canary-secret-by-hand")
	o := freshOcc()
	o.Oidc = ""
	f := newFirstRun(t, o)
	for _, name := range []string{"FIRST_RUN_CLIENT_ID", "FIRST_RUN_CLIENT_SECRET"} {
		f.env[name] = p.Services["first-run"].Environment[name]
	}
	f.mustRun()
	environ := environOf(p.Services["anteroom"], func(v string) string { return strings.Replace(v, "/handover", f.handover, 1) })
	if out, err := output(t, t.TempDir(), environ, "check", "--print-config"); err != nil || !strings.Contains(out, "client_id: by-hand") {
		t.Errorf("anteroom check: %v:\n%s", err, out)
	}
}

func replaced(words []string, oldnew ...string) (all []string) {
	r := strings.NewReplacer(oldnew...)
	for _, w := range words {
		all = append(all, r.Replace(w))
	}
	return all
}

// healthy waits until the healthcheck of the files is content.
func healthy(t *testing.T, environ []string) {
	t.Helper()
	var out string
	err := fmt.Errorf("not asked")
	for end := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(end); {
		out, err = output(t, t.TempDir(), environ, "healthcheck")
	}
	if err != nil {
		t.Fatalf("healthcheck: %v:\n%s", err, out)
	}
}
