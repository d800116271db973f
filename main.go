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
	os.Exit(1)
}

// system is what a command touches besides its arguments.
type system struct {
	Environ  []string
	Out, Err io.Writer
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

// command is one word after anteroom.
type command struct {
	name, args, short string
	run               func(ctx context.Context, args []string, sys system) error
}

func commands() []command {
	return []command{
		{"serve", "", "run the proxy (the default)", serve},
		{"demo", "[--provider oidc|nextcloud]", "try everything on this machine, with a pretend Nextcloud", runDemo},
		{"check", "[--print-config]", "load the configuration and say all that is wrong with it", check},
		{"connect", "[--to FILE] | rotate [--file FILE]", "have Nextcloud make, or exchange, the service account's app password", connect},
		{"doctor", "[--json]", "look whether everything works that is configured, and say what to do", runDoctor},
		{"explain", "METHOD URL [--user U] [--group G]", "say which rule a request falls under, what it would be answered, and why", explain},
		{"keys", "new [--jwt ALG] | rotate FILE", "make sealing and signing keys", keys},
		{"clients", "new NAME", "make a secret for a program that calls in", clients},
		{"sessions", "list | revoke", "list the sessions of all replicas, or end them", sessions},
		{"audit", "verify | find PATH | key", "say whether audit lines are whole, and find those about a path", auditCommand},
		{"healthcheck", "", "exit 0 if the admin listener says ready", healthcheck},
		{"version", "", "version, commit, Go version", version},
	}
}

// run runs one command of the line. flag.ErrHelp means that help was asked for
// and given.
func run(ctx context.Context, args []string, sys system) error {
	args, early := leadingConfig(args)
	name := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	if name == "help" || len(args) > 0 && isHelp(args[0]) && name == "serve" {
		usage(sys.Out)
		return flag.ErrHelp
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, append(early, args...), sys)
		}
	}
	usage(sys.Err)
	return fmt.Errorf("there is no command %q", name)
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

func usage(w io.Writer) {
	fmt.Fprint(w, "Anteroom signs people in with Nextcloud in front of any application.\n\nUsage: anteroom [--config FILE] [command]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-44s %s\n", strings.TrimSpace(c.name+" "+c.args), c.short)
	}
	fmt.Fprint(w, `
The configuration is config.yaml in the working directory, or --config FILE, or
ANTEROOM_CONFIG. Every key can be set in the environment instead: ANTEROOM_ and
the key in capitals (ANTEROOM_SESSION_IDLE_TIMEOUT). The smallest set-up:

  NEXTCLOUD_BASE_URL=https://cloud.example.com
  NEXTCLOUD_CLIENT_ID=... NEXTCLOUD_CLIENT_SECRET=...
  NEXTCLOUD_REDIRECT_URI=https://app.example.com/auth/callback
  ANTEROOM_UPSTREAM=http://localhost:8001

'anteroom COMMAND --help' says more about a command.
`)
}

// flags makes the flag set of a command, with --config.
func flags(name, about string, sys system) (*flag.FlagSet, *string) {
	fs := flag.NewFlagSet("anteroom "+name, flag.ContinueOnError)
	fs.SetOutput(sys.Err)
	file, _ := sys.lookup("ANTEROOM_CONFIG")
	config := fs.String("config", file, "configuration `FILE` (default config.yaml, if there is one)")
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "anteroom %s: %s\n\n", name, about)
		fs.PrintDefaults()
	}
	return fs, config
}

// parse parses a command's arguments and refuses what is left over.
func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errSaid // the flag package has said it
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%s: do not know what to do with %q", fs.Name(), fs.Arg(0))
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
