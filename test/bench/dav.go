package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/net/webdav"
)

const (
	davEntries = 10_000
	davRounds  = 7
	davBase    = "/remote.php/dav"
)

// davSettings are what makes an Anteroom serve the application's files.
func (s *scene) davSettings() []string {
	return []string{"NEXTCLOUD_WEBDAV_URL=http://" + s.app + davBase, "NEXTCLOUD_WEBDAV_USERNAME=svc", "NEXTCLOUD_WEBDAV_PASSWORD=only-here", "ANTEROOM_INTEGRATIONS_WEBDAV_ALLOW=signed-in"}
}

// davFolder serves a folder of many files by WebDAV, and large ones that are
// made on the way. The folder is filled first.
func davFolder(mux *http.ServeMux, dir string) error {
	for i := range davEntries {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("report %05d.txt", i)), []byte("x"), 0o600); err != nil {
			return err
		}
	}
	files := &webdav.Handler{Prefix: davBase + "/files", FileSystem: webdav.Dir(dir), LockSystem: webdav.NewMemLS()}
	mux.Handle(davBase+"/files/", files)
	cannedFolder(mux)
	mux.HandleFunc(davBase+"/download", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(bigBody))
		io.CopyN(w, zeros{}, bigBody)
	})
	mux.HandleFunc(davBase+"/upload", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		io.WriteString(w, strconv.FormatInt(n, 10))
	})
	return nil
}

// dav compares the passthrough with a bare ReverseProxy before the same server.
func (s *scene) dav(ctx context.Context) error {
	ask := func(method, base string, size int64) (time.Duration, error) {
		path := map[string]string{http.MethodGet: "/download", http.MethodPut: "/upload", "PROPFIND": "/files/"}[method]
		var body io.Reader
		if method == http.MethodPut {
			body = io.LimitReader(zeros{}, size)
		}
		r, err := http.NewRequestWithContext(ctx, method, base+path, body)
		if err != nil {
			return 0, err
		}
		if method == http.MethodPut {
			r.ContentLength = size
		}
		r.Header.Set("Depth", "1")
		r.Header.Set("Cookie", s.cookie)
		start := time.Now()
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		if err == nil && (resp.StatusCode/100 != 2 || method == http.MethodGet && n != size || method == "PROPFIND" && n < davEntries*100) {
			err = fmt.Errorf("%s %s: %s, %d bytes", method, base, resp.Status, n)
		}
		return time.Since(start), err
	}
	server, bare, ours := "http://"+s.app+davBase, "http://"+s.proxy+davBase, "http://"+s.site+"/dav"
	before := s.memory("VmRSS")
	for _, what := range []struct {
		method, name string
		size         int64
	}{{http.MethodGet, "1 GiB GET", bigBody}, {http.MethodPut, "1 GiB PUT", bigBody}, {"PROPFIND", "PROPFIND of 10,000 entries", 0}} {
		took := map[string][]time.Duration{}
		for range davRounds {
			for _, base := range []string{server, bare, ours} {
				d, err := ask(what.method, base, what.size)
				if err != nil {
					return err
				}
				took[base] = append(took[base], d)
			}
		}
		own, by, through := median(took[server]), median(took[bare]), median(took[ours])
		fmt.Printf("DAV %-26s server %8v, bare ReverseProxy %8v, Anteroom %8v: %.2f of the bare one's throughput, %+.1f %% of the server's own time\n",
			what.name, own.Round(time.Microsecond), by.Round(time.Microsecond), through.Round(time.Microsecond), float64(by)/float64(through), 100*(float64(through)/float64(own)-1))
	}
	fmt.Printf("DAV resident %d → %d KiB, peak %d KiB\n", before, s.memory("VmRSS"), s.memory("VmHWM"))
	return nil
}
