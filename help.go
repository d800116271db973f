package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

func usage(w io.Writer) {
	fmt.Fprint(w, "Anteroom signs people in with Nextcloud in front of any application.\n\nUsage: anteroom [--config FILE] [COMMAND]\n\n")
	writeColumns(w, shorts("", commands()))
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

// usage lists the words that may follow the command.
func (c command) usage(w io.Writer) {
	lead := "Usage: "
	for _, u := range c.lines() {
		fmt.Fprintf(w, "%s%s\n", lead, u)
		lead = "       "
	}
	fmt.Fprintf(w, "\n%s.\n", sentence(c.short))
	if c.about != "" {
		fmt.Fprintf(w, "\n%s\n", c.about)
	}
	fmt.Fprintln(w)
	writeColumns(w, shorts("", c.words))
	fmt.Fprintf(w, "\n'anteroom %s %s --help' says more about it.\n", c.name, c.words[0].name)
}

// lines are the ways in which the command can be written.
func (c command) lines() []string {
	var all []string
	if c.run != nil {
		all = append(all, strings.TrimSpace("anteroom "+c.name+" "+c.args))
	}
	for _, w := range c.words {
		all = append(all, strings.TrimSpace("anteroom "+c.name+" "+w.name+" "+w.args))
	}
	return all
}

// invoked is a command or one of its words as it is typed: "sessions list".
type invoked struct {
	path string
	command
}

// invocations are all commands that can be run, in the order of the table.
func invocations() []invoked {
	var all []invoked
	for _, c := range commands() {
		if c.run != nil {
			all = append(all, invoked{c.name, c})
		}
		for _, w := range c.words {
			all = append(all, invoked{c.name + " " + w.name, w})
		}
	}
	return all
}

// flagsOf are the flags of a command that are shown, by name. The command is
// begun, and stops where it would parse its arguments.
func (i invoked) flagsOf() (shown []*flag.Flag) {
	sys := system{Out: io.Discard, Err: io.Discard, looked: func(fs *flagSet) { shown = fs.shown() }}
	_ = i.run(context.Background(), nil, sys) // nothing of it runs
	return shown
}

// flagSet is the flags of one command. Help goes to the output, a fault is
// returned.
type flagSet struct {
	*flag.FlagSet
	path, about string
	sys         system
}

// flags makes the flags of a command, with --config. about says more than the
// table's line.
func flags(path, about string, sys system) (*flagSet, *string) {
	fs := &flagSet{FlagSet: flag.NewFlagSet("anteroom "+path, flag.ContinueOnError), path: path, about: about, sys: sys}
	fs.SetOutput(io.Discard)
	fs.FlagSet.Usage = func() {}
	file, _ := sys.lookup("ANTEROOM_CONFIG")
	config := fs.String("config", file, "the configuration `FILE` (or ANTEROOM_CONFIG; else config.yaml, if there is one)")
	fs.Lookup("config").DefValue = ""
	return fs, config
}

// unconfigured is flags for a command that reads no configuration: --config may
// stand before it all the same, and help does not speak of it.
func unconfigured(path, about string, sys system) *flagSet {
	fs, _ := flags(path, about, sys)
	fs.Lookup("config").Usage = ""
	return fs
}

// Parse parses flags up to the first argument that is none. It writes the help
// that is asked for and returns flag.ErrHelp then.
func (fs *flagSet) Parse(args []string) error {
	if fs.sys.looked != nil {
		fs.sys.looked(fs)
		return flag.ErrHelp
	}
	err := fs.FlagSet.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fs.help(fs.sys.Out)
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w (see %s --help)", fs.path, err, fs.Name())
	}
	return nil
}

func (fs *flagSet) shown() (all []*flag.Flag) {
	fs.VisitAll(func(f *flag.Flag) {
		if f.Usage != "" {
			all = append(all, f)
		}
	})
	return all
}

func (fs *flagSet) help(w io.Writer) {
	i := slices.IndexFunc(invocations(), func(i invoked) bool { return i.path == fs.path })
	fmt.Fprintf(w, "Usage: %s\n\n%s\n", strings.TrimSpace(fs.Name()+" "+invocations()[i].args), sentence(fs.about))
	if all := fs.shown(); len(all) > 0 {
		fmt.Fprintln(w)
		writeFlags(w, all)
	}
}

func writeFlags(w io.Writer, all []*flag.Flag) {
	var rows [][2]string
	for _, f := range all {
		takes, text := flagText(f)
		rows = append(rows, [2]string{strings.TrimSpace("--" + f.Name + " " + takes), text})
	}
	writeColumns(w, rows)
}

// flagText is what a flag takes, "" for nothing, and what it is for.
func flagText(f *flag.Flag) (takes, text string) {
	takes, text = flag.UnquoteUsage(f)
	text = strings.TrimPrefix(text, takes+": ") // a placeholder that stands before the text
	switch f.DefValue {
	case "", "0", "false":
	default:
		text += " (default " + f.DefValue + ")"
	}
	return takes, text
}

// choices are the words that a flag or an argument may be, where its
// placeholder lists them: oidc|nextcloud.
func choices(takes string) []string {
	if !strings.Contains(takes, "|") || strings.ContainsAny(takes, " []") {
		return nil
	}
	return strings.Split(takes, "|")
}

func shorts(before string, list []command) (rows [][2]string) {
	for _, c := range list {
		args := c.args
		if len(c.words) > 0 {
			var names []string
			for _, w := range c.words {
				names = append(names, w.name)
			}
			if args = strings.Join(names, " | "); c.run != nil {
				args = "[" + args + "]"
			}
		}
		rows = append(rows, [2]string{strings.TrimSpace(before + c.name + " " + args), c.short})
	}
	return rows
}

// writeColumns writes rows of two columns; a first one that is too wide has a
// line to itself.
func writeColumns(w io.Writer, rows [][2]string) {
	const most = 32
	width := 0
	for _, r := range rows {
		if len(r[0]) <= most {
			width = max(width, len(r[0]))
		}
	}
	for _, r := range rows {
		if len(r[0]) > width {
			fmt.Fprintf(w, "  %s\n", r[0])
			r[0] = ""
		}
		for n, line := range wrapped(r[1], 96-width) {
			if n > 0 {
				r[0] = ""
			}
			fmt.Fprintf(w, "  %-*s  %s\n", width, r[0], line)
		}
	}
}

// wrapped breaks a text between words.
func wrapped(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}

// sentence begins with a capital.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
