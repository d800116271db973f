package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"anteroom/proxy/audit"
)

// texts is a flag that may be given several times.
type texts []string

func (t *texts) String() string     { return strings.Join(*t, ",") }
func (t *texts) Set(s string) error { *t = append(*t, s); return nil }

// auditVerify holds files against their chain and its signatures.
func auditVerify(_ context.Context, args []string, sys system) error {
	fs, file := flags("audit verify", "say whether audit lines are as they were written, and exit 1 if not. Without FILE those that\naudit.output names are meant. See docs/audit.md.", sys)
	var keys texts
	fs.Var(&keys, "key", "a public `KEY`, as 'anteroom audit key' prints it; several for files from before and after a change (default: of audit.key)")
	unsigned := fs.Bool("unsigned", false, "do not look at signatures; then who could write the file could have written it anew")
	sequence := fs.Int64("sequence", 0, "the `NUMBER` that the last line must at least have, as anteroom_audit_sequence says")
	if err := fs.Parse(args); err != nil {
		return err
	}
	cfg, files, err := auditFiles(*file, fs.Args(), sys)
	if err != nil {
		return err
	}
	p := audit.Proof{Sequence: *sequence}
	for _, text := range keys {
		k, err := audit.ParsePublicKey(text)
		if err != nil {
			return err
		}
		p.Keys = append(p.Keys, k)
	}
	switch {
	case *unsigned && len(keys) > 0:
		return errors.New("--key and --unsigned exclude each other")
	case len(keys) == 0 && !*unsigned:
		if cfg == nil || cfg.Audit.Key == "" {
			return errors.New("signatures cannot be verified: audit.key is not set; name the public key with --key, or look at the chain alone with --unsigned")
		}
		key, err := audit.ParseKey(cfg.Audit.Key)
		if err != nil {
			return fmt.Errorf("audit.key: %w", err)
		}
		p.Keys = []ed25519.PublicKey{audit.PublicKey(key)}
	}
	r, err := audit.Verify(files, p)
	if err != nil {
		return err
	}
	return reportAudit(r, p, sys.Out)
}

// reportAudit says what was found, in words.
func reportAudit(r *audit.Report, p audit.Proof, w io.Writer) error {
	for _, f := range r.Findings {
		fmt.Fprintln(w, f)
	}
	if more := r.FindCount - len(r.Findings); more > 0 {
		fmt.Fprintf(w, "… and %d more\n", more)
	}
	if r.Unended > 0 {
		fmt.Fprintf(w, "%s the program was killed, or lost power: lines of the last moment (audit.window) may never have been written.\n", times(r.Unended))
	}
	if r.Resumed > 0 {
		fmt.Fprintf(w, "%s had no signature when the program started again after a kill, and got one then: the lines open say which.\n", number(r.Resumed, "line", "lines"))
	}
	if r.Before > 0 {
		fmt.Fprintf(w, "%s in none of these files: rotated away, or taken.\n", number(r.Before, "line before them is", "lines before them are"))
	}
	signed := "; signatures were not looked at"
	if len(p.Keys) > 0 {
		after := "no line came after the last"
		if r.Unsigned > 0 {
			after = fmt.Sprintf("%s after the last, within %s", number(r.Unsigned, "line came", "lines came"), r.UnsignedFor.Round(time.Second))
		}
		signed = "; " + number(r.Signed, "signature holds", "signatures hold") + ", " + after
	}
	fmt.Fprintf(w, "%s, %s to %s, the last is number %d%s.\n", number(r.Lines, "line", "lines"), stamp(r.First), stamp(r.Last), r.Sequence, signed)
	if r.FindCount > 0 {
		fmt.Fprintf(w, "NOT as they were written: %s.\n", number(r.FindCount, "finding", "findings"))
		return errSaid
	}
	fmt.Fprintln(w, "All lines are as they were written.")
	return nil
}

func times(n int) string {
	if n == 1 {
		return "Once"
	}
	return fmt.Sprintf("%d times", n)
}

// number is a number and what it counts.
func number[N int | int64](n N, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Format(time.RFC3339)
}

// auditFind prints the lines about a path.
func auditFind(_ context.Context, args []string, sys system) error {
	fs, file := flags("audit find", "print the lines about a path, also where names are hashed. PATH is as in our URLs\n(/dav/Reports/x.pdf) or as Nextcloud has it (/Reports/x.pdf).", sys)
	below := fs.Bool("below", false, "also the lines about what is below it")
	var named texts
	fs.Var(&named, "file", "a `FILE` of audit lines; several are read in turn (default: that of audit.output)")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 || strings.Trim(fs.Arg(0), "/") == "" {
		return errors.New("name one path: anteroom audit find /Reports/x.pdf")
	}
	cfg, files, err := auditFiles(*file, named, sys)
	if err != nil {
		return err
	}
	var key []byte
	if cfg != nil {
		if key, err = audit.ParseKey(cfg.Audit.Key); err != nil {
			return fmt.Errorf("audit.key: %w", err)
		}
	}
	seeker, found := audit.NewSeeker(key, fs.Arg(0), *below), 0
	for _, name := range files {
		err := audit.EachLine(name, func(text []byte, _ bool) error {
			var e audit.Event
			if json.Unmarshal(text, &e) != nil || !seeker.Matches(e) {
				return nil
			}
			found++
			_, err := fmt.Fprintf(sys.Out, "%s\n", text)
			return err
		})
		if err != nil {
			return err
		}
	}
	if found == 0 {
		fmt.Fprintln(sys.Err, "no line is about it")
		return errSaid
	}
	return nil
}

// auditKey prints the public key.
func auditKey(_ context.Context, args []string, sys system) error {
	fs, file := flags("audit key", "print the public key of audit.key, for 'anteroom audit verify --key'.", sys)
	if err := parse(fs, args); err != nil {
		return err
	}
	cfg, err := configured(*file, sys)
	if err != nil {
		return err
	}
	key, err := audit.ParseKey(cfg.Audit.Key)
	if err != nil {
		return fmt.Errorf("audit.key: %w", err)
	}
	if key == nil {
		return errors.New("audit.key is not set; make one with 'anteroom keys new'")
	}
	fmt.Fprintln(sys.Out, audit.FormatPublicKey(audit.PublicKey(key)))
	return nil
}

// auditFiles are the files that are meant. cfg is nil where they were named and
// there is no configuration: an auditor needs none.
func auditFiles(file string, named []string, sys system) (cfg *Config, files []string, err error) {
	if len(named) > 0 {
		quiet := sys
		quiet.Err = io.Discard
		if cfg, err = configured(file, quiet); err != nil && file != "" {
			cfg, err = configured(file, sys) // says what is wrong
			return cfg, nil, err
		}
		return cfg, named, nil
	}
	if cfg, err = configured(file, sys); err != nil {
		return nil, nil, err
	}
	if !audit.IsFile(cfg.Audit.Output) {
		return nil, nil, fmt.Errorf("audit.output is %s, no file: name the files that it was kept in", cfg.Audit.Output)
	}
	return cfg, []string{cfg.Audit.Output}, nil
}
