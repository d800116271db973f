package main

import (
	"bytes"
	"os"
	"path/filepath"
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
	if now, err := os.ReadFile(file); err != nil || bytes.Equal(now, set) {
		t.Errorf("the file is as it was (%v)", err)
	}
}
