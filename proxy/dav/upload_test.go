package dav

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/integrations"
)

// chunkStore is as much of Nextcloud's chunked upload as it takes: a body of
// unknown length is stored empty, as behind php-fpm.
type chunkStore struct {
	mu      sync.Mutex
	files   map[string][]byte // guarded by mu: by path
	folders map[string]bool   // guarded by mu
	refuse  map[string]int    // guarded by mu: statuses, by method and the end of a path
	largest int               // guarded by mu: body of one request
}

func (c *chunkStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // broken off: nothing is stored
	}
	if r.ContentLength < 0 {
		body = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.largest = max(c.largest, len(body))
	for key, status := range c.refuse {
		if method, end, _ := strings.Cut(key, " "); method == r.Method && strings.HasSuffix(r.URL.Path, end) {
			w.WriteHeader(status)
			return
		}
	}
	switch p := r.URL.Path; r.Method {
	case "MKCOL":
		c.folders[p] = true
		w.WriteHeader(http.StatusCreated)
	case http.MethodPut:
		c.files[p] = body
		w.Header().Set("ETag", `"put"`)
		w.WriteHeader(http.StatusCreated)
	case "DELETE":
		for f := range c.files {
			if strings.HasPrefix(f, p+"/") {
				delete(c.files, f)
			}
		}
		delete(c.folders, p)
		w.WriteHeader(http.StatusNoContent)
	case "MOVE":
		var parts []string
		for f := range c.files {
			if path.Dir(f) == path.Dir(p) {
				parts = append(parts, f)
			}
		}
		sort.Strings(parts)
		var whole []byte
		for _, f := range parts {
			whole = append(whole, c.files[f]...)
			delete(c.files, f)
		}
		delete(c.folders, path.Dir(p))
		destination, err := url.Parse(r.Header.Get("Destination"))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		to := destination.Path
		if _, exists := c.files[to]; exists && r.Header.Get("Overwrite") == "F" {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		c.files[to] = whole
		w.Header().Set("ETag", `"assembled"`)
		w.Header().Set("X-OC-MTime", "accepted")
		w.WriteHeader(http.StatusCreated)
	}
}

// unsized hides how long a body is.
type unsized struct{ io.Reader }

func putUnsized(t *testing.T, f *front, uri string, body io.Reader, headers ...string) (int, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPut, f.URL+uri, unsized{body})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("ETag") + string(b), nil
}

func TestUploadsOfUnknownLength(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), (2*partSize+12345)/16)
	tests := []struct {
		name    string
		uri     string
		body    []byte
		headers []string
		refuse  map[string]int
		want    int
		says    string
		stored  bool
		whole   bool // in one request, however large
	}{
		{name: "empty", uri: "/dav/files/svc/e", body: []byte{}, want: 201, stored: true},
		{name: "small", uri: "/dav/files/svc/s", body: []byte("small"), want: 201, stored: true},
		{name: "one part", uri: "/dav/files/svc/o", body: large[:partSize-1], want: 201, stored: true},
		{name: "just one part", uri: "/dav/files/svc/j", body: large[:partSize], want: 201, stored: true},
		{name: "large", uri: "/dav/files/svc/a%20b%c3%bc", body: large, want: 201, stored: true},
		{name: "large and announced", uri: "/dav/other/finder", body: large, headers: []string{"X-Expected-Entity-Length: " + strconv.Itoa(len(large))}, want: 201, stored: true, whole: true},
		{name: "shorter than announced", uri: "/dav/other/short", body: large, headers: []string{"X-Expected-Entity-Length: " + strconv.Itoa(len(large)+1)}, want: 400},
		{name: "longer than announced", uri: "/dav/other/long", body: large, headers: []string{"X-Expected-Entity-Length: " + strconv.Itoa(len(large)-1)}, want: 400},
		{name: "over another", uri: "/dav/files/svc/taken", body: large, want: 201, stored: true},
		{name: "not over another", uri: "/dav/files/svc/taken", body: large, headers: []string{"If-None-Match: *"}, want: 412},
		{name: "no room for a part", uri: "/dav/files/svc/q", body: large, refuse: map[string]int{"PUT /00002": 507}, want: 507, says: "quota_exceeded"},
		{name: "a range of a file", uri: "/dav/files/svc/r", body: large, headers: []string{"Content-Range: bytes 0-99/200"}, want: 400},
		{name: "not put together", uri: "/dav/files/svc/m", body: large, refuse: map[string]int{"MOVE .file": 423}, want: 423},
		{name: "account refused on the way", uri: "/dav/files/svc/c", body: large, refuse: map[string]int{"PUT /00003": 401}, want: 502},
		{name: "no chunked upload there", uri: "/dav/files/svc/n", body: large, refuse: map[string]int{"MKCOL ": 405}, want: 411},
		{name: "no files of anybody", uri: "/dav/other/n", body: large, want: 411},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := &chunkStore{files: map[string][]byte{"/remote.php/dav/files/svc/taken": []byte("before")}, folders: map[string]bool{}, refuse: tt.refuse}
			u := newUpstream(t, store.ServeHTTP)
			u.Server.Config.Handler = store
			f := newFront(t, services(u.URL), nil)
			status, said, err := putUnsized(t, f, tt.uri, bytes.NewReader(tt.body), tt.headers...)
			if err != nil || status != tt.want || !strings.Contains(said, tt.says) {
				t.Fatalf("PUT = %d %s %v, want %d with %q", status, said, err, tt.want, tt.says)
			}
			store.mu.Lock()
			defer store.mu.Unlock()
			name, _ := pathOf(tt.uri)
			got, found := store.files["/remote.php/dav"+strings.TrimPrefix(name, "/dav")]
			switch {
			case tt.stored && sha256.Sum256(got) != sha256.Sum256(tt.body):
				t.Errorf("stored %d bytes, want %d of what was sent", len(got), len(tt.body))
			case !tt.stored && name != "/dav/files/svc/taken" && found:
				t.Errorf("stored %d bytes, want nothing", len(got))
			case !tt.stored && name == "/dav/files/svc/taken" && string(got) != "before":
				t.Errorf("stored %d bytes over what was there", len(got))
			}
			for f := range store.files {
				if strings.Contains(f, "/uploads/") {
					t.Errorf("%s was left behind", f)
				}
			}
			if len(store.folders) > 0 {
				t.Errorf("%v was left behind", store.folders)
			}
			if store.largest > partSize && !tt.whole {
				t.Errorf("one request had %d bytes, want parts of %d at most", store.largest, partSize)
			}
		})
	}
}

func pathOf(escaped string) (string, error) {
	_, decoded, err := integrations.CleanPath(escaped)
	return decoded, err
}

// TestBrokenUpload: a client that goes away in the middle leaves nothing.
func TestBrokenUpload(t *testing.T) {
	store := &chunkStore{files: map[string][]byte{}, folders: map[string]bool{}}
	tidied := make(chan struct{}, 1)
	u := newUpstream(t, nil)
	u.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		store.ServeHTTP(w, r)
		if r.Method == http.MethodDelete {
			tidied <- struct{}{}
		}
	})
	f := newFront(t, services(u.URL), nil)
	src, dst := io.Pipe()
	go func() {
		dst.Write(make([]byte, partSize+partSize/2))
		src.CloseWithError(errors.New("gone"))
	}()
	if _, _, err := putUnsized(t, f, "/dav/files/svc/x", src); err == nil {
		t.Error("a broken upload was answered")
	}
	select {
	case <-tidied:
	case <-time.After(10 * time.Second):
		t.Fatal("what was uploaded was not removed")
	}
	store.mu.Lock()
	defer store.mu.Unlock()
	if len(store.files)+len(store.folders) > 0 {
		t.Errorf("left behind: %v %v", len(store.files), store.folders)
	}
}

// TestExpectContinue: a refusal of the server's comes before the body is sent.
func TestExpectContinue(t *testing.T) {
	u := newUpstream(t, nil)
	u.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusPreconditionFailed) })
	f := newFront(t, services(u.URL), nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, "PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\nIf-None-Match: *\r\n\r\n")
	line := make([]byte, len("HTTP/1.1 412"))
	if _, err := io.ReadFull(conn, line); err != nil || string(line) != "HTTP/1.1 412" {
		t.Errorf("PUT with Expect = %q %v, want 412 and no 100", line, err)
	}
}
