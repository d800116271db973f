package integrations

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"anteroom/session"
)

// plainFile is what a password's file is. A symbolic link is refused: what
// would be replaced is the link, as a mounted secret of Kubernetes is one.
func plainFile(path string) (fs.FileInfo, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("looking at the password file: %w", bareFile(err))
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, errors.New("the password file is a symbolic link: rotate it where it comes from")
	case !info.Mode().IsRegular():
		return nil, errors.New("the password file is no file")
	}
	return info, nil
}

// spaces are what a place for a password is filled with: as good as nothing to
// whoever reads it, and the disk has to have room for it.
var spaces = strings.Repeat(" ", 2048) + "\n"

// makePlace makes a file that has room for a password, with the rights that
// another has, and is on the disk. It must not be there yet.
func makePlace(path string, like fs.FileInfo) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, bareFile(err)
	}
	_, err = f.WriteString(spaces)
	err = errors.Join(err, OwnedLike(f, like), f.Chmod(like.Mode().Perm()), f.Sync(), SyncFolder(path))
	if err != nil {
		f.Close()
		os.Remove(path)
		return nil, bareFile(err)
	}
	return f, nil
}

// keep puts a password into its place, and on the disk. The place is never
// without what was in it: only what comes after the password is cut off.
func keep(f *os.File, s session.Secret) error {
	text := s.Reveal() + "\n"
	_, err := f.WriteAt([]byte(text), 0)
	return bareFile(errors.Join(err, f.Sync(), f.Truncate(int64(len(text))), f.Sync()))
}

// replace gives a file the name of another. Where that is mounted by itself into
// a container, which lets nothing else have its name, it is written over.
func replace(from, to string) error {
	err := os.Rename(from, to)
	if err == nil {
		return SyncFolder(to)
	}
	if !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.EXDEV) {
		return err
	}
	s, err := readSecret(from)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY, 0) // it was no link before
	if err != nil {
		return err
	}
	err = keep(f, s)
	if err = errors.Join(err, f.Close()); err != nil {
		return err // from has it still
	}
	return os.Remove(from)
}

// SyncFolder has the names beside a file written to the disk. Some file systems
// know no such thing.
func SyncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// bareFile is a file's error without its name.
func bareFile(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

var errLocked = errors.New("another process is rotating it")

// lock is the right to rotate: a file with a text that nobody else has.
type lock struct{ path, id string }

// takeLock takes the lock of a password's file. One of a process that died is
// taken over once it is older than any rotation.
func takeLock(of string, now func() time.Time) (*lock, error) {
	l := &lock{lockOf(of), rand.Text()}
	for range 2 {
		err := l.create()
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("locking it: %w", bareFile(err))
		}
		if err := l.evict(now); err != nil {
			return nil, err
		}
	}
	return nil, errLocked
}

func (l *lock) create() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(l.id)
	return errors.Join(err, f.Close())
}

// evict moves a lock that is too old out of the way. Of several who try, one
// moves it; whoever moved a younger one, that came meanwhile, puts it back.
func (l *lock) evict(now func() time.Time) error {
	info, err := os.Lstat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was given up meanwhile
	}
	if err != nil {
		return bareFile(err)
	}
	if now().Sub(info.ModTime()) < lockAge {
		return errLocked
	}
	aside := l.path + "." + l.id
	if err := os.Rename(l.path, aside); err != nil {
		return errLocked
	}
	moved, err := os.Lstat(aside)
	if err == nil && !os.SameFile(moved, info) {
		_ = os.Link(aside, l.path)
		os.Remove(aside)
		return errLocked
	}
	os.Remove(aside)
	return nil
}

// held reports whether the lock is still ours.
func (l *lock) held() bool {
	f, err := os.Open(l.path)
	if err != nil {
		return false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 256))
	return err == nil && string(b) == l.id
}

// release gives the lock up, if it is still ours.
func (l *lock) release() {
	if l.held() {
		os.Remove(l.path)
	}
}
