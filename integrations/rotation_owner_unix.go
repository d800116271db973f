//go:build unix

package integrations

import (
	"io/fs"
	"os"
	"syscall"
)

// OwnedLike gives a file the owner and group that another has: whoever rotates
// may be another user than whoever reads.
func OwnedLike(f *os.File, like fs.FileInfo) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	is, okIs := info.Sys().(*syscall.Stat_t)
	want, okWant := like.Sys().(*syscall.Stat_t)
	if !okIs || !okWant || is.Uid == want.Uid && is.Gid == want.Gid {
		return nil
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}
