package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/proxy/httpsig"
	"anteroom/session"
	"anteroom/session/semaphore"
)

// caught is a connection that keeps the last request's header.
type caught struct{ header http.Header }

func (c *caught) RoundTrip(r *http.Request) (*http.Response, error) {
	c.header = r.Header
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// TestSignedWithoutBody: that there is no body is signed, too; and two requests
// that are the same are not signed the same.
func TestSignedWithoutBody(t *testing.T) {
	now := time.Now()
	for _, how := range []string{SignRequest, SignBody} {
		s, wire := newSignature(testConfig(), how, newAsserter(t, testConfig(), func() time.Time { return now })), &caught{}
		var before string
		for range 2 {
			r := httptest.NewRequest("GET", "http://app/x", nil)
			if _, err := s.send(wire, r); err != nil {
				t.Fatal(err)
			}
			in := wire.header.Get("Signature-Input")
			if wire.header.Get("Content-Digest") != httpsig.ContentDigest(nil) || !strings.Contains(in, `"content-digest"`) {
				t.Errorf("%s: a request without a body is signed as %q with %q, want the digest of nothing in it", how, in, wire.header.Get("Content-Digest"))
			}
			if in == before || wire.header.Get("Signature") == "" {
				t.Errorf("%s: two requests are both signed as %q", how, in)
			}
			before = in
		}
	}
}

// TestBodiesHeldAreBounded: bodies that are held to be signed share their places
// among all destinations, and who waits for one in vain is told so.
func TestBodiesHeldAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsserter(t, testConfig(), time.Now)
		a.bodies = semaphore.New(1, 1)
		one, other := newSignature(testConfig(), SignRequest, a), newSignature(testConfig(), SignBody, a)
		slow, client := io.Pipe()
		held := httptest.NewRequest("POST", "http://app/", slow)
		held.ContentLength = 4
		sent := make(chan error, 1)
		go func() {
			_, err := one.send(&caught{}, held)
			sent <- err
		}()
		synctest.Wait()
		begun := time.Now()
		if _, err := other.send(&caught{}, httptest.NewRequest("POST", "http://other/", strings.NewReader("body"))); !errors.Is(err, ErrBusy) || time.Since(begun) != digestWait {
			t.Errorf("a body while all places are taken = %v after %s, want ErrBusy after %s", err, time.Since(begun), digestWait)
		}
		if _, err := other.send(&caught{}, httptest.NewRequest("GET", "http://other/", nil)); err != nil {
			t.Errorf("a request without a body meanwhile = %v, want it sent", err)
		}
		client.Write([]byte("body"))
		if err := <-sent; err != nil {
			t.Errorf("the body that was waited for = %v", err)
		}
		wire := &caught{}
		if _, err := other.send(wire, httptest.NewRequest("POST", "http://other/", strings.NewReader("body"))); err != nil || wire.header.Get("Content-Digest") != httpsig.ContentDigest([]byte("body")) {
			t.Errorf("a body when there is a place again = %v, digest %q", err, wire.header.Get("Content-Digest"))
		}
		broken := httptest.NewRequest("POST", "http://app/", io.NopCloser(io.MultiReader(bytes.NewReader([]byte("bo")))))
		broken.ContentLength = 4
		if _, err := one.send(&caught{}, broken); err == nil || a.bodies.Held() != 0 {
			t.Errorf("a body that breaks off = %v, %d places taken, want an error and none", err, a.bodies.Held())
		}
	})
}

// TestBodiesHeldOfOne: a caller whose bodies do not come has a share of the places,
// and others are sent on at once; so are people whom nobody knows, by address.
func TestBodiesHeldOfOne(t *testing.T) {
	for name, tt := range map[string]struct{ one, other call }{
		"people": {call{as: &assertion{who: &session.Identity{Subject: "ada"}}, hop: &Hop{ClientIP: "192.0.2.7"}}, call{as: &assertion{who: &session.Identity{Subject: "bob"}}, hop: &Hop{ClientIP: "192.0.2.7"}}},
		"nobody": {call{hop: &Hop{ClientIP: "2001:db8::1"}}, call{hop: &Hop{ClientIP: "2001:db8:1::1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAsserter(t, testConfig(), time.Now)
				s := newSignature(testConfig(), SignBody, a)
				post := func(c call, body io.Reader) *http.Request {
					c.ResponseWriter = httptest.NewRecorder()
					r := httptest.NewRequest("POST", "http://app/", body)
					r.ContentLength = 4
					return r.WithContext(context.WithValue(r.Context(), callKey{}, &c))
				}
				body, client := io.Pipe()
				errs := make(chan error, digestPlaces)
				for range digestPlaces {
					go func() {
						_, err := s.send(&caught{}, post(tt.one, body))
						errs <- err
					}()
				}
				synctest.Wait()
				if n := a.bodies.Held(); n != digestEach {
					t.Errorf("one caller holds %d bodies, want %d", n, digestEach)
				}
				begun := time.Now()
				if _, err := s.send(&caught{}, post(tt.other, strings.NewReader("body"))); err != nil || time.Since(begun) != 0 {
					t.Errorf("another's body = %v after %s, want it sent at once", err, time.Since(begun))
				}
				for range digestPlaces - digestEach {
					if err := <-errs; !errors.Is(err, ErrBusy) || time.Since(begun) != digestWait {
						t.Errorf("one more body = %v after %s, want ErrBusy after %s", err, time.Since(begun), digestWait)
					}
				}
				client.Close()
				for range digestEach {
					<-errs
				}
				if n := a.bodies.Held(); n != 0 {
					t.Errorf("%d places are taken when all are over, want none", n)
				}
			})
		})
	}
}

// TestSignedBodyInTime: a client that sends a body too slowly has no place for
// it any longer.
func TestSignedBodyInTime(t *testing.T) {
	err := readInTime(httptest.NewRequest("POST", "http://app/", lateBody{}), make([]byte, 4))
	if !errors.Is(err, ErrSlowBody) {
		t.Errorf("a body whose time has passed = %v, want ErrSlowBody", err)
	}
}

// lateBody is a body whose deadline has passed.
type lateBody struct{}

func (lateBody) Read([]byte) (int, error) {
	return 0, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
}
