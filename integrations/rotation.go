package integrations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"anteroom/session"
)

// RotationOptions is what a Rotation needs.
type RotationOptions struct {
	Base   *url.URL     // of Nextcloud
	Client *http.Client // see NewClient
	User   string       // login name that the app password was made for
	Path   string       // of the file with it
	Now    func() time.Time
	Log    *slog.Logger
	Tried  func(done bool) // hears of each exchange that Run tries; nil: nobody does

	hook func(step string) // tests stop here; nil: nobody does
	rest time.Duration     // between two questions to a server that does not answer; 0: proveRest
}

// Rotation has Nextcloud exchange the app password in a file.
//
// Nextcloud makes the new one itself, tells it once, and the old one is dead
// from that moment. So what comes back has to be on the disk before anything
// else is done, and a place for it before Nextcloud is asked. Three files beside
// the password's take care of that: .lock (one process at a time; another may
// take it over from one that died), .new (empty: Nextcloud may have been asked;
// not empty: the new password), and the file itself, which keeps the old one
// until the new one has been proven by a call and takes its place in one step.
// Whoever comes next after a crash finds out by .new how far it came.
type Rotation struct {
	nextcloud
	o RotationOptions
}

// ErrLost: Nextcloud exchanged the app password and its answer did not arrive.
// Nobody has the new one: an operator has to connect anew.
var ErrLost = errors.New("nextcloud accepts the app password no longer, and the one it made instead was lost: run anteroom connect")

// NewRotation makes one; it touches nothing yet.
func NewRotation(o RotationOptions) *Rotation {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.rest == 0 {
		o.rest = proveRest
	}
	if o.hook == nil {
		o.hook = func(string) {}
	}
	return &Rotation{nextcloud: newNextcloud(o.Base, o.Client), o: o}
}

// Rotated is what came of a rotation that did not fail.
type Rotated string

// What a rotation comes to.
const (
	RotatedNow       Rotated = "rotated"   // there is a new password
	RotatedBefore    Rotated = "recovered" // one that an earlier rotation left behind was put in place
	RotatedElsewhere Rotated = "elsewhere" // another process is at it
	RotatedNotDue    Rotated = "not due"   // the file is younger than was asked
)

// The times of a rotation. lockAge is longer than one can take.
const (
	rotateTime = time.Minute
	proveTime  = 15 * time.Second
	proveTries = 3
	proveRest  = 2 * time.Second
	lockAge    = 3 * time.Minute
)

// Rotate exchanges the password, if the file is of some age, 0 for any. What
// was begun is brought to an end even if ctx ends.
func (r *Rotation) Rotate(ctx context.Context, age time.Duration) (Rotated, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*rotateTime)
	defer cancel()
	l, err := takeLock(r.o.Path, r.o.Now)
	if errors.Is(err, errLocked) {
		return RotatedElsewhere, nil
	}
	if err != nil {
		return "", fmt.Errorf("rotating the app password: %w", err)
	}
	defer l.release()
	how, err := r.under(ctx, l, age)
	if err != nil {
		return "", fmt.Errorf("rotating the app password: %w", err)
	}
	return how, nil
}

// under rotates with the lock held.
func (r *Rotation) under(ctx context.Context, l *lock, age time.Duration) (Rotated, error) {
	done, err := r.recover(ctx)
	if err != nil || done {
		return RotatedBefore, err
	}
	info, err := plainFile(r.o.Path)
	if err != nil {
		return "", err
	}
	if r.o.Now().Sub(info.ModTime()) < age {
		return RotatedNotDue, nil
	}
	old, err := r.read(r.o.Path)
	if err != nil {
		return "", err
	}
	owner, err := r.owner(ctx, old)
	if err != nil {
		return "", err // nothing has been changed
	}
	place, err := makePlace(newOf(r.o.Path), info)
	if err != nil {
		return "", fmt.Errorf("making a place for the new one: %w", err)
	}
	defer place.Close()
	if !l.held() {
		os.Remove(place.Name())
		return RotatedElsewhere, nil
	}
	r.o.hook("asking")
	next, err := r.exchange(ctx, old)
	if err != nil {
		return "", r.unanswered(ctx, old, err)
	}
	r.o.hook("answered")
	if err := keep(place, next.Secret); err != nil {
		return "", fmt.Errorf("%w (the disk does not take it: %w)", ErrLost, err)
	}
	r.o.hook("kept")
	if now, err := r.owner(ctx, next); err != nil {
		return "", fmt.Errorf("the new one is kept, and not proven yet: %w", err)
	} else if now != owner {
		return "", errors.New("the new one is another account's; it is kept beside the file")
	}
	r.o.hook("proven")
	if is, err := plainFile(r.o.Path); err != nil || !os.SameFile(is, info) {
		done, err := r.choose(ctx, next, true)
		if err == nil && !done {
			err = errReplaced
		}
		return RotatedNow, err
	}
	return RotatedNow, r.install()
}

// errReplaced: somebody else put another password in place meanwhile, and it is
// good.
var errReplaced = errors.New("the file was replaced meanwhile")

// Unfinished reports whether an exchange of the password in a file was begun and
// not brought to an end: what is in the file may be dead, and another beside it.
func Unfinished(path string) bool {
	_, err := os.Lstat(newOf(path))
	return err == nil
}

func newOf(path string) string  { return path + ".new" }
func lockOf(path string) string { return path + ".lock" }

// read is the credential in a file; ErrNotExist where there is no file.
func (r *Rotation) read(path string) (session.Credential, error) {
	s, err := readSecret(path)
	if err != nil {
		return session.Credential{}, fmt.Errorf("reading a password file: %w", bareFile(err))
	}
	return session.Credential{User: r.o.User, Secret: s}, nil
}

// owner proves a credential, and says whose it is. A server that does not answer
// is asked again for a while.
func (r *Rotation) owner(ctx context.Context, cred session.Credential) (owner string, err error) {
	if cred.IsZero() {
		return "", ErrRefused
	}
	for try := range proveTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return "", fmt.Errorf("%w: %w", ErrAway, ctx.Err())
			case <-time.After(r.o.rest):
			}
		}
		one, cancel := context.WithTimeout(ctx, proveTime)
		owner, err = r.Owner(one, cred)
		cancel()
		if !errors.Is(err, ErrAway) {
			break
		}
	}
	return owner, err
}

// exchange has Nextcloud exchange a password, once: asking again would be asking
// with one that may be dead.
func (r *Rotation) exchange(ctx context.Context, old session.Credential) (session.Credential, error) {
	one, cancel := context.WithTimeout(ctx, rotateTime)
	defer cancel()
	n := nextcloud{r.base, patient(r.client)}
	status, body, err := n.ask(one, call{method: http.MethodPost, url: r.at("/ocs/v2.php/core/apppassword/rotate?format=json"), cred: old})
	if err != nil {
		return session.Credential{}, err
	}
	var said struct {
		OCS struct {
			Data struct {
				Password string `json:"apppassword"`
			} `json:"data"`
		} `json:"ocs"`
	}
	switch {
	case status == http.StatusForbidden:
		return session.Credential{}, errors.New("what is in the file is the account's own password, not an app password: run anteroom connect")
	case status == http.StatusUnauthorized:
		return session.Credential{}, ErrRefused
	case status != http.StatusOK:
		return session.Credential{}, fmt.Errorf("nextcloud answers %d", status)
	case json.Unmarshal(body, &said) != nil || !sound(said.OCS.Data.Password):
		return session.Credential{}, errors.New("nextcloud's answer cannot be read")
	}
	return session.Credential{User: old.User, Secret: session.Secret(said.OCS.Data.Password)}, nil
}

// patient is a client that waits for as long as its caller: an answer that is
// late is still the only one.
func patient(c http.Client) http.Client {
	c.Timeout = 0
	if t := session.Derive(c.Transport, func(t *http.Transport) { t.ResponseHeaderTimeout, t.DisableKeepAlives = 0, true }); t != nil {
		c.Transport = t
	}
	return c
}

// unanswered finds out what became of the old password when no new one came: if
// it is still good, nothing happened.
func (r *Rotation) unanswered(ctx context.Context, old session.Credential, cause error) error {
	if is, err := r.read(r.o.Path); err == nil && is != old {
		os.Remove(newOf(r.o.Path))
		return errReplaced
	}
	switch _, err := r.owner(ctx, old); {
	case err == nil:
		os.Remove(newOf(r.o.Path))
		return cause
	case errors.Is(err, ErrRefused):
		return ErrLost
	}
	return cause // .new stays, empty: it is found out later
}

// install puts the new password in the place of the old.
func (r *Rotation) install() error {
	if err := replace(newOf(r.o.Path), r.o.Path); err != nil {
		return fmt.Errorf("putting the new one in place: %w", bareFile(err))
	}
	r.o.hook("installed")
	return nil
}

// recover brings to an end what an earlier rotation left. It reports true where
// a new password was put in place.
func (r *Rotation) recover(ctx context.Context) (bool, error) {
	kept, err := r.read(newOf(r.o.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err = r.owner(ctx, kept); err == nil && !r.replaced() {
		return true, r.install()
	}
	if err != nil && !errors.Is(err, ErrRefused) {
		return false, err // nobody can tell now
	}
	return r.choose(ctx, kept, err == nil)
}

// choose leaves in place what is in the file, if that is good, and else puts
// there what was kept, if that is. It reports true where it did the latter.
func (r *Rotation) choose(ctx context.Context, kept session.Credential, keptGood bool) (bool, error) {
	old, err := r.read(r.o.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	switch _, err := r.owner(ctx, old); {
	case err == nil:
		if keptGood {
			_ = r.Revoke(ctx, kept) // it would stay behind at Nextcloud, which harms nobody but is no use
		}
		return false, bareFile(os.Remove(newOf(r.o.Path)))
	case !errors.Is(err, ErrRefused):
		return false, err
	case keptGood:
		return true, r.install()
	}
	return false, ErrLost
}

// replaced reports whether somebody wrote the password's file after the new one
// was kept: an operator, by connecting anew.
func (r *Rotation) replaced() bool {
	is, errIs := os.Stat(r.o.Path)
	kept, errKept := os.Stat(newOf(r.o.Path))
	return errIs == nil && errKept == nil && is.ModTime().After(kept.ModTime())
}

// Run rotates whenever the file is of some age, until ctx is done, and brings to
// an end what another process left.
func (r *Rotation) Run(ctx context.Context, every time.Duration) {
	const (
		look = time.Minute
		rest = 10 * time.Minute // after a failure
	)
	wait := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = look
		info, err := os.Stat(r.o.Path)
		if err != nil || !Unfinished(r.o.Path) && r.o.Now().Sub(info.ModTime()) < every {
			continue
		}
		switch how, err := r.Rotate(ctx, every); {
		case err != nil:
			wait = rest
			r.o.Log.Error("the service account's app password was not rotated", "file", r.o.Path, "error", err)
			r.tried(false)
		case how == RotatedNow || how == RotatedBefore:
			r.o.Log.Info("the service account's app password was rotated", "file", r.o.Path, "how", string(how))
			r.tried(true)
		}
	}
}

func (r *Rotation) tried(done bool) {
	if r.o.Tried != nil {
		r.o.Tried(done)
	}
}
