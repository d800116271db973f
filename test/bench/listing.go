package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// listings is how many programs list the folder at once.
const listings = 200

// cannedFolder answers for the account svc as Nextcloud does, with a folder of
// many files; the answer is made beforehand, so that it costs the server little.
func cannedFolder(mux *http.ServeMux) {
	const head = `<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns">`
	var folder bytes.Buffer
	folder.WriteString(head)
	entry := func(href, kind, id string) {
		fmt.Fprintf(&folder, `<d:response><d:href>%s</d:href><d:propstat><d:prop><d:resourcetype>%s</d:resourcetype><d:getcontentlength>12345</d:getcontentlength><d:getlastmodified>Sun, 22 Nov 2026 20:31:16 GMT</d:getlastmodified><d:getetag>&quot;4bd1b56b8b240ece0175bf22443f44bd&quot;</d:getetag><d:getcontenttype>application/pdf</d:getcontenttype><oc:fileid>%s</oc:fileid></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`, href, kind, id)
	}
	entry(davBase+"/files/svc/", "<d:collection/>", "1")
	for i := range davEntries {
		entry(fmt.Sprintf("%s/files/svc/report%%20%05d.pdf", davBase, i), "", fmt.Sprint(i+2))
	}
	folder.WriteString(`</d:multistatus>`)
	answer := func(body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/xml; charset=utf-8")
			w.WriteHeader(http.StatusMultiStatus)
			w.Write(body)
		}
	}
	mux.HandleFunc(davBase+"/files/svc/", answer(folder.Bytes()))
	mux.HandleFunc(davBase+"/{$}", answer([]byte(head+`<d:response><d:href>`+davBase+`/</d:href><d:propstat><d:prop><d:current-user-principal><d:href>`+davBase+`/principals/users/svc/</d:href></d:current-user-principal></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`)))
}

// listing measures a large folder as JSON: alone, and for many programs at once.
func (s *scene) listing(ctx context.Context) error {
	list := func() (time.Duration, int, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.site+"/integrations/files", nil)
		if err != nil {
			return 0, 0, err
		}
		r.Header.Set("Cookie", s.cookie)
		start := time.Now()
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, 0, err
		}
		defer resp.Body.Close()
		c := counter{of: []byte(`"path":`)}
		n, err := io.Copy(&c, resp.Body)
		if err == nil && (resp.StatusCode != http.StatusOK || c.n != davEntries) {
			err = fmt.Errorf("listing: %s, %d entries in %d bytes", resp.Status, c.n, n)
		}
		return time.Since(start), int(n), err
	}
	before := s.memory("VmRSS")
	var took []time.Duration
	size := 0
	for range davRounds {
		d, n, err := list()
		if err != nil {
			return err
		}
		took, size = append(took, d), n
	}
	one := median(took)
	fmt.Printf("JSON listing of 10,000 entries (%d KiB)  %v, %.0f entries/s; resident %d → %d KiB\n", size>>10, one.Round(time.Millisecond), davEntries/one.Seconds(), before, s.memory("VmRSS"))
	var wg sync.WaitGroup
	failed := make(chan error, listings)
	start := time.Now()
	for range listings {
		wg.Go(func() {
			if _, _, err := list(); err != nil {
				failed <- err
			}
		})
	}
	wg.Wait()
	all := time.Since(start)
	close(failed)
	for err := range failed {
		return fmt.Errorf("%d of %d listings at once failed, first: %w", len(failed)+1, listings, err)
	}
	fmt.Printf("JSON %d such listings at once              %v in all, %.0f entries/s; resident %d KiB, peak %d KiB\n",
		listings, all.Round(time.Millisecond), listings*davEntries/all.Seconds(), s.memory("VmRSS"), s.memory("VmHWM"))
	return nil
}

// counter counts how often a text comes by.
type counter struct {
	of   []byte
	n    int
	rest []byte
}

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	all := append(c.rest, b...)
	c.n += bytes.Count(all, c.of)
	keep := min(len(all), len(c.of)-1)
	c.rest = append([]byte(nil), all[len(all)-keep:]...)
	return len(b), nil
}
