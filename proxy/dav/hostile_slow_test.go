package dav

import (
	"bytes"
	"net/http"
	"testing"
	"time"
)

// TestSlowServerFastClient: the limit on a client that stands still does not
// run against one that has sent all there is.
func TestSlowServerFastClient(t *testing.T) {
	for name, tt := range map[string]struct {
		size   int
		method string // that the server takes its time for
	}{
		"whole": {smallUpload + 1, http.MethodPut}, "in parts, the last": {partSize + 1, http.MethodPut}, "in parts, put together": {partSize + 1, "MOVE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, _ := newNoticed(t, noticed{before: func(r *http.Request) {
				if r.Method == tt.method && r.ContentLength != partSize {
					time.Sleep(stallTime + time.Second)
				}
			}})
			if status, said, err := putUnsized(t, f, "/dav/files/svc/x", bytes.NewReader(make([]byte, tt.size))); status != http.StatusCreated {
				t.Errorf("PUT = %d %s %v, want 201", status, said, err)
			}
		})
	}
}

// TestPlacesComeBack: an upload gives its place back however it ends.
func TestPlacesComeBack(t *testing.T) {
	store := &chunkStore{files: map[string][]byte{}, folders: map[string]bool{}}
	u := newUpstream(t, nil)
	u.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "MOVE" {
			w.Header().Set("Content-Length", "100") // and less than that comes
		}
		store.ServeHTTP(w, r)
	})
	f := newFront(t, services(u.URL), nil)
	for range 3 {
		putUnsized(t, f, "/dav/files/svc/x", bytes.NewReader(make([]byte, partSize+1)))
	}
	if n := len(slots(f)); n > 0 {
		t.Errorf("%d of %d places are taken by uploads that are over", n, maxUploads)
	}
}
