package session

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReadFile: what is no file of its size is refused at once, and why.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("12345678"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", at("link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		at("file"):  "",
		at("link"):  "",
		at("pipe"):  "is a named pipe, not a regular file", // nobody writes: reading would wait for ever
		"/dev/zero": "is a device, not a regular file",     // and this has no end
		dir:         "is a directory",
		at("gone"):  "no such file or directory",
	} {
		data, info, err := ReadFile(name, 8)
		if want == "" {
			if err != nil || string(data) != "12345678" || info.Size() != 8 {
				t.Errorf("ReadFile(%s) = %q, %v, %v", name, data, info, err)
			}
		} else if err == nil || err.Error() != want {
			t.Errorf("ReadFile(%s) = %v, want %q", name, err, want)
		}
	}
	if _, _, err := ReadFile(at("file"), 7); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("ReadFile of one byte too many = %v", err)
	}
}
