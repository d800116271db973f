package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// saidByClients runs "anteroom clients" with arguments.
func saidByClients(t *testing.T, args ...string) (out, errs string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	err = run(t.Context(), append([]string{"clients"}, args...), system{Out: &o, Err: &e})
	return o.String(), e.String(), err
}

// TestClientsNew: the secret is shown once and its hash fits it, and the lines
// load as they were meant, whatever YAML would make of the name.
func TestClientsNew(t *testing.T) {
	for _, name := range []string{"indexer", "calendar-email", "true", "null", "~", "007", "1e3", "#x", "*a", "&a", "!t", "[a", "{", "-", "%", "@a", "o'b", `a"b`, `a\b`, "Zürich", strings.Repeat("x", 255)} {
		out, errs, err := saidByClients(t, "new", name, "--group", "programs", "--group=night, ward 3")
		if err != nil {
			t.Errorf("clients new %q = %v", name, err)
			continue
		}
		secret := strings.TrimSuffix(out, "\n")
		if len(secret) != 52 || strings.Contains(errs, secret) {
			t.Errorf("clients new %q: the secret has %d characters, want 52 (260 bits), and it alone on the output", name, len(secret))
		}
		_, lines, _ := strings.Cut(errs, "For the configuration:\n")
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		c := mustLoad(t, smallest(), file)
		sum := sha256.Sum256([]byte(secret))
		if len(c.Clients) != 1 || c.Clients[0].Name != name || c.Clients[0].SecretHash != "sha256:"+hex.EncodeToString(sum[:]) || !slices.Equal(c.Clients[0].Groups, []string{"programs", "night, ward 3"}) {
			t.Errorf("clients new %q loads as %+v from\n%s", name, c.Clients, lines)
		}
	}
	one, _, _ := saidByClients(t, "new", "a")
	two, _, _ := saidByClients(t, "new", "a")
	if one == two {
		t.Error("two secrets are the same")
	}
	if _, errs, _ := saidByClients(t, "new", "a"); strings.Contains(errs, "groups") {
		t.Errorf("without --group the lines have groups:\n%s", errs)
	}
}

func TestClientsNewRefuses(t *testing.T) {
	for _, args := range [][]string{{}, {"old"}, {"new"}, {"new", ""}, {"new", "a:b"}, {"new", "a b"}, {"new", "a\nb"}, {"new", "a\x00"}, {"new", "\xff"},
		{"new", strings.Repeat("x", 256)}, {"new", "a", "b"}, {"new", "a", "--group", ""}, {"new", "a", "--secret", "x"}} {
		if out, _, err := saidByClients(t, args...); err == nil || out != "" {
			t.Errorf("clients %q = %q, %v, want an error and nothing on the output", args, out, err)
		}
	}
}
