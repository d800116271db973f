package integrations

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"anteroom/session"
)

// SecretFile is a service account's password that is kept in a file and may be
// exchanged there at any time, by us, by another replica or by an operator.
// What the file has is used once the server takes it: when it is tried (Try),
// or when the one before is refused and it is not. Safe for concurrent use.
type SecretFile struct {
	Path string

	now func() time.Time

	mu      sync.Mutex
	secret  session.Secret // guarded by mu: in force
	next    session.Secret // guarded by mu: in the file since, and not taken yet; "": none
	refused bool           // guarded by mu: next was refused
	dead    bool           // guarded by mu: secret was refused when it was sent last
	seen    fs.FileInfo    // guarded by mu: of the file as it was read last; nil: it was not
}

const (
	// A refused password may be in the middle of being exchanged: that is waited for.
	renewalWait = 10 * time.Second
	renewalLook = 50 * time.Millisecond

	secretMost = 64 << 10
)

// NewSecretFile makes one of which the content was read before. now may be nil.
func NewSecretFile(path string, first session.Secret, now func() time.Time) *SecretFile {
	if now == nil {
		now = time.Now
	}
	return &SecretFile{Path: path, secret: first, now: now}
}

// Secret is the password in force.
func (f *SecretFile) Secret() session.Secret {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.secret
}

// Try has ask try what the file has now, unless it is in force already, and puts
// it in force if that is nil. ErrRefused is ask's word that the server does not
// take it: then ask is not called for it again before the one in force is
// refused, too, for servers slow down whoever fails often. After any other error
// it should be tried again.
func (f *SecretFile) Try(ctx context.Context, has session.Secret, ask func(context.Context, session.Secret) error) error {
	f.mu.Lock()
	f.offer(has)
	known, refused := f.secret == has, f.refused
	f.mu.Unlock()
	switch {
	case known:
		return nil
	case refused:
		return ErrRefused
	}
	err := ask(ctx, has)
	switch {
	case err == nil:
		f.Took(has)
	case errors.Is(err, ErrRefused):
		f.refuse(has)
	}
	return err
}

// offer notes what the file has. Called with mu held.
func (f *SecretFile) offer(s session.Secret) {
	switch {
	case s == f.secret:
		f.next, f.refused = "", false
	case s != f.next:
		f.next, f.refused = s, false
	}
}

// Took notes that the server took a password.
func (f *SecretFile) Took(s session.Secret) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s == f.next && s != "" {
		f.secret, f.next, f.refused = s, "", false
	}
	if s == f.secret {
		f.dead = false
	}
}

func (f *SecretFile) refuse(s session.Secret) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s == f.next {
		f.refused = true
	}
}

// Renewed is the password to be sent in place of one that was refused; false if
// there is none. While it is being exchanged it waits, for ten seconds at most.
// Whether the server takes it is to be told by Took, or by Renewed again.
func (f *SecretFile) Renewed(ctx context.Context, refused session.Secret) (session.Secret, bool) {
	ctx, cancel := context.WithTimeout(ctx, renewalWait)
	defer cancel()
	for {
		if s := f.insteadOf(refused); s != "" {
			return s, true
		}
		if l, err := os.Lstat(lockOf(f.Path)); err != nil || f.now().Sub(l.ModTime()) > lockAge {
			s := f.insteadOf(refused) // what came between the two looks
			return s, s != ""
		}
		select {
		case <-ctx.Done():
			return "", false
		case <-time.After(renewalLook):
		}
	}
}

// insteadOf looks at the file at once; "" for no other password.
func (f *SecretFile) insteadOf(refused session.Secret) session.Secret {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look()
	switch {
	case refused == f.next && refused != "":
		f.refused = true
	case refused != f.secret:
		return f.secret
	case !f.dead: // the server may have been told of the next since that was tried
		f.dead, f.refused = true, false
	}
	if f.refused {
		return ""
	}
	return f.next
}

// look reads a changed file. Called with mu held.
func (f *SecretFile) look() {
	info, err := os.Stat(f.Path)
	if err != nil || f.seen != nil && session.SameState(info, f.seen) {
		return
	}
	f.seen = info
	if s, err := readSecret(f.Path); err == nil && s != "" {
		f.offer(s)
	}
}

// Send sends a request that has the grant's credential. One that is refused
// because the service account's password was exchanged at this moment goes out
// again with the new one, if its body can be sent again.
func (g *Grant) Send(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	resp, err := next.RoundTrip(r)
	if g.By != ByService || g.File == nil {
		return resp, err
	}
	_, shown, _ := r.BasicAuth()
	for sent := 0; err == nil; sent++ { // what was exchanged once may have been a second time meanwhile
		if resp.StatusCode != http.StatusUnauthorized {
			if resp.StatusCode < http.StatusInternalServerError && resp.StatusCode != http.StatusTooManyRequests {
				g.File.Took(session.Secret(shown))
			}
			return resp, nil
		}
		if sent == sentAgain || r.Body != nil && r.Body != http.NoBody && r.GetBody == nil {
			return resp, nil
		}
		other, ok := g.File.Renewed(r.Context(), session.Secret(shown))
		if !ok {
			return resp, nil
		}
		again := r.Clone(r.Context())
		if r.GetBody != nil {
			if again.Body, err = r.GetBody(); err != nil {
				return resp, nil
			}
		}
		resp.Body.Close()
		session.Credential{User: g.Credential.User, Secret: other}.Set(again.Header)
		shown = other.Reveal()
		resp, err = next.RoundTrip(again)
	}
	return resp, err
}

// sentAgain is how often one request is sent again with a newer password.
const sentAgain = 3

// renewed reports whether there is another password to try than a refused
// request had.
func (g *Grant) renewed(resp *http.Response) bool {
	if g.By != ByService || g.File == nil || resp.Request == nil {
		return false
	}
	_, refused, ok := resp.Request.BasicAuth()
	if ok {
		_, ok = g.File.Renewed(resp.Request.Context(), session.Secret(refused))
	}
	return ok
}

// Takes asks a DAV service whether it takes another password for its service
// account. ErrRefused means that it does not; any other error, that it gave no
// word on it.
func (d DAV) Takes(ctx context.Context, client *http.Client, password session.Secret) error {
	u, err := url.Parse(d.URL)
	if err != nil {
		return errors.New("its URL cannot be read")
	}
	n := newNextcloud(u, client)
	status, _, err := n.ask(ctx, call{method: "PROPFIND", url: d.URL, depth: "0", cred: session.Credential{User: d.Username, Secret: password}})
	switch {
	case err != nil:
		return err
	case status == http.StatusUnauthorized:
		return ErrRefused
	case status/100 == 2, status == http.StatusForbidden, status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return nil // what it says to the account, it says to those whom it knows
	}
	return fmt.Errorf("it answers %d", status)
}

// TakesUser asks the Nextcloud at base whether it takes a credential. The errors
// are as Takes has them.
func TakesUser(ctx context.Context, base string, client *http.Client, cred session.Credential) error {
	u, err := url.Parse(base)
	if err != nil {
		return errors.New("its URL cannot be read")
	}
	n := newNextcloud(u, client)
	_, err = n.Owner(ctx, cred)
	return err
}

// readSecret reads a file as the configuration does: without the white space
// around it. The error leaves the content out.
func readSecret(path string) (session.Secret, error) {
	b, _, err := session.ReadFile(path, secretMost)
	if err != nil {
		return "", err
	}
	return session.Secret(bytes.TrimSpace(b)), nil
}
