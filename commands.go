package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"anteroom/integrations"
	"anteroom/proxy"
	"anteroom/proxy/upstream"
	"anteroom/session"
)

// check loads the configuration and touches no network.
func check(_ context.Context, args []string, sys system) error {
	fs, file := flags("check", "load the configuration and say all that is wrong with it, with line, key and remedy; exit 1 if\nanything is. It touches no network.", sys)
	show := fs.Bool("print-config", false, "print the effective configuration, secrets redacted")
	if err := parse(fs, args); err != nil {
		return err
	}
	cfg, err := configured(*file, sys)
	if err != nil {
		return err
	}
	if *show {
		_, err = io.WriteString(sys.Out, redactedConfig(cfg))
		return err
	}
	to := cfg.Routes[len(cfg.Routes)-1].Upstream
	if to == proxy.NoUpstream {
		to = "front proxies that ask"
	}
	fmt.Fprintf(sys.Out, "The configuration is good: %s → %s, sign-in at %s.\n", cfg.Server.PublicURL, to, cfg.Nextcloud.URL)
	return nil
}

// newKey makes a sealing key, or a set of signing keys, and prints it.
func newKey(_ context.Context, args []string, sys system) error {
	fs := unconfigured("keys new", `make a key and print it: for session.keys and audit.key or, with --jwt, a private
JWK Set for identity.jwt.keys_file.`, sys)
	alg := fs.String("jwt", "", "`ES256|EdDSA|RS256`: make signing keys for this algorithm")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *alg != "" {
		set, err := upstream.NewKeySet(*alg)
		if err != nil {
			return err
		}
		fmt.Fprintf(sys.Out, "%s\n", set)
		return nil
	}
	key := make([]byte, session.KeyBytes)
	rand.Read(key)
	fmt.Fprintln(sys.Out, base64.StdEncoding.EncodeToString(key))
	return nil
}

// rotateKeys has the next signing key of a file sign.
func rotateKeys(_ context.Context, args []string, sys system) error {
	fs := unconfigured("keys rotate", "the next signing key of FILE, which 'anteroom keys new --jwt' made, becomes the\ncurrent one. See docs/rotation.md.", sys)
	force := fs.Bool("force", false, "rotate a file that was rotated less than ten minutes ago, too")
	words, err := positional(fs, args)
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return errors.New("keys rotate: name one file, that of identity.jwt.keys_file")
	}
	return rotateKeyFile(words[0], *force, sys)
}

// rotateRest is how long a next key has to have been published before it signs:
// applications keep the set for five minutes, and replicas may get the file two
// minutes apart. It is as well what keeps a key published that signed.
const rotateRest = 10 * time.Minute

// rotateKeyFile replaces the file in one step, so that no reader sees half of it.
func rotateKeyFile(file string, force bool, sys system) error {
	old, _, err := session.ReadFile(file, maxConfigBytes)
	if err != nil {
		return fmt.Errorf("rotating keys of %s: %w", file, err)
	}
	like, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("rotating keys of %s: %w", file, err)
	}
	if left := rotateRest - time.Since(upstream.RotatedAt(old)); left > 0 && !force {
		return fmt.Errorf("keys rotate: %s was rotated %s ago: applications may not know its next key yet; wait %s, or write --force", file, (rotateRest - left).Round(time.Second), left.Round(time.Second))
	}
	set, err := upstream.RotateKeySet(old)
	if err != nil {
		return fmt.Errorf("rotating keys of %s: %w", file, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".keys-*") // mode 0600
	if err != nil {
		return fmt.Errorf("rotating keys of %s: %w", file, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(set, '\n'))
	err = errors.Join(err, integrations.OwnedLike(tmp, like), tmp.Chmod(like.Mode().Perm())) // the server has to read it, whoever rotates
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("rotating keys of %s: %w", file, err)
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return fmt.Errorf("rotating keys of %s: %w", file, err)
	}
	fmt.Fprintf(sys.Out, "%s: the next key signs now; running servers take it up within seconds. Where the file is mounted into a container by itself, restart that.\n", file)
	return nil
}

// healthcheck asks the admin listener, for images without a shell.
func healthcheck(ctx context.Context, args []string, sys system) error {
	fs, file := flags("healthcheck", "exit 0 if the admin listener of the Anteroom that runs here says ready, else say why not and exit 1.", sys)
	if err := parse(fs, args); err != nil {
		return err
	}
	cfg, err := configured(*file, sys)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(cfg.Server.AdminListen)+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the admin listener: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	why, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	fmt.Fprintf(sys.Err, "not ready:\n%s", why)
	return errSaid
}

// reachable turns a listen address into one that can be dialled.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// version prints what this program was built from.
func version(_ context.Context, args []string, sys system) error {
	if err := parse(unconfigured("version", "print the version, the commit and the version of Go that it was built from and with.", sys), args); err != nil {
		return err
	}
	v, commit := builtFrom()
	_, err := fmt.Fprintf(sys.Out, "anteroom %s (commit %s, %s)\n", v, commit, runtime.Version())
	return err
}

// What the linker writes into an image or a package, which are built without
// the repository: -X main.linkedVersion=1.2.3 -X main.linkedCommit=….
var linkedVersion, linkedCommit string

// builtFrom is the version and the commit that the program was built from.
func builtFrom() (v, commit string) {
	v, commit = "development", "unknown"
	if linkedVersion != "" {
		return linkedVersion, cmp.Or(linkedCommit, commit)
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	return v, commit
}
