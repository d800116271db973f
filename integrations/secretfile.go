package integrations

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"anteroom/session"
)

// SecretFile is a service account's password that is kept in a file and may be
// exchanged there at any time, by us, by another replica or by an operator. A
// file that cannot be read, or is empty, leaves what was read before. Safe for
// concurrent use.
type SecretFile struct {
	Path string

	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	secret session.Secret // guarded by mu
	seen   fs.FileInfo    // guarded by mu: of the file that secret is from; nil: none was looked at
	looked time.Time      // guarded by mu
}

const (
	// lookEvery is how long a change of a file may go unnoticed.
	lookEvery = 3 * time.Second
	// A refused password may be in the middle of being exchanged: that is waited for.
	renewalWait = 10 * time.Second
	renewalLook = 50 * time.Millisecond

	secretMost = 64 << 10
)

// NewSecretFile makes one of which the content was read before. log and now may
// be nil.
func NewSecretFile(path string, first session.Secret, log *slog.Logger, now func() time.Time) *SecretFile {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now
	}
	return &SecretFile{Path: path, secret: first, log: log, now: now}
}

// Secret is the password as it is in the file, or was three seconds ago.
func (f *SecretFile) Secret() session.Secret {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.looked) >= lookEvery {
		f.looked = now
		f.look()
	}
	return f.secret
}

// look takes a changed file up. Called with mu held.
func (f *SecretFile) look() {
	info, err := os.Stat(f.Path)
	if err != nil || f.seen != nil && os.SameFile(info, f.seen) && info.ModTime().Equal(f.seen.ModTime()) && info.Size() == f.seen.Size() {
		return
	}
	s, err := readSecret(f.Path)
	if err != nil || s == "" {
		f.log.Error("a changed password file cannot be used; the old password stays", "file", f.Path)
		f.seen = info
		return
	}
	if s != f.secret && f.seen != nil {
		f.log.Info("changed password file taken up", "file", f.Path)
	}
	f.secret, f.seen = s, info
}

// Renewed reports whether there is another password than one that was refused.
// While it is being exchanged it waits, for ten seconds at most.
func (f *SecretFile) Renewed(ctx context.Context, refused session.Secret) bool {
	ctx, cancel := context.WithTimeout(ctx, renewalWait)
	defer cancel()
	for {
		if f.differs(refused) {
			return true
		}
		if l, err := os.Lstat(lockOf(f.Path)); err != nil || f.now().Sub(l.ModTime()) > lockAge {
			return f.differs(refused) // what came between the two looks
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(renewalLook):
		}
	}
}

// Send sends a request that has the grant's credential. One that is refused
// because the service account's password was exchanged at this moment goes out
// again with the new one, if its body can be sent again.
func (g *Grant) Send(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	resp, err := next.RoundTrip(r)
	for range sentAgain { // what was exchanged once may have been a second time meanwhile
		if err != nil || resp.StatusCode != http.StatusUnauthorized || r.Body != nil && r.Body != http.NoBody && r.GetBody == nil || !g.renewed(resp) {
			return resp, err
		}
		again := r.Clone(r.Context())
		if r.GetBody != nil {
			if again.Body, err = r.GetBody(); err != nil {
				return resp, nil
			}
		}
		resp.Body.Close()
		session.Credential{User: g.Credential.User, Secret: g.File.Secret()}.Set(again.Header)
		resp, err = next.RoundTrip(again)
	}
	return resp, err
}

// sentAgain is how often one request is sent again with a newer password.
const sentAgain = 3

// renewed reports whether a refused request had a password that is not the one
// in force any more.
func (g *Grant) renewed(resp *http.Response) bool {
	if g.By != ByService || g.File == nil || resp.Request == nil {
		return false
	}
	_, refused, ok := resp.Request.BasicAuth()
	return ok && g.File.Renewed(resp.Request.Context(), session.Secret(refused))
}

// differs looks at once, and reports whether the password is another.
func (f *SecretFile) differs(than session.Secret) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked = f.now()
	f.look()
	return f.secret != than
}

// readSecret reads a file as the configuration does: without the white space
// around it. The error leaves the content out.
func readSecret(path string) (session.Secret, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, secretMost+1))
	if err != nil {
		return "", err
	}
	if len(b) > secretMost {
		return "", errors.New("it is too large for a password")
	}
	return session.Secret(bytes.TrimSpace(b)), nil
}
