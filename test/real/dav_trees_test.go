//go:build real

package realtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// plant makes a tree of n files with names that have to be escaped.
func plant(t *testing.T, dir string, n int) {
	t.Helper()
	for i := range n {
		name := fmt.Sprintf("ward %d/note %d #50%%.txt", i%20, i)
		if i%3 == 0 {
			name = fmt.Sprintf("ward %d/Größe & [%d] (a+b) ';'=@.txt", i%20, i)
		}
		writeFile(t, filepath.Join(dir, name), strings.Repeat(strconv.Itoa(i)+"\n", 1+i%300))
	}
}

// hashes is what a tree holds, by path.
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		found[rel] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// peak is the most memory that the program had at a time, in bytes.
func (p *process) peak(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatalf("reading VmHWM: %v", err)
	}
	return kib << 10
}

// grow writes a file whose content does not repeat at any power of two, and
// returns its hash.
func grow(t *testing.T, path string, size int64) string {
	t.Helper()
	writeFile(t, path, "")
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20-7)
	for i := range block {
		block[i] = byte(i * 131 >> 3)
	}
	h := sha256.New()
	for left, n := size, 0; left > 0; n++ {
		copy(block, strconv.Itoa(n))
		part := bytes.NewReader(block[:min(left, int64(len(block)))])
		left -= part.Size()
		if _, err := io.Copy(io.MultiWriter(f, h), part); err != nil {
			t.Fatal(err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func hashFile(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
