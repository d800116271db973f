package dav

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/integrations"
	"anteroom/session"
	"anteroom/session/semaphore"
)

// noticed is a chunkStore that says which methods came, and may hold them up.
type noticed struct {
	*chunkStore
	before func(r *http.Request) // called ahead of the store
	after  func(r *http.Request) // called behind it, before the answer ends
}

func (n noticed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if n.before != nil {
		n.before(r)
	}
	n.chunkStore.ServeHTTP(w, r)
	if n.after != nil {
		n.after(r)
	}
}

func newNoticed(t *testing.T, n noticed) (*front, *chunkStore) {
	n.chunkStore = &chunkStore{files: map[string][]byte{}, folders: map[string]bool{}}
	u := newUpstream(t, nil)
	u.Server.Config.Handler = n
	return newFront(t, services(u.URL), nil), n.chunkStore
}

// stalled is an upload of which a first part comes, and then nothing.
func stalled(t *testing.T, ctx context.Context, f *front, size int) {
	src, dst := io.Pipe()
	context.AfterFunc(ctx, func() { src.CloseWithError(ctx.Err()) })
	go dst.Write(make([]byte, size))
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, f.URL+"/dav/files/svc/slow", unsized{src})
	if err != nil {
		t.Error(err)
		return
	}
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
	}
}

// TestSlowUploadsAreNotAll: clients that stop in the middle of their uploads
// do not keep everybody else from theirs.
func TestSlowUploadsAreNotAll(t *testing.T) {
	f, _ := newNoticed(t, noticed{})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for range maxUploads {
		all.Go(func() { stalled(t, ctx, f, smallUpload+64<<10) })
	}
	deadline := time.Now().Add(5 * time.Second)
	for len(slots(f)) < maxUploads/4 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	begun := time.Now()
	status, said, err := putUnsized(t, f, "/dav/files/svc/good", bytes.NewReader(make([]byte, smallUpload+1)), "X-Caller: other")
	if took := time.Since(begun); status != http.StatusCreated || took > stallTime/2 {
		t.Errorf("an upload beside %d of one caller that stand still = %d %s %v after %s, want 201 at once", maxUploads, status, said, err, took)
	}
	if n := len(slots(f)); n > maxUploads/4 {
		t.Errorf("one caller has %d places, want %d at most", n, maxUploads/4)
	}
	cancel()
	all.Wait()
	for deadline := time.Now().Add(stallTime); len(slots(f)) > 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := len(slots(f)); n > 0 {
		t.Errorf("%d places are taken by uploads that were given up", n)
	}
}

// TestWaitingForAPlace: who has their share waits, and is told to come again.
func TestWaitingForAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &front{service: &Service{uploads: semaphore.New(8, 2)}}
		take := func(ctx context.Context, who string) error {
			r := httptest.NewRequest(http.MethodPut, "/", nil).WithContext(ctx)
			return f.service.takePlace(&call{c: &Call{Caller: integrations.Caller{Who: &session.Identity{Subject: who}}}, r: r}, f.service.uploads)
		}
		begun := time.Now()
		for _, who := range []string{"ada", "ada", "bob"} {
			if err := take(t.Context(), who); err != nil || time.Since(begun) != 0 {
				t.Fatalf("a place for %s: %v after %s", who, err, time.Since(begun))
			}
		}
		var no *Refusal
		if err := take(t.Context(), "ada"); !errors.As(err, &no) || no.Status != http.StatusServiceUnavailable || no.RetryAfter <= 0 || time.Since(begun) != tidyTime {
			t.Errorf("a third place = %v after %s, want 503 with a time to wait after %s", err, time.Since(begun), tidyTime)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := take(gone, "ada"); !errors.Is(err, context.Canceled) {
			t.Errorf("a third place for who left = %v, want context.Canceled", err)
		}
	})
}

// TestWholeUploadsAreBounded: what is held in memory while the server takes its
// time is bounded, too.
func TestWholeUploadsAreBounded(t *testing.T) {
	const many = maxUploads + 24
	var under, most atomic.Int64
	open := make(chan struct{})
	f, _ := newNoticed(t, noticed{before: func(r *http.Request) {
		most.Store(max(most.Load(), under.Add(1)))
		<-open
	}})
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			putUnsized(t, f, "/dav/files/svc/x", bytes.NewReader(make([]byte, smallUpload+64<<10)), fmt.Sprint("X-Caller: ", i/8))
		})
	}
	deadline := time.Now().Add(5 * time.Second)
	for most.Load() < many && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	n := most.Load()
	close(open)
	all.Wait()
	if n > maxUploads {
		t.Errorf("%d uploads were held in memory at once, want %d at most", n, maxUploads)
	}
}

// TestOverWhileBeginning: a session that ends while the folder for parts is
// made leaves none behind.
func TestOverWhileBeginning(t *testing.T) {
	begun, tidied := make(chan struct{}), make(chan struct{}, 1)
	f, _ := newNoticed(t, noticed{after: func(r *http.Request) {
		switch r.Method {
		case "MKCOL":
			close(begun)
			<-r.Context().Done()
		case http.MethodDelete:
			tidied <- struct{}{}
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	r := httptest.NewRequest(http.MethodPut, "/dav/files/svc/x", unsized{bytes.NewReader(make([]byte, 2*partSize))}).WithContext(ctx)
	f.service.Serve(httptest.NewRecorder(), r, &Call{Caller: integrations.Caller{Who: &session.Identity{Subject: "indexer", Method: session.ByClient}}, Path: "/dav/files/svc/x"})
	select {
	case <-tidied:
	case <-time.After(3 * time.Second):
		t.Error("a folder for parts was made, the session ended, and the folder stays")
	}
}

// TestGoneWhileAssembling: a client that goes away when all of its upload is
// there, and is being put together, does not have the parts removed meanwhile.
func TestGoneWhileAssembling(t *testing.T) {
	begun, early := make(chan struct{}), make(chan string, 4)
	var assembling atomic.Bool
	f, _ := newNoticed(t, noticed{before: func(r *http.Request) {
		switch r.Method {
		case "MOVE":
			assembling.Store(true)
			close(begun)
			time.Sleep(2 * time.Second) // it takes Nextcloud minutes, and it goes on without us
			assembling.Store(false)
		case http.MethodDelete:
			if assembling.Load() {
				early <- r.URL.Path
			}
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; time.Sleep(50 * time.Millisecond); cancel() }()
	r, _ := http.NewRequestWithContext(ctx, http.MethodPut, f.URL+"/dav/files/svc/x", unsized{bytes.NewReader(make([]byte, partSize+1))})
	if resp, err := http.DefaultClient.Do(r); err == nil {
		resp.Body.Close()
	}
	select {
	case p := <-early:
		t.Errorf("DELETE %s while it was being put together", p)
	case <-time.After(3 * time.Second):
	}
}

// TestTroubleAtTheFirstStep: what is wrong is told apart from the first request
// of an upload in parts on.
func TestTroubleAtTheFirstStep(t *testing.T) {
	for status, want := range map[int]int{401: 502, 429: 429, 423: 423, 403: 403, 507: 507, 405: 411, 409: 411} {
		f, store := newNoticed(t, noticed{})
		store.refuse = map[string]int{"MKCOL ": status}
		got, said, err := putUnsized(t, f, "/dav/files/svc/x", bytes.NewReader(make([]byte, partSize+1)))
		if got != want {
			t.Errorf("with %d to MKCOL, PUT = %d %s %v, want %d", status, got, strings.TrimSpace(said), err, want)
		}
	}
}

// TestConditionsInParts: an upload in parts keeps to the conditions of a PUT
// (RFC 9110 §13.1).
func TestConditionsInParts(t *testing.T) {
	for _, header := range []string{"If-Match: *", `If-Match: "a,b"`, "If-Unmodified-Since: Mon, 01 Jan 2024 00:00:00 GMT", `If-None-Match: "x"`, `If-None-Match: *, "x"`} {
		var move http.Header
		f, _ := newNoticed(t, noticed{before: func(r *http.Request) {
			if r.Method == "MOVE" {
				move = r.Header.Clone()
			}
		}})
		status, _, _ := putUnsized(t, f, "/dav/files/svc/new", bytes.NewReader(make([]byte, partSize+1)), header)
		if status/100 != 2 {
			continue // refused: nothing is overwritten
		}
		name, value, _ := strings.Cut(header, ": ")
		kept := strings.Contains(move.Get("If"), strings.Trim(value, `*`)) && strings.Trim(value, "*") != "" || move.Get(name) == value
		if !kept {
			t.Errorf("PUT with %s = %d, though MOVE had If %q, %s %q, Overwrite %q", header, status, move.Get("If"), name, move.Get(name), move.Get("Overwrite"))
		}
	}
}
