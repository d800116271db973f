package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mdp/qrterminal/v3"

	"anteroom/integrations"
	"anteroom/session"
)

const connectAbout = `have Nextcloud make an app password for the service account, and keep it in a file.

It prints an address. Open it in a browser, sign in to Nextcloud as the service
account and grant access; the app password then goes straight into the file,
and is shown to nobody. See docs/connect.md.

'anteroom connect rotate' has Nextcloud exchange the app password in the file.`

// passwordFile is where an app password is kept, beside the configuration.
const passwordFile = "nextcloud-service-password" // #nosec G101 -- the name of a file

// connect obtains an app password by Nextcloud's Login Flow v2.
func connect(ctx context.Context, args []string, sys system) error {
	fs, file := flags("connect", connectAbout, sys)
	to := fs.String("to", "", "the `FILE` for the app password (default the one that the configuration has that account's password in, else "+passwordFile+" beside the configuration)")
	user := fs.String("user", "", "the `USER` that has to grant it (default the one of integrations.webdav.username and its like, if they agree)")
	force := fs.Bool("force", false, "replace a file that others may read, or that is another user's")
	if err := parse(fs, args); err != nil {
		return err
	}
	cfg, err := setUpSoFar(*file, sys)
	if err != nil {
		return err
	}
	c, err := newConnecting(cfg, sys)
	if err != nil {
		return err
	}
	c.user = cmp.Or(*user, agreedUser(cfg.Integrations))
	if c.file, err = openPasswordFile(cmp.Or(*to, agreedFile(cfg, c.user), filepath.Join(filepath.Dir(cmp.Or(*file, ".")), passwordFile)), *force); err != nil {
		return err
	}
	defer c.file.discard()
	return c.run(ctx)
}

// setUpSoFar loads the configuration of a set-up that need not be complete:
// what is to be obtained here may be all that it lacks. Only what is said of
// Nextcloud itself has to be right.
func setUpSoFar(file string, sys system) (*Config, error) {
	explicit := file != ""
	if !explicit {
		file = "config.yaml"
	}
	l, faults := loadAll(file, explicit, sys.lookup, sys.Environ)
	faults = slices.DeleteFunc(faults, func(f Fault) bool { return f.Key != "" && f.Key != "nextcloud" && !within(f.Key, "nextcloud") })
	if len(faults) > 0 {
		writeFaults(sys.Err, faults)
		return nil, errSaid
	}
	l.cfg.Nextcloud.URL = settled(l.cfg.Nextcloud.URL)
	settleIntegrations(&l.cfg.Integrations, l.cfg.Nextcloud.URL)
	return l.cfg, nil
}

// agreedUser is the one service account that the configuration names; "" where
// it names none, or several.
func agreedUser(i integrations.Config) string {
	var named []string
	for _, name := range []string{i.WebDAV.Username, i.CalDAV.Username, i.CardDAV.Username, i.Directory.Username} {
		if name != "" && !slices.Contains(named, name) {
			named = append(named, name)
		}
	}
	if len(named) == 1 {
		return named[0]
	}
	return ""
}

// agreedFile is the one file that the configuration has a user's password at
// Nextcloud in, whether it is there yet or not; "" where it names none, or
// several.
func agreedFile(cfg *Config, user string) string {
	var named []string
	for _, a := range serviceAccounts(cfg) {
		if a.here && a.user == user && a.user != "" && a.file != "" && !slices.Contains(named, a.file) {
			named = append(named, a.file)
		}
	}
	if len(named) == 1 {
		return named[0]
	}
	return ""
}

// connecting is one app password on its way.
type connecting struct {
	sys  system
	flow *integrations.LoginFlow
	user string // who has to grant it; "": anybody
	file *pendingFile
	wait *waiting
}

func newConnecting(cfg *Config, sys system) (*connecting, error) {
	base, err := url.Parse(cfg.Nextcloud.URL)
	if err != nil {
		return nil, fmt.Errorf("nextcloud.url: %w", err)
	}
	client, err := integrations.NewClient(cfg.Nextcloud)
	if err != nil {
		return nil, err
	}
	site := "service account"
	if u, err := url.Parse(cmp.Or(cfg.Server.PublicURL, cfg.SignIn.RedirectURI)); err == nil && u.Host != "" {
		site = u.Host + ", service account"
	}
	return &connecting{sys: sys, flow: integrations.NewLoginFlow(base, client, site), wait: newWaiting(sys.Err)}, nil
}

// run asks, waits, checks and keeps.
func (c *connecting) run(ctx context.Context) error {
	flow, err := c.flow.Start(ctx)
	if err != nil {
		return stopped(ctx, fmt.Errorf("connect: %w", err))
	}
	c.invite(flow)
	cred, err := c.granted(ctx, flow)
	if err != nil {
		return err
	}
	// From here on it is ours, and nobody else has it: it is kept before anything else.
	if err := c.file.write(cred.Secret); err != nil {
		return c.giveBack(ctx, cred, fmt.Errorf("connect: keeping the app password: %w", err))
	}
	owner, doubt, err := c.check(context.WithoutCancel(ctx), cred)
	if err != nil {
		return c.giveBack(ctx, cred, err)
	}
	if err := c.file.put(); err != nil {
		return c.giveBack(ctx, cred, fmt.Errorf("connect: keeping the app password: %w", err))
	}
	return c.say(cred.User, owner, doubt)
}

// invite says where it is granted.
func (c *connecting) invite(flow integrations.Flow) {
	whom := "the service account"
	if c.user != "" {
		whom = c.user
	}
	fmt.Fprintf(c.sys.Out, "Open this address in a browser, sign in to Nextcloud as %s, and grant access:\n\n  %s\n\n", harmless(whom), flow.Login)
	if isTerminal(c.sys.Out) {
		qrterminal.GenerateHalfBlock(flow.Login, qrterminal.L, c.sys.Out)
		io.WriteString(c.sys.Out, "\n")
	}
}

// How often Nextcloud is asked whether it was granted, and how long one
// question may take. An answer under way is waited for, whatever ends: Nextcloud
// tells the app password once.
const (
	askEvery = 2 * time.Second
	askLimit = 30 * time.Second

	leaveLimit = 5 * time.Second // for the last question
)

// granted waits until the app password was granted.
func (c *connecting) granted(ctx context.Context, flow integrations.Flow) (session.Credential, error) {
	end := time.Now().Add(integrations.FlowTime)
	c.wait.begin("Waiting until access is granted (Ctrl-C stops)")
	defer c.wait.end()
	lost := false
	for time.Now().Before(end) {
		if !c.wait.rest(ctx, askEvery) {
			return session.Credential{}, c.leave(ctx, flow)
		}
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), askLimit)
		cred, found, err := c.flow.Fetch(one, flow)
		cancel()
		switch {
		case errors.Is(err, integrations.ErrAway):
			lost = true
			c.wait.note("Nextcloud does not answer; still waiting")
		case err != nil:
			return session.Credential{}, fmt.Errorf("connect: %w", err)
		case found:
			return cred, nil
		default:
			c.wait.note("")
		}
	}
	text := "connect: nobody granted access within 20 minutes; nothing was written. Begin again"
	if lost {
		text += ". If it was granted, Nextcloud's answer got lost: delete that device in Nextcloud first (Personal settings, Security, Devices & sessions)"
	}
	return session.Credential{}, errors.New(text)
}

// leave looks a last time, so that what was granted just before somebody stopped
// us does not stay at Nextcloud.
func (c *connecting) leave(ctx context.Context, flow integrations.Flow) error {
	one, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveLimit)
	defer cancel()
	if cred, found, err := c.flow.Fetch(one, flow); err == nil && found {
		return c.giveBack(ctx, cred, stopped(ctx, nil))
	}
	return stopped(ctx, nil)
}

// stopped is what becomes of an error where somebody stopped us.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("connect: stopped; nothing was written, and what was asked for lapses at Nextcloud by itself within 20 minutes")
	}
	return err
}

// checkTries is how often a server that does not answer is asked.
const checkTries = 3

// check tries the new app password. doubt is why it could not be tried; an
// error is that it must not be kept.
func (c *connecting) check(ctx context.Context, cred session.Credential) (owner string, doubt, err error) {
	for try := range checkTries {
		if try > 0 {
			c.wait.rest(ctx, askEvery)
		}
		one, cancel := context.WithTimeout(ctx, askLimit)
		owner, err = c.flow.Owner(one, cred)
		if err == nil {
			err = c.flow.OpensDAV(one, cred)
		}
		cancel()
		if !errors.Is(err, integrations.ErrAway) {
			break
		}
	}
	switch {
	case errors.Is(err, integrations.ErrAway):
		return owner, err, nil
	case err != nil:
		return owner, nil, fmt.Errorf("connect: %w", err)
	case c.user != "" && c.user != cred.User && c.user != owner:
		return owner, nil, fmt.Errorf("connect: access was granted by %s, and has to be by %s: sign out of Nextcloud in that browser (or use a private window), and begin again; or say --user %s",
			harmless(cred.User), harmless(c.user), harmless(cred.User))
	case c.user != "" && c.user != cred.User:
		return owner, nil, c.byThatName(ctx, cred)
	}
	return owner, nil, nil
}

// byThatName refuses an app password that Nextcloud does not take with the name
// that it is to be used with: it takes one with the name that was signed in by.
func (c *connecting) byThatName(ctx context.Context, cred session.Credential) error {
	one, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	if _, err := c.flow.Owner(one, session.Credential{User: c.user, Secret: cred.Secret}); !errors.Is(err, integrations.ErrRefused) {
		return nil
	}
	return fmt.Errorf("connect: %s was signed in to Nextcloud as %s, and Nextcloud takes the app password with that name alone: sign in as %s, and begin again; or name %s as the service account's username, and say --user %s",
		harmless(c.user), harmless(cred.User), harmless(c.user), harmless(cred.User), harmless(cred.User))
}

// giveBack deletes an app password that is not kept, and tells if it could not.
func (c *connecting) giveBack(ctx context.Context, cred session.Credential, err error) error {
	one, cancel := context.WithTimeout(context.WithoutCancel(ctx), askLimit)
	defer cancel()
	if c.flow.Revoke(one, cred) != nil {
		return fmt.Errorf("%w. The app password could not be deleted again: do so in Nextcloud (Personal settings, Security, Devices & sessions)", err)
	}
	return err
}

// say tells what to do with the file.
func (c *connecting) say(login, owner string, doubt error) error {
	name := c.file.name
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	who := harmless(login)
	if owner != "" && owner != login {
		who += " (user id " + harmless(owner) + ")"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "The app password of %s is in %s.\n", who, name)
	if doubt != nil {
		b.WriteString("It could not be tried, for Nextcloud does not answer now: see 'anteroom doctor' later.\n")
	}
	if c.file.replaced {
		b.WriteString("An app password that the file had before stays good at Nextcloud: delete it there (Personal settings, Security, Devices & sessions).\n")
	}
	b.WriteString("\nSet, for what the service account is used for:\n\n")
	for _, prefix := range []string{"NEXTCLOUD_WEBDAV", "NEXTCLOUD_CALDAV"} {
		fmt.Fprintf(&b, "  %s_USERNAME=%s\n  %s_PASSWORD_FILE=%s\n", prefix, harmless(login), prefix, name)
	}
	fmt.Fprintf(&b, "\nor in the configuration, below integrations, webdav and caldav:\n\n  username: %q\n  password_file: %q\n\n", harmless(login), name)
	b.WriteString("and take out NEXTCLOUD_WEBDAV_PASSWORD and its like. A running server takes a changed file up by itself.\n")
	_, err := io.WriteString(c.sys.Out, b.String())
	return err
}
