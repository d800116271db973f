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
	"anteroom/integrations/mail"
	"anteroom/session"
)

// leastRotation is how often passwords may be exchanged at most.
const leastRotation = time.Hour

// serviceAccount is an account that Anteroom has at a Nextcloud.
type serviceAccount struct {
	key, user string // the key is its password's
	secret    session.Secret
	file      string // that the password is in; "": in none
	here      bool   // it is for the Nextcloud of nextcloud.url
}

const mailPassword = "integrations.mail.password"

func serviceAccounts(cfg *Config) (all []serviceAccount) {
	i := &cfg.Integrations
	add := func(key, user, address string, secret session.Secret) {
		all = append(all, serviceAccount{key, user, secret, cfg.SecretFiles[key].Path, sameServer(address, cfg.Nextcloud.URL)})
	}
	add("integrations.webdav.password", i.WebDAV.Username, i.WebDAV.URL, i.WebDAV.Password)
	add("integrations.caldav.password", i.CalDAV.Username, i.CalDAV.URL, i.CalDAV.Password)
	add("integrations.carddav.password", i.CardDAV.Username, i.CardDAV.URL, i.CardDAV.Password)
	add("integrations.directory.password", i.Directory.Username, i.Directory.URL, i.Directory.Password)
	if i.Mail.Nextcloud != 0 {
		add(mailPassword, i.Mail.Username, i.Mail.AppURL, i.Mail.Password)
	}
	return all
}

func sameServer(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	return errX == nil && errY == nil && x.Scheme == y.Scheme && strings.EqualFold(x.Host, y.Host)
}

// heldPassword is a service account's password that follows its file.
type heldPassword struct {
	key  string // of the first that has it
	file *integrations.SecretFile
	asks func(ctx context.Context, client *http.Client, password session.Secret) error // whether the service takes another
}

// heldPasswords has service accounts' passwords follow their files. What is in
// one file, of one account at one server, follows it together.
func heldPasswords(cfg *Config, i *integrations.Config) (all []heldPassword) {
	type account struct{ path, user, server string }
	had := map[account]*integrations.SecretFile{}
	hold := func(name, user, server string, to **integrations.SecretFile, asks func(context.Context, *http.Client, session.Secret) error) {
		key := "integrations." + name + ".password"
		from, ok := cfg.SecretFiles[key]
		if !ok || user == "" {
			return
		}
		if u, err := url.Parse(server); err == nil {
			server = u.Scheme + "://" + strings.ToLower(u.Host)
		}
		at := account{from.Path, user, server}
		if had[at] == nil {
			had[at] = integrations.NewSecretFile(from.Path, from.Text, nil)
			all = append(all, heldPassword{key, had[at], asks})
		}
		*to = had[at]
	}
	dav := func(name string, d *integrations.DAV) { hold(name, d.Username, d.URL, &d.File, d.Takes) }
	dav("webdav", &i.WebDAV)
	dav("caldav", &i.CalDAV)
	dav("carddav", &i.CardDAV)
	asks := func(base, user string) func(context.Context, *http.Client, session.Secret) error {
		return func(ctx context.Context, client *http.Client, s session.Secret) error {
			return integrations.TakesUser(ctx, base, client, session.Credential{User: user, Secret: s})
		}
	}
	d, m := &i.Directory, &i.Mail
	hold("directory", d.Username, d.URL, &d.File, asks(d.URL, d.Username))
	if m.IMAP+m.SMTP == "" {
		hold("mail", m.Username, m.AppURL, &m.File, asks(m.AppURL, m.Username))
		return all
	}
	hold("mail", m.Username, m.IMAP+m.SMTP, &m.File, func(ctx context.Context, _ *http.Client, s session.Secret) error { return mail.Takes(ctx, *m, s) })
	return all
}

// rotations are those of every password file that Nextcloud can exchange, or of
// one, which has to be such a file.
// tried may be nil.
func rotations(cfg *Config, only string, client *http.Client, log *slog.Logger, tried func(done bool)) ([]*integrations.Rotation, []string, error) {
	base, err := url.Parse(cfg.Nextcloud.URL)
	if err != nil {
		return nil, nil, fmt.Errorf("nextcloud.url: %w", err)
	}
	users := map[string]serviceAccount{}
	accounts := serviceAccounts(cfg)
	var all []*integrations.Rotation
	var files []string
	for _, k := range accounts {
		before, twice := users[k.file]
		other := alsoIn(accounts, k)
		switch {
		case k.file == "" || k.user == "" || k.key == mailPassword:
			continue
		case only != "" && !sameFile(only, k.file):
			continue
		case !k.here && only != "":
			return nil, nil, fmt.Errorf("%s: its service is not at nextcloud.url, which alone is asked to exchange it", k.key)
		case !k.here:
			continue
		case twice && before.user != k.user:
			return nil, nil, fmt.Errorf("%s and %s are in one file for two users; give each a file", before.key, k.key)
		case other != "":
			return nil, nil, fmt.Errorf("%s is the app password of %s, and would be dead once that is exchanged; have it read from the same file (%s), or connect anew for one of them", other, k.key, k.file)
		case twice:
			continue
		}
		users[k.file] = k
		files = append(files, k.file)
		all = append(all, integrations.NewRotation(integrations.RotationOptions{Base: base, Client: client, User: k.user, Path: k.file, Log: log, Tried: tried}))
	}
	return all, files, nil
}

// alsoIn is the key of an account that has the password of another, and not from
// its file; "" where there is none. An exchange would leave it with a dead one.
func alsoIn(accounts []serviceAccount, k serviceAccount) string {
	for _, a := range accounts {
		if a.user == k.user && a.secret == k.secret && a.here && (a.file == "" || !sameFile(a.file, k.file)) {
			return a.key
		}
	}
	return ""
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
	if len(all) == 0 {
		h.log.Warn("integrations.rotate_every has nothing to exchange: no service account's password at nextcloud is in a file; see password_file, or NEXTCLOUD_WEBDAV_PASSWORD_FILE and its like")
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
