package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"anteroom/integrations"
	"anteroom/integrations/doctor"
	"anteroom/proxy"
	"anteroom/proxy/upstream"
	"anteroom/session"
	"anteroom/session/signin"
)

// doctorTime is how long the whole may take.
const doctorTime = 40 * time.Second

// runDoctor looks whether everything that Anteroom works with works.
func runDoctor(ctx context.Context, args []string, sys system) error {
	fs, file := flags("doctor", "look whether everything that Anteroom works with works, and say what to do where it does not;\nexit 1 if anything fails. See docs/doctor.md.", sys)
	asJSON := fs.Bool("json", false, "print one JSON array")
	if err := parse(fs, args); err != nil {
		return err
	}
	out := newReport(sys, *asJSON)
	cfg, faults := load(*file, sys)
	if len(faults) > 0 {
		out.add(doctor.Finding{Name: "configuration", State: doctor.Failed, Detail: said(faults), Remedy: "Mend these first; nothing else was looked at. anteroom check says them, too."})
		return out.end()
	}
	out.add(doctor.Finding{Name: "configuration", State: doctor.OK, Detail: "it can be used"})
	probes, done, err := examined(cfg)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	doctor.Run(ctx, probes, out.add)
	return out.end()
}

// load loads the configuration as every command does.
func load(file string, sys system) (*Config, []Fault) {
	explicit := file != ""
	if !explicit {
		file = "config.yaml"
	}
	cfg, _, faults := loadPlaced(file, explicit, sys.lookup, sys.Environ)
	return cfg, faults
}

func said(faults []Fault) string {
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// examined are all the probes there are for a configuration; done closes what
// they leave open.
func examined(cfg *Config) (all []doctor.Probe, done func(), err error) {
	public, err := url.Parse(cfg.Server.PublicURL)
	if err != nil {
		return nil, nil, fmt.Errorf("server.public_url: %w", err)
	}
	nextcloud, err := url.Parse(cfg.Nextcloud.URL)
	if err != nil {
		return nil, nil, fmt.Errorf("nextcloud.url: %w", err)
	}
	client, err := integrations.NewClient(cfg.Nextcloud)
	if err != nil {
		return nil, nil, err
	}
	codec, err := session.NewCodec(cfg.Session.Keys)
	if err != nil {
		return nil, nil, fmt.Errorf("session.keys: %w", err)
	}
	quiet := slog.New(slog.DiscardHandler)
	rp, err := signin.New(cfg.SignIn, signin.Options{Nextcloud: nextcloud, Public: public, Client: client, Codec: codec,
		Cookies: session.NewCookies(cfg.Session.Cookie, public.Scheme == "https"), Log: quiet})
	if err != nil {
		return nil, nil, err
	}
	p := &doctor.Patient{Nextcloud: cfg.Nextcloud, Integrations: cfg.Integrations, Client: client, Key: cfg.said, Now: time.Now}
	probes := append(p.Server(), p.SignIn(rp)...)
	probes = append(probes, p.Services()...)
	post, err := p.Mail()
	if err != nil {
		return nil, nil, err
	}
	probes = append(probes, post...)
	probes = append(probes, storeProbes(cfg)...)
	probes = append(probes, applicationProbes(cfg)...)
	front := &frontProxy{cfg: cfg, public: public, store: cfg.Session.Store}
	if len(cfg.Session.Keys) > 0 {
		front.seal = proxy.MirrorSealer(codec)
	}
	return append(probes, front.probes()...), client.CloseIdleConnections, nil
}

// keyAndVariable is a key and the environment variable that sets it.
func keyAndVariable(key string) string {
	if name := guideNameOf(key); name != "" {
		return key + " (" + name + ")"
	}
	return key + " (" + envName(key) + ")"
}

// said is a key as the operator says it: a secret in a file by that file's.
func (cfg *Config) said(key string) string {
	file, ok := cfg.SecretFiles[key]
	if !ok {
		return keyAndVariable(key)
	}
	variable := cmp.Or(guideNameOf(key), envName(key)) + "_FILE"
	exchanged := func(a serviceAccount) bool { return a.here && a.key == key }
	if integrations.Unfinished(file.Path) && slices.ContainsFunc(serviceAccounts(cfg), exchanged) {
		variable += "; an exchange of it was broken off: anteroom connect rotate brings that to an end"
	}
	return "the file of " + key + "_file (" + variable + ")"
}

// storeProbes look at where sessions are kept.
func storeProbes(cfg *Config) []doctor.Probe {
	if cfg.Session.Store != "redis" {
		return nil
	}
	return []doctor.Probe{{Name: "Redis", Look: func(ctx context.Context) doctor.Finding {
		r, err := session.OpenRedis(cfg.Session.Redis, session.RedisOptions{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return doctor.Finding{State: doctor.Failed, Detail: err.Error(), Remedy: "Check " + keyAndVariable("session.redis.url") + "."}
		}
		defer r.Close()
		return redisFinding(r.Examine(ctx))
	}}}
}

// slowRedis is more than a store on the way of requests should take.
const slowRedis = 20 * time.Millisecond

func redisFinding(h session.RedisHealth, err error) doctor.Finding {
	detail := fmt.Sprintf("version %s, answers in %v", h.Version, h.Latency.Round(10*time.Microsecond))
	switch {
	case err == nil && h.Version == "":
		return doctor.Finding{State: doctor.OK, Detail: fmt.Sprintf("answers in %v; its version and memory are not told to this user (+info)", h.Latency.Round(10*time.Microsecond))}
	case err != nil:
		return doctor.Finding{State: doctor.Failed, Detail: err.Error(), Remedy: "Check that Redis runs, and " + keyAndVariable("session.redis.url") + " with its user, password and TLS. An ACL user needs the commands in docs/sessions.md, on keys and channels that begin with session.redis.prefix."}
	case older(h.Version, 6, 2):
		return doctor.Finding{State: doctor.Failed, Detail: "version " + h.Version + " is too old", Remedy: "Use Redis 6.2 or newer."}
	case h.Limited && h.Policy != "noeviction" && !strings.HasPrefix(h.Policy, "volatile-ttl"):
		return doctor.Finding{State: doctor.Failed, Detail: detail + "; when its memory is full it drops sessions (maxmemory-policy " + h.Policy + ")", Remedy: "Set maxmemory-policy noeviction in redis.conf."}
	case !h.Append:
		return doctor.Finding{State: doctor.Warning, Detail: detail + "; it keeps no append-only file: a restart may lose the latest sessions", Remedy: "Set appendonly yes in redis.conf, unless losing sign-ins is of no matter."}
	case h.Copied && !h.Waits:
		return doctor.Finding{State: doctor.Warning, Detail: detail + "; it does not let us wait for its replicas: a failover may have a refresh token presented twice", Remedy: "Grant the user +wait, where this Redis has that command."}
	case h.Latency > slowRedis:
		return doctor.Finding{State: doctor.Warning, Detail: detail + ", which is slow", Remedy: "Run Redis nearer to Anteroom."}
	}
	return doctor.Finding{State: doctor.OK, Detail: detail}
}

func older(version string, major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(version, "%d.%d", &a, &b); err != nil {
		return false
	}
	return a < major || a == major && b < minor
}

// upstreamProbe begins the names of the probes of upstreams.
const upstreamProbe = "application at "

func isApplication(name string) bool { return strings.HasPrefix(name, upstreamProbe) }

// applicationProbes ask each upstream for its front page.
func applicationProbes(cfg *Config) (probes []doctor.Probe) {
	seen := map[string]bool{proxy.NoUpstream: true}
	for _, r := range cfg.Routes {
		if seen[r.Upstream] {
			continue
		}
		seen[r.Upstream] = true
		probes = append(probes, doctor.Probe{Name: upstreamProbe + shownURL(r.Upstream), Look: func(ctx context.Context) doctor.Finding {
			status, err := upstream.Ask(ctx, r.Upstream, 5*time.Second)
			switch {
			case err != nil:
				return doctor.Finding{State: doctor.Failed, Detail: "it does not answer", Remedy: "Start the application, and check " + keyAndVariable("upstream") + ", or the route's upstream. Within a container, localhost is the container itself."}
			case status >= 500:
				return doctor.Finding{State: doctor.Warning, Detail: fmt.Sprintf("it answers with an error (%d)", status), Remedy: "Look into the application's log."}
			case r.Upstream == cfg.Server.PublicURL:
				return doctor.Finding{State: doctor.Warning, Detail: "it is the site itself (server.public_url): requests come back here, in a circle", Remedy: "Set " + keyAndVariable("upstream") + ", or the route's upstream, to where the application listens, unless this machine knows the name as the application's."}
			}
			return doctor.Finding{State: doctor.OK, Detail: fmt.Sprintf("it answers (%d)", status)}
		}})
	}
	return probes
}

// shownURL is a URL without what may be secret in it.
func shownURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "its address"
	}
	return u.Redacted()
}

// report is what the doctor says, as it goes.
type report struct {
	out    io.Writer
	json   bool
	colour bool
	found  []doctor.Finding
}

func newReport(sys system, asJSON bool) *report {
	_, plain := sys.lookup("NO_COLOR")
	return &report{out: sys.Out, json: asJSON, colour: !plain && isTerminal(sys.Out)}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// signs are what stands before a line, and its colour.
var signs = map[doctor.State]struct{ sign, colour string }{
	doctor.OK: {"ok     ", "32"}, doctor.Warning: {"warning", "33"}, doctor.Failed: {"FAILED ", "1;31"}, doctor.Unknown: {"?      ", "36"}, doctor.Skipped: {"-      ", "2"},
}

func (r *report) add(f doctor.Finding) {
	r.found = append(r.found, f)
	if r.json {
		return
	}
	s := signs[f.State]
	sign := s.sign
	if r.colour {
		sign = "\x1b[" + s.colour + "m" + sign + "\x1b[0m"
	}
	fmt.Fprintf(r.out, "%s  %s: %s\n", sign, f.Name, indented(f.Detail))
	if f.Remedy != "" {
		fmt.Fprintf(r.out, "         → %s\n", indented(f.Remedy))
	}
}

// indented is a text whose further lines stand below its first, and that can do
// nothing to a terminal.
func indented(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = harmless(l)
	}
	return strings.Join(lines, "\n           ")
}

// end says how it all is; errSaid if something failed.
func (r *report) end() error {
	if r.json {
		e := json.NewEncoder(r.out)
		e.SetIndent("", "  ")
		if err := e.Encode(r.found); err != nil {
			return err
		}
	} else {
		count := map[doctor.State]int{}
		for _, f := range r.found {
			count[f.State]++
		}
		fmt.Fprintf(r.out, "\n%d in order, %d failed, %d to look at, %d not found out.\n", count[doctor.OK], count[doctor.Failed], count[doctor.Warning], count[doctor.Unknown]+count[doctor.Skipped])
	}
	if !doctor.Healthy(r.found) {
		return errSaid
	}
	return nil
}
