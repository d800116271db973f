package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"anteroom/integrations"
	"anteroom/session"
)

// pendingFile is a file for a secret that is about to be written: what is put
// into it is all there, or nothing is.
type pendingFile struct {
	name     string
	tmp      *os.File
	replaced bool // there was another before
}

// openPasswordFile sees to it, before anybody is asked for anything, that a
// secret can be kept at a name. It follows no symbolic link, and replaces a file
// that others may read, or another user's, only with force.
func openPasswordFile(name string, force bool) (*pendingFile, error) {
	if err := replaceable(name, force); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // mode 0600, and never what is there already
	if err != nil {
		return nil, fmt.Errorf("writing beside %s: %w; name another file, with --to", name, session.WithoutPath(err))
	}
	return &pendingFile{name: name, tmp: tmp}, nil
}

// replaceable reports why a file must not be replaced.
func replaceable(name string, force bool) error {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking at %s: %w", name, session.WithoutPath(err))
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link, which is not followed; name the file itself, with --to", name)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file; name another, with --to", name)
	case force:
		return nil
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is there, and others may use it (mode %04o): it does not look like a secret's; say --force if it may be replaced", name, info.Mode().Perm())
	case !ownFile(info):
		return fmt.Errorf("%s is another user's: run this as that user, who would not be able to read what replaces it; or say --force", name)
	}
	return nil
}

// write puts the secret beside the name, and on the disk.
func (p *pendingFile) write(s session.Secret) error {
	_, err := p.tmp.WriteString(s.Reveal() + "\n")
	return session.WithoutPath(errors.Join(err, p.tmp.Sync()))
}

// put gives what was written its name.
func (p *pendingFile) put() error {
	if err := replaceable(p.name, true); err != nil { // not that somebody put a link there meanwhile
		return err
	}
	_, err := os.Lstat(p.name)
	p.replaced = err == nil
	if err := os.Rename(p.tmp.Name(), p.name); err != nil {
		return session.WithoutPath(err)
	}
	_ = integrations.SyncFolder(p.name) // it has its name all the same
	return nil
}

// discard takes away what was not put.
func (p *pendingFile) discard() {
	p.tmp.Close()
	os.Remove(p.tmp.Name())
}
