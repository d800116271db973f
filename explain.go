package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"anteroom/proxy/forwardauth"
	"anteroom/session"
)

const explainAbout = `say which rule a request falls under, what it would be answered, and why. It
touches no network.

  anteroom explain GET /notes                         on the public URL's host
  anteroom explain POST https://wiki.example.com/admin/ --user ada --group staff`

// explain says what a request would be answered. It loads the configuration
// and touches nothing else.
func explain(_ context.Context, args []string, sys system) error {
	fs, file := flags("explain", explainAbout, sys)
	var given persons
	fs.Func("user", "suppose this `USER` (stable id) is signed in; one more supposes one more person", given.user)
	fs.Func("group", "suppose the person is in this `GROUP`; as often as there are groups", given.group)
	asJSON := fs.Bool("json", false, "print one JSON object")
	words, err := positional(fs, args)
	if err != nil {
		return err
	}
	switch {
	case len(words) < 2:
		return errors.New("explain: say a method and a URL, such as GET /notes")
	case len(words) > 2:
		return fmt.Errorf("explain: do not know what to do with %q", words[2])
	}
	cfg, places, err := configuredPlaced(*file, sys)
	if err != nil {
		return err
	}
	q, err := question(words[0], words[1], cfg.Server.PublicURL)
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	e, err := newExplanation(cfg, places, q, given)
	if err != nil {
		return err
	}
	if *asJSON {
		return e.writeJSON(sys.Out)
	}
	return e.writeText(sys.Out)
}

// positional parses flags wherever they stand and returns the other arguments.
func positional(fs *flagSet, args []string) (words []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		if fs.NArg() == 0 {
			return words, nil
		}
		words, args = append(words, fs.Arg(0)), fs.Args()[1:]
	}
}

// persons are the people that --user and --group suppose. A second --user
// begins a second person.
type persons []*session.Identity

func (p *persons) user(id string) error {
	if id == "" {
		return errors.New("name somebody")
	}
	if len(*p) == 0 || p.last().Subject != "" {
		*p = append(*p, &session.Identity{})
	}
	p.last().Subject, p.last().Username = id, id
	return nil
}

func (p *persons) group(name string) error {
	if name == "" {
		return errors.New("name a group")
	}
	if len(*p) == 0 {
		*p = append(*p, &session.Identity{})
	}
	if !slices.Contains(p.last().Groups, name) {
		p.last().Groups = append(p.last().Groups, name)
	}
	return nil
}

func (p *persons) last() *session.Identity { return (*p)[len(*p)-1] }

// maxAsked is the longest URL that is explained, in bytes.
const maxAsked = 32 << 10

// question is the request that a method and a URL mean. A path means one on
// the public URL. What of it cannot be in a request is an error; what is only
// odd is for the rules to judge, byte for byte.
func question(method, address, public string) (q forwardauth.Asked, err error) {
	switch {
	case !isToken(method):
		return q, fmt.Errorf("%s is no method; write one such as GET", quoted(method))
	case len(address) > maxAsked:
		return q, fmt.Errorf("the URL is longer than %d KiB", maxAsked>>10)
	case strings.ContainsAny(address, " \t\r\n"):
		return q, fmt.Errorf("%s has a space in it; write %%20", quoted(address))
	}
	if strings.HasPrefix(address, "/") {
		address = public + address
	}
	q.Method = method
	scheme, rest, ok := strings.Cut(address, "://")
	if q.Proto = strings.ToLower(scheme); !ok || q.Proto != "http" && q.Proto != "https" {
		return q, fmt.Errorf("%s is no URL; write a path such as /notes, or all of it: https://app.example.com/notes", quoted(address))
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	q.Host, q.Target = rest[:end], rest[end:]
	if !strings.HasPrefix(q.Target, "/") {
		q.Target = "/" + q.Target
	}
	if strings.Contains(q.Host, "@") {
		return q, errors.New("the URL has an @ before its path; leave out the user")
	}
	if err := checkHost(strings.TrimSuffix(strings.Replace(q.Host, ".:", ":", 1), ".")); err != nil {
		return q, fmt.Errorf("the URL's host %w", err)
	}
	return q, nil
}
