package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"anteroom/proxy"
)

// serve runs the proxy until ctx is done.
func serve(ctx context.Context, args []string, sys system) error {
	fs, file := flags("serve", "run the proxy, until SIGTERM or SIGINT. SIGHUP has it open the audit file anew. It exits with 78\nif the configuration cannot be used.", sys)
	if err := parse(fs, args); err != nil {
		return err
	}
	cfg, err := configured(*file, sys)
	if err != nil {
		return errUnconfigured
	}
	if _, set := sys.lookup("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	return serveConfig(ctx, cfg, sys, nil)
}

// gcPercent spends memory, of which a proxy holds little, on fewer collections:
// at Go's own 100 a heap of a few MiB is collected hundreds of times a second
// under load, which costs a sixth of the throughput ("make bench" with GOGC=100).
const gcPercent = 400

// serveConfig runs the proxy with a configuration. started, if not nil, is
// told the addresses once the listeners are open.
func serveConfig(ctx context.Context, cfg *Config, sys system, started func(site, admin net.Addr)) error {
	lines := newLineBuffer(sys.Err)
	log := newLog(cfg.Telemetry, lines)
	h, err := build(cfg, log, sys)
	if err != nil {
		return err
	}
	defer h.audit.Close()
	logging, stopLogging := context.WithCancel(context.Background())
	logged := make(chan struct{})
	go func() { lines.Run(logging); close(logged) }()
	defer func() { stopLogging(); <-logged }()
	site, err := net.Listen("tcp", cfg.Server.Listen)
	if err != nil {
		return fmt.Errorf("server.listen: %w", err)
	}
	admin, err := net.Listen("tcp", cfg.Server.AdminListen)
	if err != nil {
		site.Close()
		return fmt.Errorf("server.admin_listen: %w", err)
	}
	asked, err := h.listenExtAuthz()
	if err != nil {
		site.Close()
		admin.Close()
		return err
	}
	log.Info("listening", "site", site.Addr().String(), "admin", admin.Addr().String(), "public_url", cfg.Server.PublicURL, "nextcloud", cfg.Nextcloud.URL)
	if started != nil {
		started(site.Addr(), admin.Addr())
	}
	manager := newNotifier(sys, log)
	manager.say("READY=1\nSTATUS=Serving " + cfg.Server.PublicURL)
	stopping := context.AfterFunc(ctx, func() { manager.say("STOPPING=1\nSTATUS=Finishing requests under way") })
	defer stopping()
	watched := make(chan struct{})
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	go func() { manager.watch(watching, admin.Addr()); close(watched) }()
	defer func() { stopWatching(); <-watched }()
	return h.run(ctx, site, admin, asked)
}

// listenExtAuthz opens the listener for Envoy; nil where none is configured.
func (h *house) listenExtAuthz() (net.Listener, error) {
	address := h.cfg.Server.ExtAuthzListen
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("server.ext_authz_listen: %w", err)
	}
	h.log.Info("listening for Envoy", "ext_authz", l.Addr().String())
	return l, nil
}

// run serves the listeners until ctx is done, then drains. asked may be nil.
func (h *house) run(ctx context.Context, site, admin, asked net.Listener) error {
	background, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for _, f := range append(h.rotating(), h.signIn.Run, h.sessions.Run, h.keys.Run, h.secrets.run) {
		work.Go(func() { f(background) })
	}
	checks := append(h.checks, proxy.Check{Name: "nextcloud", Err: h.signIn.Ready})
	adminServer := &http.Server{
		Handler:           h.server.Admin(checks, h.registry, (&checkUp{cfg: h.cfg}).look),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
	work.Go(func() { h.reopening(background) })
	work.Go(func() { h.watch.Run(background) })
	if h.trace != nil {
		work.Go(func() { h.trace.Run(background) })
	}
	failed := make(chan error, 3)
	work.Go(func() { failed <- h.server.Serve(site) })
	work.Go(func() { failed <- notClosed(adminServer.Serve(proxy.AdminListener(admin))) })
	if asked != nil {
		work.Go(func() { failed <- h.server.ServeExtAuthz(asked, checks) })
	}

	var err error
	select {
	case <-ctx.Done():
		h.log.Info("stopping", "drain_timeout", h.cfg.Server.DrainTimeout.String())
	case err = <-failed:
	}
	drain, cancel := context.WithTimeout(context.Background(), h.cfg.Server.DrainTimeout)
	defer cancel()
	if e := h.server.Shutdown(drain); e != nil {
		h.log.Warn("stopped with requests under way", "error", e)
	}
	renewals, cancelRenewals := context.WithTimeout(context.Background(), renewalsTime)
	defer cancelRenewals()
	h.sessions.Close(renewals)
	stop()
	adminServer.Close()
	work.Wait()
	if h.closeStore != nil {
		h.closeStore()
	}
	h.log.Info("stopped")
	return err
}

// renewalsTime is how long a stop waits for tokens that the provider may have
// rotated already.
const renewalsTime = 5 * time.Second

// reopening opens the audit file anew when asked to, as programs that rotate
// logs do.
func (h *house) reopening(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-hup:
			if err := h.audit.Reopen(); err != nil {
				h.log.Error("the audit file was not opened anew; the old one goes on", "error", err)
			} else {
				h.log.Info("asked to open files anew")
			}
		case <-ctx.Done():
			return
		}
	}
}

func notClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// newLog makes the program's log.
func newLog(cfg TelemetryConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}
