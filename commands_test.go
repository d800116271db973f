package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"anteroom/proxy/upstream"
)

// TestKeysRotateKeepsRights: the server goes on reading a file that somebody
// else rotates.
func TestKeysRotateKeepsRights(t *testing.T) {
	set, err := upstream.NewKeySet("ES256")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "jwt.json")
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	owner := os.Getuid()
	if owner == 0 { // who else could give a file away
		owner = 12345
		if err := os.Chown(file, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(t.Context(), []string{"keys", "rotate", file}, system{Out: new(bytes.Buffer), Err: new(bytes.Buffer)}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != 0o640 || int(st.Uid) != owner {
		t.Errorf("the file is %v of %d, want -rw-r----- of %d", info.Mode(), st.Uid, owner)
	}
	once, err := os.ReadFile(file)
	if err != nil || bytes.Equal(once, set) {
		t.Errorf("the file is as it was (%v)", err)
	}
	err = run(t.Context(), []string{"keys", "rotate", file}, system{Out: new(bytes.Buffer), Err: new(bytes.Buffer)})
	if now, _ := os.ReadFile(file); err == nil || !strings.Contains(err.Error(), "wait 10m0s, or write --force") && !strings.Contains(err.Error(), "wait 9m5") || !bytes.Equal(now, once) {
		t.Errorf("rotating again at once = %v, want it refused, and the file as it was", err)
	}
	if err := run(t.Context(), []string{"keys", "rotate", "--force", file}, system{Out: new(bytes.Buffer), Err: new(bytes.Buffer)}); err != nil {
		t.Errorf("--force = %v", err)
	}
	if now, _ := os.ReadFile(file); bytes.Equal(now, once) {
		t.Error("--force left the file as it was")
	}
}
