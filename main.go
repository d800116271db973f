// Anteroom stands in front of an application and signs people in with their
// Nextcloud. This file is the command line; the rooms are proxy (the request
// path), session (who is calling, and for how long) and integrations
// (Nextcloud for programs).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // events are in zones; an image need not have them
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], system{Environ: os.Environ(), Out: os.Stdout, Err: os.Stderr})
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return
	case errors.Is(err, errSaid):
	default:
		fmt.Fprintln(os.Stderr, "anteroom:", err)
	}
	os.Exit(exitCode(err))
}

// exitCode tells a service manager what a restart cannot mend: 78 is EX_CONFIG
// of sysexits.h. Everything else is 1.
func exitCode(err error) int {
	if errors.Is(err, errUnconfigured) {
		return 78
	}
	return 1
}

// system is what a command touches besides its arguments.
type system struct {
	Environ  []string
	Out, Err io.Writer
	looked   func(*flagSet) // not nil: a command shows its flags to it, and stops
}

// lookup finds an environment variable; an empty one counts as unset.
func (s system) lookup(name string) (string, bool) {
	for _, kv := range s.Environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v, v != ""
		}
	}
	return "", false
}

// errSaid is a failure that has already been explained to the user.
var errSaid = errors.New("failed")

// errUnconfigured is a configuration that cannot be served, as has been said.
var errUnconfigured = fmt.Errorf("the configuration cannot be used: %w", errSaid)

// command is one word after anteroom, or after another command. about is what
// help says besides of one that other words follow.
type command struct {
	name, args, short, about string

	run   func(ctx context.Context, args []string, sys system) error // nil: a word has to follow
	words []command
}

// commands is the table that the help, the completions and the manual are made
// of, too.
func commands() []command {
	return []command{
		{name: "serve", short: "run the proxy (the default)", run: serve},
		{name: "demo", args: "[--provider oidc|nextcloud]", short: "try everything on this machine, with a pretend Nextcloud", run: runDemo},
		{name: "check", args: "[--print-config]", short: "load the configuration and say all that is wrong with it", run: check},
		{name: "connect", args: "[--to FILE]", short: "have Nextcloud make, or exchange, the service account's app password", run: connect, words: []command{
			{name: "rotate", args: "[--file FILE]", short: "have Nextcloud exchange the app password in its file", run: connectRotate},
		}},
		{name: "doctor", args: "[--json]", short: "look whether everything works that is configured, and say what to do", run: runDoctor},
		{name: "explain", args: "METHOD URL [--user U] [--group G]", short: "say which rule a request falls under, what it would be answered, and why", run: explain},
		{name: "keys", short: "make sealing and signing keys", words: []command{
			{name: "new", args: "[--jwt ALG]", short: "a sealing key, for session.keys and audit.key; or signing keys, for identity.jwt.keys_file", run: newKey},
			{name: "rotate", args: "[--force] FILE", short: "the next signing key of FILE becomes the current one", run: rotateKeys},
		}},
		{name: "clients", short: "make a secret for a program that calls in", words: []command{
			{name: "new", args: "NAME [--group GROUP]...", short: "a random secret, and its lines for the configuration", run: newClient},
		}},
		{name: "sessions", short: "list the sessions of all replicas, or end them", about: sessionsAbout, words: []command{
			{name: "list", args: "[--user U] [--json]", short: "who is signed in, from where and since when", run: listSessions},
			{name: "revoke", args: "--user U | --id S | --all --yes", short: "end a person's sessions, one session, or every one", run: revokeSessions},
		}},
		{name: "audit", short: "say whether audit lines are whole, and find those about a path", about: "Without FILE the file that audit.output names is meant.", words: []command{
			{name: "verify", args: "[FILE]...", short: "the lines are as they were written: none changed, moved, repeated or missing", run: auditVerify},
			{name: "find", args: "[--below] [--file FILE]... PATH", short: "the lines about a path, also where names are hashed", run: auditFind},
			{name: "key", short: "the public key that verify takes where audit.key is not at hand", run: auditKey},
		}},
		{name: "healthcheck", short: "exit 0 if the admin listener says ready", run: healthcheck},
		{name: "completion", args: "bash|zsh|fish", short: "print what completes commands and flags in a shell", run: completion},
		{name: "man", args: "[config.yaml]", short: "print the manual page, or that of the configuration, for man", run: manual},
		{name: "version", short: "version, commit, Go version", run: version},
	}
}

// run runs one command of the line. flag.ErrHelp means that help was asked for
// and given.
func run(ctx context.Context, args []string, sys system) error {
	args, early := leadingConfig(args)
	name := "serve"
	switch {
	case len(args) > 0 && (args[0] == "--version" || args[0] == "-version"):
		name, args = "version", args[1:]
	case len(args) > 0 && isHelp(args[0]):
		name = "help"
		args = nil
	case len(args) > 0 && !strings.HasPrefix(args[0], "-"):
		name, args = args[0], args[1:]
	}
	if name == "help" && len(args) > 0 { // anteroom help sessions list
		return run(ctx, append(slices.Clone(args), "--help"), sys)
	}
	if name == "help" {
		usage(sys.Out)
		return flag.ErrHelp
	}
	var names []string
	for _, c := range commands() {
		if c.name == name {
			return c.start(ctx, args, early, sys)
		}
		names = append(names, c.name)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Errorf("there is no command %q; did you mean %s?", name, near)
	}
	return fmt.Errorf("there is no command %q; anteroom --help lists them", name)
}

// start runs the command or, where one follows, its word. early is what stood
// before the command.
func (c command) start(ctx context.Context, args, early []string, sys system) error {
	if len(c.words) == 0 {
		return c.run(ctx, append(early, args...), sys)
	}
	rest, between := leadingConfig(args)
	early = append(early, between...)
	for _, w := range c.words {
		if len(rest) > 0 && rest[0] == w.name {
			return w.run(ctx, append(early, rest[1:]...), sys)
		}
	}
	switch {
	case c.run != nil:
		return c.run(ctx, append(early, rest...), sys)
	case len(rest) > 0 && isHelp(rest[0]):
		c.usage(sys.Out)
		return flag.ErrHelp
	}
	c.usage(sys.Err)
	return errSaid
}

// leadingConfig lets --config stand before the command, too.
func leadingConfig(args []string) (rest, config []string) {
	switch {
	case len(args) > 1 && (args[0] == "--config" || args[0] == "-config"):
		return args[2:], args[:2]
	case len(args) > 0 && (strings.HasPrefix(args[0], "--config=") || strings.HasPrefix(args[0], "-config=")):
		return args[1:], args[:1]
	}
	return args, nil
}

func isHelp(arg string) bool { return arg == "-h" || arg == "--help" || arg == "-help" }

// parse parses a command's arguments and refuses what is left over.
func parse(fs *flagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%s: do not know what to do with %q", fs.path, fs.Arg(0))
	}
	return nil
}

// configured loads the configuration, or says everything that is wrong with it.
func configured(file string, sys system) (*Config, error) {
	cfg, _, err := configuredPlaced(file, sys)
	return cfg, err
}

// configuredPlaced is configured that tells, too, where each key was said.
func configuredPlaced(file string, sys system) (*Config, map[string]place, error) {
	explicit := file != ""
	if !explicit {
		file = "config.yaml"
	}
	cfg, places, faults := loadPlaced(file, explicit, sys.lookup, sys.Environ)
	if len(faults) > 0 {
		writeFaults(sys.Err, faults)
		return nil, nil, errSaid
	}
	return cfg, places, nil
}
