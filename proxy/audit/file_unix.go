//go:build unix

package audit

import (
	"errors"
	"os"
	"syscall"
)

// lock keeps other processes from appending to a file: a chain has one writer.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("another process writes to it; give each its own")
	}
	return err
}

// unsyncable reports whether an error says that a file is none that is synced.
func unsyncable(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP)
}

// tooLong reports whether an error says that a datagram is longer than any that
// is sent.
func tooLong(err error) bool { return errors.Is(err, syscall.EMSGSIZE) }
