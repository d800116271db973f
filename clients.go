package main

import (
	"context"
	"fmt"

	"anteroom/proxy/authn"
)

// clients makes a secret for a program that calls in. It is shown once; the
// configuration has its hash.
func clients(_ context.Context, args []string, sys system) error {
	if len(args) == 0 || args[0] != "new" {
		fmt.Fprint(sys.Err, "anteroom clients new NAME    a random secret for a program that calls in, and its lines for the configuration\n")
		return errSaid
	}
	fs, _ := flags("clients new NAME", "make a secret for a program that calls in, and print it with its lines for the configuration", sys)
	args = args[1:]
	name := ""
	if len(args) > 0 && !isHelp(args[0]) {
		name, args = args[0], args[1:]
	}
	if err := parse(fs, args); err != nil {
		return err
	}
	if problem := clientNameProblem(name); problem != "" {
		return fmt.Errorf("the name %s", problem)
	}
	secret, hash := authn.NewSecret()
	fmt.Fprintf(sys.Err, "The secret of %s, which is not shown again; it comes with Basic, as the password of the user %s:\n", name, name)
	fmt.Fprintln(sys.Out, secret.Reveal())
	fmt.Fprintf(sys.Err, "\nFor the configuration:\n\nclients:\n  - name: %s\n    secret_hash: %s\n", name, hash)
	return nil
}
