package upstream

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"anteroom/proxy/httpsig"
	"anteroom/proxy/throttle"
	"anteroom/session/semaphore"
)

// How requests of a route are signed (RFC 9421).
const (
	SignNothing = "none"
	SignRequest = "request" // with a digest of the body where that is short
	SignBody    = "body"    // with a digest of the body, always; a longer one is refused
)

const (
	signLabel = "anteroom"
	signLife  = time.Minute // how long a signature is good
	// digestMost is the longest body that is held to be digested, in bytes.
	digestMost = 1 << 20
	// digestPlaces is how many bodies are held at once, for all destinations
	// together; digestEach of them one caller may have.
	digestPlaces = 64
	digestEach   = digestPlaces / 4
	digestWait   = 10 * time.Second // for a place
	digestTime   = 20 * time.Second // for a client to send a body that has one
)

var (
	// ErrUnsigned: a request whose body cannot be signed is not sent on where it
	// has to be (413).
	ErrUnsigned = errors.New("the body is longer than what is signed")
	// ErrBusy: too many bodies are held to be signed, of everybody's or of this
	// caller's (503).
	ErrBusy = errors.New("too many bodies are being signed")
	// ErrSlowBody: a body that was to be signed did not come in time (408).
	ErrSlowBody = errors.New("the body that was to be signed came too slowly")
)

// signature is what signs requests to one destination.
type signature struct {
	keys   *Ring
	strict bool
	names  []string // of fields that tell who is calling, in lower case
	now    func() time.Time
	places *semaphore.Keyed // a place for each body that is held, whoever holds it, by caller
}

// newSignature makes one; nil for a destination whose requests are not signed,
// and where there is no asserter: nothing is sent then.
func newSignature(cfg Config, how string, a *Asserter) *signature {
	if how == "" || how == SignNothing || a == nil {
		return nil
	}
	s := &signature{keys: a.keys, strict: how == SignBody, now: a.now, places: a.bodies}
	h := cfg.Headers
	for _, name := range []string{cfg.JWT.Header, h.User, h.PreferredUsername, h.Email, h.Name, h.Groups, groupsTruncated, "X-Request-Id"} {
		if named(name) && !slices.Contains(s.names, strings.ToLower(name)) {
			s.names = append(s.names, strings.ToLower(name))
		}
	}
	return s
}

// send signs a request that is as it will be sent, and sends it. A short body is
// held until the answer is there.
func (s *signature) send(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	for _, name := range []string{"Signature", "Signature-Input", "Content-Digest", "Digest"} {
		delete(r.Header, name) // the client's would not hold, or say that they are ours
	}
	held, release, err := s.hold(r)
	if err != nil {
		return nil, err
	}
	defer release()
	if held != nil {
		r.Header.Set("Content-Digest", httpsig.ContentDigest(held))
	}
	if err := s.keys.signMessage(r, s.names, s.now()); err != nil {
		return nil, err
	}
	return next.RoundTrip(r)
}

// hold reads a body that is short enough; it is empty where there is none, so
// that nobody can add one, and nil where it is too long.
func (s *signature) hold(r *http.Request) (body []byte, release func(), err error) {
	release = func() {}
	switch {
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		return []byte{}, release, nil
	case (r.ContentLength < 0 || r.ContentLength > digestMost) && s.strict:
		return nil, release, ErrUnsigned
	case r.ContentLength < 0 || r.ContentLength > digestMost:
		return nil, release, nil
	}
	by := callerOf(r)
	switch err := s.places.Acquire(r.Context(), by, digestWait); {
	case errors.Is(err, semaphore.ErrBusy):
		return nil, release, ErrBusy
	case err != nil:
		return nil, release, err
	}
	body = make([]byte, r.ContentLength)
	if err := readInTime(r, body); err != nil {
		s.places.Release(by)
		return nil, release, fmt.Errorf("reading the body to sign it: %w", err)
	}
	release = func() { s.places.Release(by) }
	r.Body.Close()
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, release, nil
}

// callerOf is whose body it is: the caller's, or where nobody need be known that
// of whoever has this address. No subject looks like an address here.
func callerOf(r *http.Request) string {
	switch c := callOf(r); {
	case c == nil:
		return ""
	case c.as != nil:
		return c.as.who.Subject
	default:
		return "address:" + throttle.Network(c.hop.ClientIP)
	}
}

// readInTime fills body from a request's, which others wait for the place of.
func readInTime(r *http.Request, body []byte) error {
	if c := callOf(r); c != nil {
		rc := http.NewResponseController(c.ResponseWriter)
		_ = rc.SetReadDeadline(time.Now().Add(digestTime))
		defer func() {
			if r.Context().Err() == nil { // else it is over, and stays so
				_ = rc.SetReadDeadline(time.Time{})
			}
		}()
	}
	_, err := io.ReadFull(r.Body, body)
	if errors.Is(err, os.ErrDeadlineExceeded) && r.Context().Err() == nil {
		return ErrSlowBody
	}
	return err
}

// signMessage signs a request with the key in force: what is asked of whom, the
// body's digest and type, and those of the fields that are there.
func (k *Ring) signMessage(r *http.Request, names []string, now time.Time) error {
	key := k.messageKey()
	m := messageOf(r)
	covered := []string{"@method", "@authority", "@path", "@query"}
	for _, name := range append([]string{"content-digest", "content-type"}, names...) {
		if len(r.Header.Values(name)) > 0 {
			covered = append(covered, name)
		}
	}
	return m.Sign(signLabel, httpsig.Input{Covered: covered, Params: httpsig.Params(now, signLife, rand.Text(), signLabel, key)}, key)
}

// messageOf is a request as its receiver sees it.
func messageOf(r *http.Request) *httpsig.Message {
	path := r.URL.Opaque
	if path == "" {
		path = r.URL.EscapedPath()
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	return &httpsig.Message{Method: r.Method, Scheme: r.URL.Scheme, Authority: host, Path: path, Query: r.URL.RawQuery, Header: r.Header}
}

// messageKey is the key that signs JWTs, for messages.
func (k *Ring) messageKey() httpsig.Key {
	held := k.held.Load()
	if len(held.set.Keys) == 0 {
		return httpsig.Key{}
	}
	id := held.set.Keys[0].KeyID
	if id == "" {
		id = "shared" // the secret of HS256, of which there is one
	}
	return httpsig.Key{ID: id, Secret: held.set.Keys[0].Key}
}

// Signer signs requests of our own over their bodies.
type Signer struct {
	keys *Ring
	now  func() time.Time
}

// NewSigner makes a signer with the keys that sign JWTs; nil where there are
// none.
func NewSigner(keys *Ring, now func() time.Time) *Signer {
	if keys.messageKey().Algorithm() == "" {
		return nil
	}
	return &Signer{keys, now}
}

// Sign puts Content-Digest (RFC 9530) and a signature (RFC 9421) over method,
// host, path, query, body and credentials into a request's header.
func (s *Signer) Sign(r *http.Request, body []byte) error {
	r.Header.Set("Content-Digest", httpsig.ContentDigest(body))
	return s.keys.signMessage(r, []string{"authorization", "idempotency-key"}, s.now())
}
