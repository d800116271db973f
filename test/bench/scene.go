package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"anteroom/demo"
	"anteroom/test/person"
)

// scene is everything under measurement, running on loopback.
type scene struct {
	app, proxy string // addresses
	site       string
	cookie     string // of a signed-in person
	anteroom   *exec.Cmd
	program    string          // of it
	cloud      *demo.Nextcloud // that people sign in with
	cloudAt    string
	shared     twin // the same with session.store: redis
	asked      asked
	started    []*exec.Cmd
	nextcloud  *http.Server
	dir        string // Redis's, nginx's and the DAV server's
}

// twin is a second Anteroom that differs in one setting.
type twin struct{ site, cookie string }

func newScene(ctx context.Context, anteroom string) (*scene, error) {
	s := &scene{program: anteroom, app: freeAddr(), proxy: freeAddr(), site: freeAddr()}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	folder := filepath.Join(s.dir, "files")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	if _, err := s.start(ctx, nil, self, "app", s.app, folder); err != nil {
		return nil, err
	}
	if _, err := s.start(ctx, nil, self, "proxy", s.proxy, s.app); err != nil {
		return nil, err
	}
	for _, addr := range []string{s.app, s.proxy} {
		if err := await("http://" + addr + "/"); err != nil {
			s.end()
			return nil, err
		}
	}
	if err := s.startAnterooms(ctx, anteroom); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// startAnterooms starts the two Anterooms, and signs a person in at each.
func (s *scene) startAnterooms(ctx context.Context, anteroom string) (err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	cloud := demo.NewNextcloud(demo.Options{})
	s.nextcloud = &http.Server{Handler: cloud}
	s.cloud, s.cloudAt = cloud, l.Addr().String()
	go s.nextcloud.Serve(l)
	redis := freeAddr()
	if err := s.startRedis(ctx, redis); err != nil {
		return err
	}
	if s.anteroom, err = s.startAnteroom(ctx, anteroom, cloud, l.Addr().String(), s.site, s.davSettings()...); err != nil {
		return err
	}
	if s.cookie, err = signIn(s.site); err != nil {
		return err
	}
	s.shared.site = freeAddr()
	if _, err = s.startAnteroom(ctx, anteroom, cloud, l.Addr().String(), s.shared.site,
		"ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_REDIS_URL=redis://"+redis, "ANTEROOM_SESSION_KEYS=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="); err != nil {
		return err
	}
	if s.shared.cookie, err = signIn(s.shared.site); err != nil {
		return err
	}
	return s.startAsked(ctx, anteroom, cloud, l.Addr().String())
}

// startRedis starts a Redis that forgets.
func (s *scene) startRedis(ctx context.Context, addr string) error {
	host, port, _ := net.SplitHostPort(addr)
	if _, err := s.start(ctx, []string{}, "redis-server", "--bind", host, "--port", port, "--save", "", "--dir", s.dir); err != nil {
		return err
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
	}
	return fmt.Errorf("redis-server does not listen on %s", addr)
}

func (s *scene) startAnteroom(ctx context.Context, anteroom string, cloud *demo.Nextcloud, at, site string, env ...string) (*exec.Cmd, error) {
	client := demo.DefaultClients()[0]
	_, port, _ := net.SplitHostPort(site)
	public := "http://localhost:" + port
	cloud.AddRedirectURI(client.ID, public+"/auth/callback")
	admin := freeAddr()
	c, err := s.start(ctx, append([]string{
		"NEXTCLOUD_BASE_URL=http://" + at,
		"NEXTCLOUD_CLIENT_ID=" + client.ID, "NEXTCLOUD_CLIENT_SECRET=" + client.Secret,
		"NEXTCLOUD_REDIRECT_URI=" + public + "/auth/callback",
		"ANTEROOM_UPSTREAM=http://" + s.app,
		"ANTEROOM_SERVER_LISTEN=" + site, "ANTEROOM_SERVER_ADMIN_LISTEN=" + admin,
		"ANTEROOM_SERVER_HOSTS=" + site,
		"ANTEROOM_TELEMETRY_LOG_LEVEL=" + envOr("BENCH_LOG_LEVEL", "info"),
	}, env...), anteroom, "serve")
	if err != nil {
		return nil, err
	}
	return c, await("http://" + admin + "/readyz")
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// start starts a process whose output goes nowhere: what it costs to write is
// part of what is measured, what reads it is not.
func (s *scene) start(ctx context.Context, env []string, name string, args ...string) (*exec.Cmd, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), env...)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if env != nil {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		c.Stderr, c.Stdout = null, null
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	s.started = append(s.started, c)
	return c, nil
}

func (s *scene) end() {
	for _, c := range s.started {
		c.Process.Signal(syscall.SIGTERM) // nginx ends its workers then
		late := time.AfterFunc(2*time.Second, func() { c.Process.Kill() })
		c.Wait()
		late.Stop()
	}
	if s.nextcloud != nil {
		s.nextcloud.Close()
	}
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

// signIn signs testdoc in at a site and returns the cookies for wrk.
func signIn(at string) (cookie string, err error) {
	_, port, _ := net.SplitHostPort(at)
	site := "http://localhost:" + port
	p := person.New(map[string]string{"user": "testdoc", "password": "testdoc123"})
	page, err := p.SignIn(site+"/hello", "localhost:"+port)
	if err != nil || page.Status != http.StatusOK {
		if page, err = p.SignIn(site + "/auth/login?return_to=/hello"); err != nil {
			return "", fmt.Errorf("signing in: %w", err)
		}
	}
	u, _ := url.Parse(site)
	var cookies []string
	for _, c := range p.Client.Jar.Cookies(u) {
		if strings.HasPrefix(c.Name, "anteroom") && !strings.HasSuffix(c.Name, "_signin") {
			cookies = append(cookies, c.Name+"="+c.Value)
		}
	}
	if cookie = strings.Join(cookies, "; "); cookie == "" {
		return "", fmt.Errorf("signing in: ended at %s with status %d and no session", page.URL, page.Status)
	}
	return cookie, nil
}

func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// await waits until something answers without a server error, 15 s at most.
func await(address string) error {
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(address)
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode < 500 {
			return nil
		}
	}
	return fmt.Errorf("%s does not answer", address)
}
