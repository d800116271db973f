package session

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ReadFile reads a regular file of at most limit bytes, as it is at one moment,
// with what it looked like then. Anything else (a named pipe, a device) is
// refused without being waited for, or read from. The error leaves the name out.
func ReadFile(name string, limit int64) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(name)
	if err == nil {
		err = regular(info) // before it is opened: with some devices that has consequences
	}
	if err != nil {
		return nil, nil, WithoutPath(err)
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, WithoutPath(err)
	}
	defer f.Close()
	if info, err = f.Stat(); err == nil {
		err = regular(info)
	}
	if err != nil {
		return nil, nil, WithoutPath(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, nil, WithoutPath(err)
	case int64(len(data)) > limit:
		return nil, nil, fmt.Errorf("is larger than %d KiB", limit>>10)
	}
	return data, info, nil
}

// AuthoritiesMost bounds a file of certificates, in bytes: a system's authorities
// are a quarter of it.
const AuthoritiesMost = 1 << 20

// ReadAuthorities reads a PEM file of those who may vouch for others.
func ReadAuthorities(name string) (*x509.CertPool, error) {
	pem, _, err := ReadFile(name, AuthoritiesMost)
	if err != nil {
		return nil, err
	}
	return authoritiesIn(pem)
}

func authoritiesIn(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("holds no certificate")
	}
	return pool, nil
}

// ReadKeyPair reads PEM files of a certificate, with what leads to its
// authority, and of its key.
func ReadKeyPair(cert, key string) (*tls.Certificate, error) {
	certPEM, _, err := ReadFile(cert, AuthoritiesMost)
	if err != nil {
		return nil, fmt.Errorf("the certificate: %w", err)
	}
	keyPEM, _, err := ReadFile(key, AuthoritiesMost)
	if err != nil {
		return nil, fmt.Errorf("the key: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	return &pair, err
}

func regular(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return syscall.EISDIR
	case mode&fs.ModeNamedPipe != 0:
		return errors.New("is a named pipe, not a regular file")
	case mode&fs.ModeDevice != 0:
		return errors.New("is a device, not a regular file")
	}
	return errors.New("is not a regular file")
}

// SameState reports whether a file is as it was at an earlier look, as far as
// looking tells.
func SameState(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
