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

	"anteroom/integrations"
	"anteroom/session"
	"anteroom/session/semaphore"
)

// Nextcloud behind php-fpm stores a body of unknown length as an empty file,
// so that every upload gets a length here: a small one as a whole, a larger
// one in parts, by Nextcloud's chunked upload.
const (
	partSize    = 5 << 20 // of each part but the last: the least that Nextcloud takes
	maxParts    = 10000   // of one upload, at Nextcloud
	maxUploads  = 64      // at a time, a quarter of them one caller's: each holds a part in memory
	smallUpload = 1 << 20 // up to which nobody waits for a turn
	tidyTime    = 10 * time.Second
	stallTime   = 8 * time.Second // for a client to send anything, while it holds a place that others wait for
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
// A place it took is given back by the caller: what was read is in memory until then.
func (s *Service) measure(w http.ResponseWriter, x *call) (done bool, err error) {
	if x.r.Method == http.MethodPut && x.r.Header.Get("Content-Range") != "" { // it would become the whole (RFC 9110 §14.5)
		return false, &Refusal{Status: http.StatusBadRequest, Reason: integrations.ReasonInvalid, Text: "A file is put there as a whole, not in ranges (Content-Range)."}
	}
	var b bytes.Buffer
	whole, err := readUpTo(&b, x.r.Body, smallUpload)
	if err != nil {
		return false, refused(fmt.Errorf("reading an upload: %w", err))
	}
	if !whole {
		if err := s.takePlace(x, s.uploads); err != nil {
			return false, err
		}
		x.r.Body = &lively{x.r.Body, http.NewResponseController(w)}
		if whole, err = readUpTo(&b, x.r.Body, partSize); err != nil {
			return false, refused(fmt.Errorf("reading an upload: %w", err))
		}
	}
	switch {
	case whole:
		s.metrics.uploads.WithLabelValues("whole").Inc()
		x.body, x.sized = b.Bytes(), true
		return false, nil
	case x.r.Method != http.MethodPut:
		return false, lengthRequired()
	}
	return true, s.inParts(w, x, &b)
}

// takePlace waits for one of some places, for a while. The call has it until it
// is over.
func (s *Service) takePlace(x *call, in *semaphore.Keyed) error {
	switch err := in.Acquire(x.r.Context(), x.c.Who.Subject, tidyTime); {
	case err == nil:
		x.place = in
		return nil
	case !errors.Is(err, semaphore.ErrBusy):
		return err
	default:
		return &Refusal{Status: http.StatusServiceUnavailable, Reason: reasonBusy, Text: "Too many large requests at once.", RetryAfter: shortWait}
	}
}

func lengthRequired() *Refusal {
	return &Refusal{Status: http.StatusLengthRequired, Reason: reasonLength, Text: "A body like this needs its length said in advance (Content-Length)."}
}

// lively is a body that may not stand still: it holds a place.
type lively struct {
	io.ReadCloser
	c *http.ResponseController
}

// Read implements io.Reader. At the end of the body nothing more is waited for:
// net/http takes a limit that passes then for a client that left.
func (l *lively) Read(p []byte) (n int, err error) {
	_ = l.c.SetReadDeadline(time.Now().Add(stallTime))
	if n, err = l.ReadCloser.Read(p); err != nil {
		_ = l.c.SetReadDeadline(time.Time{})
	}
	return n, err
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

	conditions http.Header // of putting it there
}

// inParts uploads a body whose first part was read already, has the parts put
// together in place, and answers. Whatever fails, nothing is left behind.
func (s *Service) inParts(w http.ResponseWriter, x *call, first *bytes.Buffer) (err error) {
	p := &parts{s: s, x: x, to: x.at.url()}
	if p.folder, err = uploadsFor(x.at); err != nil {
		return err
	}
	if p.conditions, err = conditionsOf(x.r.Header, p.to); err != nil {
		return err
	}
	made, begun := false, true
	defer func() {
		how := "in parts"
		if !made {
			how = "broken"
			if begun {
				p.tidy()
			}
		}
		s.metrics.uploads.WithLabelValues(how).Inc()
	}()
	if begun, err = p.begin(); err != nil {
		return err
	}
	if err := p.send(first); err != nil {
		return err
	}
	resp, err := p.assemble()
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound && x.r.Header.Get("If-Match") != "" { // so Nextcloud says of an If about what is not there
		return integrations.Answered(&http.Response{StatusCode: http.StatusPreconditionFailed}, "file")
	}
	made = resp.StatusCode/100 == 2
	return s.relay(w, x, resp)
}

// uploadsFor names a folder for the parts of an upload to a person's files.
func uploadsFor(at target) (string, error) {
	root, file, found := strings.Cut(at.raw, "/files/")
	uid, name, ok := strings.Cut(file, "/")
	if !found || !ok || uid == "" || name == "" || !strings.HasSuffix(root, "/remote.php/dav") {
		return "", lengthRequired()
	}
	return root + "/uploads/" + uid + "/anteroom-" + strings.ToLower(rand.Text()), nil
}

// begin makes the folder. A server that has no such thing is told apart from
// one that is in trouble. made is false if it is certain that there is none.
func (p *parts) begin() (made bool, err error) {
	resp, err := p.do(p.x.r.Context(), "MKCOL", p.folder, nil, func(h http.Header) { h.Set("Destination", p.to) })
	if err != nil {
		return true, err // for all that is known
	}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusNotImplemented:
		resp.Body.Close()
		return false, lengthRequired()
	}
	made = resp.StatusCode/100 == 2
	return made, p.ok(resp, "making a folder for parts")
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
// the conditions that the client set for it. Once begun it is not broken off:
// all of the file is there.
func (p *parts) assemble() (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.x.r.Context()), answerTime)
	resp, err := p.do(ctx, "MOVE", p.folder+"/.file", nil, func(h http.Header) {
		h.Set("Destination", p.to)
		h.Set("OC-Total-Length", strconv.FormatInt(p.total, 10))
		for name, v := range p.conditions {
			h[name] = v
		}
		for _, name := range []string{"X-Oc-Mtime", "X-Oc-Ctime", "Oc-Checksum"} {
			if v := p.x.r.Header.Get(name); v != "" {
				h.Set(name, v)
			}
		}
	})
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &cancelling{resp.Body, cancel}
	return resp, nil
}

// cancelling ends a request's context with its answer.
type cancelling struct {
	io.ReadCloser
	cancel func()
}

// Close implements io.Closer.
func (c *cancelling) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// tidy removes what there is of an upload that will not be finished.
func (p *parts) tidy() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.x.r.Context()), tidyTime)
	defer cancel()
	resp, err := p.do(ctx, http.MethodDelete, p.folder, nil, func(http.Header) {})
	if err == nil {
		resp.Body.Close()
	} else {
		p.s.o.Log.Warn("the parts of a broken upload could not be removed from nextcloud", "error", session.WithoutQuotes(err), "request_id", p.x.c.RequestID)
	}
}

// ok reads an answer away, and is nil for one that says yes.
func (p *parts) ok(resp *http.Response, what string) error {
	defer resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10))
		return nil
	}
	if no := p.s.trouble(p.x, resp); no != nil {
		return no
	}
	status := resp.StatusCode
	if status == http.StatusInsufficientStorage {
		return integrations.Answered(resp, "file")
	}
	if status < 400 {
		status = http.StatusBadGateway
	}
	return &Refusal{Status: status, Reason: integrations.ReasonAway, Text: "Nextcloud does not take the upload.", Err: fmt.Errorf("%s: it answers %d", what, resp.StatusCode)}
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
