package dav

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Nextcloud behind php-fpm stores a body of unknown length as an empty file,
// so that every upload gets a length here: a small one as a whole, a larger
// one in parts, by Nextcloud's chunked upload.
const (
	partSize    = 10 << 20 // of each part but the last; Nextcloud wants five at least
	maxParts    = 10000    // of one upload, at Nextcloud
	maxUploads  = 16       // in parts at a time: each holds a part in memory
	smallUpload = 1 << 20  // up to which nobody waits for a turn
	tidyTime    = 10 * time.Second
)

// announced is how long a body is by the word of its client: macOS' Finder sends
// it in pieces, and says so beforehand. 0: it does not say. A body that is
// shorter or longer is broken off.
func announced(h http.Header) int64 {
	n, err := strconv.ParseInt(h.Get("X-Expected-Entity-Length"), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// measure reads a body of unknown length. If it is small the call goes on with
// its length known; if it is not, it is uploaded in parts and answered: done.
func (s *Service) measure(w http.ResponseWriter, x *call) (done bool, err error) {
	var b bytes.Buffer
	whole, err := readUpTo(&b, x.r.Body, smallUpload)
	if err != nil {
		return false, refused(fmt.Errorf("reading an upload: %w", err))
	}
	if !whole {
		select {
		case s.uploads <- struct{}{}:
			defer func() { <-s.uploads }()
		case <-x.r.Context().Done():
			return false, x.r.Context().Err()
		case <-time.After(tidyTime):
			return false, &Refusal{Status: http.StatusServiceUnavailable, Reason: reasonBusy, Text: "Too many uploads of unknown length at once.", RetryAfter: shortWait}
		}
		if whole, err = readUpTo(&b, x.r.Body, partSize); err != nil {
			return false, refused(fmt.Errorf("reading an upload: %w", err))
		}
	}
	if whole {
		s.metrics.uploads.WithLabelValues("whole").Inc()
		x.body, x.sized = b.Bytes(), true
		return false, nil
	}
	if x.r.Method != http.MethodPut {
		return false, &Refusal{Status: http.StatusLengthRequired, Reason: reasonLength, Text: "A body of this size needs its length said in advance (Content-Length)."}
	}
	return true, s.inParts(w, x, &b)
}

// readUpTo fills b up to size bytes; whole reports that the source ended.
func readUpTo(b *bytes.Buffer, src io.Reader, size int) (whole bool, err error) {
	want := int64(size - b.Len())
	n, err := io.CopyN(b, src, want)
	switch {
	case errors.Is(err, io.EOF):
		return true, nil
	case err != nil:
		return false, err
	}
	return n < want, nil
}

// parts is an upload in parts on its way.
type parts struct {
	s      *Service
	x      *call
	folder string // on the server, percent-encoded
	to     string // URL of the file on the server
	total  int64
}

// inParts uploads a body whose first part was read already, has the parts put
// together in place, and answers. Whatever fails, nothing is left behind.
func (s *Service) inParts(w http.ResponseWriter, x *call, first *bytes.Buffer) (err error) {
	p := &parts{s: s, x: x, to: x.at.url()}
	if p.folder, err = uploadsFor(x.at); err != nil {
		return err
	}
	if err := p.begin(); err != nil {
		return err
	}
	made := false
	defer func() {
		how := "in parts"
		if !made {
			how = "broken"
			p.tidy()
		}
		s.metrics.uploads.WithLabelValues(how).Inc()
	}()
	if err := p.send(first); err != nil {
		return err
	}
	resp, err := p.assemble()
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	made = resp.StatusCode/100 == 2
	return s.relay(w, x, resp)
}

// uploadsFor names a folder for the parts of an upload to a person's files.
func uploadsFor(at target) (string, error) {
	root, file, found := strings.Cut(at.raw, "/files/")
	uid, name, ok := strings.Cut(file, "/")
	if !found || !ok || uid == "" || name == "" || !strings.HasSuffix(root, "/remote.php/dav") {
		return "", &Refusal{Status: http.StatusLengthRequired, Reason: reasonLength, Text: "A body of this size needs its length said in advance (Content-Length)."}
	}
	return root + "/uploads/" + uid + "/anteroom-" + strings.ToLower(rand.Text()), nil
}

// begin makes the folder. A server that has no such thing is told apart from
// one that is in trouble.
func (p *parts) begin() error {
	resp, err := p.do(p.x.r.Context(), "MKCOL", p.folder, nil, func(h http.Header) { h.Set("Destination", p.to) })
	if err != nil {
		return err
	}
	if resp.StatusCode/100 == 4 {
		return &Refusal{Status: http.StatusLengthRequired, Reason: reasonLength, Text: "The server takes a body of this size only with its length said in advance (Content-Length).", Err: fmt.Errorf("making a folder for parts: %s", resp.Status)}
	}
	return p.ok(resp, "making a folder for parts")
}

// send uploads the body, part by part.
func (p *parts) send(b *bytes.Buffer) error {
	for n := 1; b.Len() > 0; n++ {
		if n > maxParts {
			return &Refusal{Status: http.StatusRequestEntityTooLarge, Reason: reasonTooLarge, Text: "The upload is too large for one of unknown length."}
		}
		p.total += int64(b.Len())
		resp, err := p.do(p.x.r.Context(), http.MethodPut, fmt.Sprintf("%s/%05d", p.folder, n), b.Bytes(), func(h http.Header) { h.Set("Destination", p.to) })
		if err != nil {
			return err
		}
		if err := p.ok(resp, "uploading a part"); err != nil {
			return err
		}
		b.Reset()
		if _, err := readUpTo(b, p.x.r.Body, partSize); err != nil {
			return refused(fmt.Errorf("reading an upload: %w", err))
		}
	}
	return nil
}

// assemble has the server put the parts together where the file belongs, under
// the conditions that the client set for it.
func (p *parts) assemble() (*http.Response, error) {
	return p.do(p.x.r.Context(), "MOVE", p.folder+"/.file", nil, func(h http.Header) {
		h.Set("Destination", p.to)
		h.Set("OC-Total-Length", strconv.FormatInt(p.total, 10))
		from := p.x.r.Header
		for _, name := range []string{"X-Oc-Mtime", "X-Oc-Ctime", "Oc-Checksum"} {
			if v := from.Get(name); v != "" {
				h.Set(name, v)
			}
		}
		if from.Get("If-None-Match") == "*" {
			h.Set("Overwrite", "F")
		}
		switch cond, match := from.Get("If"), from.Get("If-Match"); {
		case strings.HasPrefix(strings.TrimSpace(cond), "<"):
			h.Set("If", cond)
		case cond != "":
			h.Set("If", "<"+p.to+"> "+cond)
		case match != "" && match != "*":
			h.Set("If", "<"+p.to+"> "+anyOf(match))
		}
	})
}

// anyOf writes the list of an If-Match header (RFC 9110 §13.1.1) as conditions
// of an If header (RFC 4918 §10.4).
func anyOf(match string) string {
	var out []string
	for tag := range strings.SplitSeq(match, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			out = append(out, "(["+tag+"])")
		}
	}
	return strings.Join(out, " ")
}

// tidy removes what there is of an upload that will not be finished.
func (p *parts) tidy() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.x.r.Context()), tidyTime)
	defer cancel()
	resp, err := p.do(ctx, http.MethodDelete, p.folder, nil, func(http.Header) {})
	if err == nil {
		resp.Body.Close()
	} else {
		p.s.o.Log.Warn("the parts of a broken upload could not be removed from nextcloud", "error", err, "request_id", p.x.c.RequestID)
	}
}

// ok reads an answer away, and is nil for one that says yes.
func (p *parts) ok(resp *http.Response, what string) error {
	defer resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		io.Copy(io.Discard, io.LimitReader(resp.Body, maxPeek))
		return nil
	}
	if no := p.s.trouble(p.x, resp); no != nil {
		return no
	}
	status := resp.StatusCode
	if status < 400 {
		status = http.StatusBadGateway
	}
	return &Refusal{Status: status, Reason: reasonAway, Text: "Nextcloud does not take the upload.", Err: fmt.Errorf("%s: %s", what, resp.Status)}
}

// do makes a request of our own on the call's behalf.
func (p *parts) do(ctx context.Context, method, raw string, body []byte, set func(http.Header)) (*http.Response, error) {
	r, err := http.NewRequestWithContext(context.WithValue(ctx, callKey{}, p.x), method, p.x.mount.to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.ContentLength = int64(len(body))
	if len(body) == 0 {
		r.Body = http.NoBody
	}
	if agent := p.x.r.Header.Get("User-Agent"); agent != "" {
		r.Header.Set("User-Agent", agent)
	}
	p.s.address(r, p.x, raw, "")
	set(r.Header)
	return p.s.wire.RoundTrip(r)
}

// relay answers with the server's last word.
func (s *Service) relay(w http.ResponseWriter, x *call, resp *http.Response) error {
	if err := s.answered(resp); err != nil {
		return err
	}
	for name, values := range resp.Header {
		if !hopByHop[name] {
			w.Header()[name] = values
		}
	}
	if resp.ContentLength < 0 {
		w.Header().Del("Content-Length")
	}
	w.WriteHeader(resp.StatusCode)
	_, err := io.Copy(w, resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// hopByHop headers are about one connection (RFC 9110 §7.6.1).
var hopByHop = map[string]bool{"Connection": true, "Keep-Alive": true, "Transfer-Encoding": true, "Te": true, "Trailer": true, "Upgrade": true}
