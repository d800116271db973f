package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"anteroom/demo"
)

const demoAbout = `run a pretend Nextcloud, a small application and Anteroom, all on this machine, and
say where to click. It needs no configuration and leaves nothing behind.`

// runDemo runs everything in one process on loopback, with no set-up.
func runDemo(ctx context.Context, args []string, sys system) error {
	fs := unconfigured("demo", demoAbout, sys)
	provider := fs.String("provider", "oidc", "`oidc|nextcloud`: how to sign in, by OpenID Connect or by Nextcloud's built-in OAuth2")
	listen := fs.String("listen", "localhost:8000", "`ADDRESS`: where Anteroom listens")
	cloudAt := fs.String("nextcloud-listen", "localhost:8080", "`ADDRESS`: where the pretend Nextcloud listens")
	appAt := fs.String("app-listen", "localhost:8001", "`ADDRESS`: where the application listens")
	alone := fs.Bool("app-only", false, "run the application alone, behind an Anteroom that is there already")
	issuer := fs.String("issuer", "http://localhost:8000", "`URL`: with --app-only: the site, who the JWT has to be from")
	jwks := fs.String("jwks", "http://localhost:8000/.well-known/jwks.json", "`URL`: with --app-only: where the JWT's keys are")
	if err := parse(fs, args); err != nil {
		return err
	}
	kinds := map[string]demo.OIDCVersion{"oidc": demo.OIDC20, "nextcloud": demo.NoOIDC}
	kind, ok := kinds[*provider]
	if !ok {
		return fmt.Errorf("demo: --provider is %q; say oidc or nextcloud", *provider)
	}
	if *alone {
		return runDemoApp(ctx, *appAt, demo.AppOptions{JWKSURL: *jwks, Issuer: *issuer}, sys)
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	d := &demonstration{sys: sys, site: "http://" + *listen}
	cloud, err := d.listen(*cloudAt, given["nextcloud-listen"])
	if err != nil {
		return err
	}
	app, err := d.listen(*appAt, given["app-listen"])
	if err != nil {
		cloud.Close()
		return err
	}
	return d.run(ctx, *listen, cloud, app, kind)
}

// runDemoApp runs the application alone, for a stack whose Nextcloud is real.
func runDemoApp(ctx context.Context, listen string, o demo.AppOptions, sys system) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(sys.Out, "The application listens at %s.\n", l.Addr())
	d := &demonstration{sys: sys}
	defer d.others.Wait()
	defer d.serve(l, demo.NewApp(o))()
	<-ctx.Done()
	return nil
}

// demonstration is the three servers of anteroom demo.
type demonstration struct {
	sys              system
	site, cloud, app string // URLs
	others           sync.WaitGroup
}

func (d *demonstration) run(ctx context.Context, listen string, cloudAt, appAt net.Listener, kind demo.OIDCVersion) error {
	d.cloud, d.app = localURL(cloudAt), localURL(appAt)
	client := demo.DefaultClients()[0]
	client.RedirectURIs = []string{d.site + "/auth/callback"}
	client.LogoutURIs = []string{d.site + "/auth/logout"}
	defer d.others.Wait()
	defer d.serve(cloudAt, demo.NewNextcloud(demo.Options{OIDC: kind, Clients: []demo.Client{client}}))()
	defer d.serve(appAt, demo.NewApp(demo.AppOptions{JWKSURL: d.site + "/.well-known/jwks.json", Issuer: d.site}))()
	cfg, err := d.config(listen, client)
	if err != nil {
		return err
	}
	err = serveConfig(ctx, cfg, d.sys, progress{started: func(net.Addr, net.Addr) { d.explain(kind) }, stopping: d.stopping})
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("demo: %w (another address: --listen localhost:8010)", err)
	}
	return err
}

// listen opens one of the other servers' addresses. Where nobody asked for
// just that one and it is taken, any other does.
func (d *demonstration) listen(addr string, asked bool) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) && !asked {
		l, err = net.Listen("tcp", "localhost:0")
	}
	if err != nil {
		return nil, fmt.Errorf("demo: %w (another address: see anteroom demo --help)", err)
	}
	return l, nil
}

// localURL is a listener's address as a browser on this machine names it.
func localURL(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "http://localhost:" + port
}

// serve runs one of the other servers until stop is called.
func (d *demonstration) serve(l net.Listener, h http.Handler) (stop func()) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	d.others.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(d.sys.Err, "anteroom: demo:", err)
		}
	})
	return func() { s.Close() }
}

// config is the smallest configuration there is, as an operator would put it
// into the environment: nothing of the machine's own counts here.
func (d *demonstration) config(listen string, client demo.Client) (*Config, error) {
	sys := d.sys
	sys.Environ = []string{
		"NEXTCLOUD_BASE_URL=" + d.cloud,
		"NEXTCLOUD_CLIENT_ID=" + client.ID,
		"NEXTCLOUD_CLIENT_SECRET=" + client.Secret,
		"NEXTCLOUD_REDIRECT_URI=" + d.site + "/auth/callback",
		"ANTEROOM_UPSTREAM=" + d.app,
		"ANTEROOM_INTEGRATIONS_WEBDAV_CREDENTIAL=user",
		"ANTEROOM_SERVER_LISTEN=" + listen,
		"ANTEROOM_SERVER_ADMIN_LISTEN=127.0.0.1:0",
		"ANTEROOM_SERVER_DRAIN_TIMEOUT=" + demoDrain.String(),
		"ANTEROOM_TELEMETRY_LOG_LEVEL=error",
		"ANTEROOM_TELEMETRY_LOG_FORMAT=text",
	}
	cfg, faults := loadConfig("", false, sys.lookup, sys.Environ)
	if len(faults) > 0 {
		writeFaults(sys.Err, faults)
		return nil, errSaid
	}
	return cfg, nil
}

// demoDrain is how long a stop waits for what the demo's page holds open.
const demoDrain = 3 * time.Second

// stopping says what a stop waits for, if for anything.
func (d *demonstration) stopping(requests int64) {
	if requests == 0 {
		return
	}
	fmt.Fprintf(d.sys.Out, "\nStopping: waiting for %s, %v at the most. Ctrl-C again ends at once.\n", number(requests, "request", "requests"), demoDrain)
}

func (d *demonstration) explain(kind demo.OIDCVersion) {
	browser := "after connecting on the account page,\n                  with the session of your browser, too"
	if kind == demo.NoOIDC {
		browser = "with the session of your browser, too"
	}
	fmt.Fprintf(d.sys.Out, `
Anteroom is running in front of a small application.

  1. Open         %s
  2. Sign in as   %s / %s   (at the pretend Nextcloud, %s)
  3. Look around  the application shows what it was told about you;
                  %s/auth/ is your account page
  4. Your files   curl -u %s:%s -T README.md %s/dav/files/%s/
                  or any WebDAV client; %s
  5. As JSON      curl -u %s:%s %s/integrations/files
                  and /integrations/openapi.json, with -u as well, says what else
                  there is

Ctrl-C stops everything, and nothing is kept. Below, the audit log says what
Anteroom decides.

`, d.site, demo.DefaultUser, demo.DefaultPassword, d.cloud, d.site,
		demo.DefaultUser, demo.DefaultPassword, d.site, demo.DefaultUser, browser,
		demo.DefaultUser, demo.DefaultPassword, d.site)
}
