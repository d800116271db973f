package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"anteroom/proxy/authn"
)

// newClient makes a secret for a program that calls in. It is shown once; the
// configuration has its hash.
func newClient(_ context.Context, args []string, sys system) error {
	fs := unconfigured("clients new", "make a secret for a program that calls in, and print it with its lines for the configuration.", sys)
	var groups []string
	fs.Func("group", "a `GROUP` it counts as a member of, in allow lists; may be said several times", func(g string) error {
		if g == "" {
			return errors.New("is empty")
		}
		groups = append(groups, g)
		return nil
	})
	words, err := positional(fs, args)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return errors.New("clients new: name the program (anteroom clients new NAME [--group GROUP]...)")
	}
	if len(words) > 1 {
		return fmt.Errorf("clients new: do not know what to do with %q", words[1])
	}
	name := strings.Join(words, "")
	if problem := clientNameProblem(name); problem != "" {
		return fmt.Errorf("the name %s", problem)
	}
	secret, hash := authn.NewSecret()
	lines, err := clientLines(name, hash, groups)
	if err != nil {
		return err
	}
	fmt.Fprintf(sys.Err, "The secret of %s, which is not shown again; it comes with Basic, as the password of the user %s:\n", name, name)
	fmt.Fprintln(sys.Out, secret.Reveal())
	fmt.Fprintf(sys.Err, "\nFor the configuration:\n\n%s", lines)
	return nil
}

// clientLines is a client as the configuration says it, quoted where YAML would
// read something else.
func clientLines(name, hash string, groups []string) (string, error) {
	type client struct {
		Name   string   `yaml:"name"`
		Hash   string   `yaml:"secret_hash"`
		Groups []string `yaml:"groups,omitempty,flow"`
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(map[string][]client{"clients": {{name, hash, groups}}}); err != nil {
		return "", fmt.Errorf("writing the configuration's lines: %w", err)
	}
	return b.String(), nil
}
