package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/integrations"
	"anteroom/session"
)

// leastRotation is how often passwords may be exchanged at most.
const leastRotation = time.Hour

// keptPassword is a service account's password in a file.
type keptPassword struct {
	key, user string
	file      string
	here      bool // it is for the Nextcloud of nextcloud.url
}

// keptPasswords are those of service accounts that are in use.
func keptPasswords(cfg *Config) (kept []keptPassword) {
	i := &cfg.Integrations
	add := func(name, user, address string) {
		key := "integrations." + name + ".password"
		if file, ok := cfg.SecretFiles[key]; ok && user != "" {
			kept = append(kept, keptPassword{key, user, file, sameServer(address, cfg.Nextcloud.URL)})
		}
	}
	add("webdav", i.WebDAV.Username, i.WebDAV.URL)
	add("caldav", i.CalDAV.Username, i.CalDAV.URL)
	add("carddav", i.CardDAV.Username, i.CardDAV.URL)
	add("directory", i.Directory.Username, i.Directory.URL)
	return kept
}

func sameServer(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	return errX == nil && errY == nil && x.Scheme == y.Scheme && strings.EqualFold(x.Host, y.Host)
}

// liveSecrets is the section "integrations" with passwords that follow their
// files; those in one file follow it together.
func liveSecrets(cfg *Config, log *slog.Logger) integrations.Config {
	i := cfg.Integrations
	files := map[string]*integrations.SecretFile{}
	follow := func(name string, read session.Secret, to **integrations.SecretFile) {
		path, ok := cfg.SecretFiles["integrations."+name+".password"]
		if !ok {
			return
		}
		if files[path] == nil {
			files[path] = integrations.NewSecretFile(path, read, log, nil)
		}
		*to = files[path]
	}
	follow("webdav", i.WebDAV.Password, &i.WebDAV.File)
	follow("caldav", i.CalDAV.Password, &i.CalDAV.File)
	follow("carddav", i.CardDAV.Password, &i.CardDAV.File)
	follow("directory", i.Directory.Password, &i.Directory.File)
	follow("mail", i.Mail.Password, &i.Mail.File)
	return i
}

// rotations are those of every password file that can be rotated, or of one.
// tried may be nil.
func rotations(cfg *Config, only string, client *http.Client, log *slog.Logger, tried func(done bool)) ([]*integrations.Rotation, []string, error) {
	base, err := url.Parse(cfg.Nextcloud.URL)
	if err != nil {
		return nil, nil, fmt.Errorf("nextcloud.url: %w", err)
	}
	users := map[string]keptPassword{}
	var all []*integrations.Rotation
	var files []string
	for _, k := range keptPasswords(cfg) {
		before, twice := users[k.file]
		switch {
		case only != "" && !sameFile(only, k.file):
			continue
		case !k.here:
			return nil, nil, fmt.Errorf("%s: its service is not at nextcloud.url, which alone is asked to exchange it", k.key)
		case twice && before.user != k.user:
			return nil, nil, fmt.Errorf("%s and %s are in one file for two users; give each a file", before.key, k.key)
		case twice:
			continue
		}
		users[k.file] = k
		files = append(files, k.file)
		all = append(all, integrations.NewRotation(integrations.RotationOptions{Base: base, Client: client, User: k.user, Path: k.file, Log: log, Tried: tried}))
	}
	return all, files, nil
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return filepath.Clean(a) == filepath.Clean(b) || errX == nil && errY == nil && os.SameFile(x, y)
}

// connectRotate has Nextcloud exchange the app passwords in their files.
func connectRotate(ctx context.Context, args []string, sys system) error {
	fs, file := flags("connect rotate", "have Nextcloud exchange the service account's app passwords that are in files (password_file).", sys)
	only := fs.String("file", "", "exchange the one in this `FILE` alone")
	if err := parse(fs, args); err != nil {
		return err
	}
	cfg, err := configured(*file, sys)
	if err != nil {
		return err
	}
	client, err := integrations.NewClient(cfg.Nextcloud)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	all, files, err := rotations(cfg, *only, client, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("connect rotate: no service account's password is in such a file; see password_file, or NEXTCLOUD_WEBDAV_PASSWORD_FILE and its like")
	}
	for i, r := range all {
		how, err := r.Rotate(ctx, 0)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", files[i], err)
		case how == integrations.RotatedElsewhere:
			return fmt.Errorf("%s: another process is exchanging it at this moment", files[i])
		case how == integrations.RotatedBefore:
			fmt.Fprintf(sys.Out, "%s: an exchange that had been broken off is finished; running servers take it up within seconds.\n", files[i])
		default:
			fmt.Fprintf(sys.Out, "%s: exchanged; the old app password is dead, and running servers take the new one up within seconds.\n", files[i])
		}
	}
	return nil
}

// rotating are what exchanges passwords while the server runs.
func (h *house) rotating() (run []func(context.Context)) {
	every := h.cfg.Integrations.RotateEvery
	if every == 0 {
		return nil
	}
	all, _, err := rotations(h.cfg, "", h.nextcloud, h.log, countRotations(h.registry))
	if err != nil {
		h.log.Error("app passwords are not rotated", "error", err)
		return nil
	}
	for _, r := range all {
		run = append(run, func(ctx context.Context) { r.Run(ctx, every) })
	}
	return run
}

// countRotations registers a counter of exchanges that were tried, and returns
// what counts them.
func countRotations(reg prometheus.Registerer) func(done bool) {
	counted := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "anteroom_rotations_total", Help: "Exchanges of service accounts' app passwords that were tried (integrations.rotate_every), by result.",
	}, []string{"result"})
	reg.MustRegister(counted)
	done, failed := counted.WithLabelValues("done"), counted.WithLabelValues("failed")
	return func(ok bool) {
		if ok {
			done.Inc()
		} else {
			failed.Inc()
		}
	}
}
