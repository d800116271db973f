package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"anteroom/proxy"
	"anteroom/session"
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
	return serveConfig(ctx, cfg, sys, progress{})
}

// gcPercent spends memory, of which a proxy holds little, on fewer collections:
// at Go's own 100 a heap of a few MiB is collected hundreds of times a second
// under load, which costs a sixth of the throughput ("make bench" with GOGC=100).
const gcPercent = 400

// progress is who is told how serving goes, besides the log.
type progress struct {
	started  func(site, admin net.Addr) // the listeners are open; nil: nobody is told
	stopping func(requests int64)       // so many are waited for; nil: nobody is told
}

// serveConfig runs the proxy with a configuration.
func serveConfig(ctx context.Context, cfg *Config, sys system, tell progress) error {
	on, err := openListeners(cfg.Server) // before anything is begun, and written down
	if err != nil {
		return err
	}
	lines := newLineBuffer(sys.Err)
	log := newLog(cfg.Telemetry, lines)
	defer hearPackages(log)()
	h, err := build(cfg, log, sys)
	if err != nil {
		on.close()
		return err
	}
	defer h.audit.Close()
	logging, stopLogging := context.WithCancel(context.Background())
	logged := make(chan struct{})
	go func() { lines.Run(logging); close(logged) }()
	defer func() { stopLogging(); <-logged }()
	log.Info("listening", "site", on.site.Addr().String(), "admin", on.admin.Addr().String(), "public_url", cfg.Server.PublicURL, "nextcloud", cfg.Nextcloud.URL)
	if on.asked != nil {
		log.Info("listening for Envoy", "ext_authz", on.asked.Addr().String())
	}
	if tell.started != nil {
		tell.started(on.site.Addr(), on.admin.Addr())
	}
	manager := newNotifier(sys, log)
	manager.say("READY=1\nSTATUS=Serving " + cfg.Server.PublicURL)
	stopping := context.AfterFunc(ctx, func() { manager.say("STOPPING=1\nSTATUS=Finishing requests under way") })
	defer stopping()
	watched := make(chan struct{})
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	go func() { manager.watch(watching, on.admin.Addr()); close(watched) }()
	defer func() { stopWatching(); <-watched }()
	return h.run(ctx, on, tell.stopping)
}

// listeners are what requests come in at.
type listeners struct {
	site, admin net.Listener
	asked       net.Listener // for Envoy; nil where none is configured
}

// openListeners opens them.
func openListeners(cfg proxy.Config) (on listeners, err error) {
	for _, l := range []struct {
		key, address string
		at           *net.Listener
	}{
		{"server.listen", cfg.Listen, &on.site},
		{"server.admin_listen", cfg.AdminListen, &on.admin},
		{"server.ext_authz_listen", cfg.ExtAuthzListen, &on.asked},
	} {
		if l.at == &on.asked && l.address == "" {
			continue
		}
		opened, err := net.Listen("tcp", l.address)
		if err != nil {
			on.close()
			return on, fmt.Errorf("%s: %w", l.key, err)
		}
		*l.at = opened
	}
	return on, nil
}

func (on listeners) close() {
	for _, l := range []net.Listener{on.site, on.admin, on.asked} {
		if l != nil {
			l.Close()
		}
	}
}

// run serves the listeners until ctx is done, then drains: requests under way,
// of which stopping is told, have server.drain_timeout to end, or until a signal
// comes again. stopping may be nil.
func (h *house) run(ctx context.Context, on listeners, stopping func(requests int64)) error {
	background, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for what, f := range map[string]func(context.Context){"finding the provider": h.signIn.Run, "looking after sessions": h.sessions.Run,
		"looking after signing keys": h.keys.Run, "following secrets": h.secrets.run, "reopening files": h.reopening, "watching": h.watch.Run} {
		work.Go(func() { session.Persist(background, h.log, what, f) })
	}
	for _, f := range h.rotating() {
		work.Go(func() { session.Persist(background, h.log, "rotating an app password", f) })
	}
	checks := append(h.checks, proxy.Check{Name: "nextcloud", Err: h.signIn.Ready, Lately: h.signIn.Answering})
	adminServer := &http.Server{
		Handler:           h.server.Admin(checks, h.registry, (&checkUp{cfg: h.cfg}).look),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
	if h.trace != nil {
		work.Go(func() { session.Persist(background, h.log, "sending spans", h.trace.Run) })
	}
	failed := make(chan error, 3)
	work.Go(func() { failed <- h.server.Serve(on.site) })
	work.Go(func() { failed <- notClosed(adminServer.Serve(proxy.AdminListener(on.admin))) })
	if on.asked != nil {
		work.Go(func() { failed <- h.server.ServeExtAuthz(on.asked, checks) })
	}

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	patient, deaf := askedAgain()
	defer deaf()
	if err == nil {
		n := h.server.UnderWay()
		h.log.Info("stopping", "requests", n, "drain_timeout", h.cfg.Server.DrainTimeout.String(), "hint", "a second SIGINT or SIGTERM ends them at once")
		if stopping != nil {
			stopping(n)
		}
	}
	drain, cancel := context.WithTimeout(patient, h.cfg.Server.DrainTimeout)
	defer cancel()
	if e := h.server.Shutdown(drain); e != nil {
		h.log.Warn("stopped with requests under way", "error", e)
	}
	renewals, cancelRenewals := context.WithTimeout(context.Background(), renewalsTime)
	defer cancelRenewals()
	defer context.AfterFunc(patient, func() { time.AfterFunc(hurriedTime, cancelRenewals) })()
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

// askedAgain is a context that a signal to stop ends. What comes right after the
// first one is the same: wrappers pass on what the terminal has sent already.
func askedAgain() (ctx context.Context, stop context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	again, begun := make(chan os.Signal, 1), time.Now()
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	go func() {
		for {
			select {
			case <-again:
				if time.Since(begun) >= sameSignal {
					cancel()
				}
			case <-ctx.Done():
				signal.Stop(again)
				return
			}
		}
	}()
	return ctx, cancel
}

// sameSignal is for how long further signals to stop are the first one.
const sameSignal = 300 * time.Millisecond

// renewalsTime is how long a stop waits for tokens that the provider may have
// rotated already.
const renewalsTime = 5 * time.Second

// hurriedTime is that where somebody asked for the end a second time.
const hurriedTime = time.Second

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

// hearPackages has the log say what packages say to that of the process, without
// what they quote: net/http shows there what a server sent that nobody had asked
// for. It returns what undoes that.
func hearPackages(log *slog.Logger) func() {
	before, flags := stdlog.Writer(), stdlog.Flags()
	stdlog.SetFlags(0)
	stdlog.SetOutput(packagesLog{log})
	return func() { stdlog.SetOutput(before); stdlog.SetFlags(flags) }
}

// packagesLog is what packages of Go write their lines to.
type packagesLog struct{ log *slog.Logger }

func (p packagesLog) Write(line []byte) (int, error) {
	p.log.Warn(session.WithoutQuoted(strings.TrimSpace(string(line))))
	return len(line), nil
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
