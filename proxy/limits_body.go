package proxy

import (
	"io"
	"net/http"
	"sync"
	"time"

	"anteroom/session"
)

// slowestUpload is the rate, in bytes a second, that a client has to keep up
// with on the whole, beyond the time it may take anyway.
const slowestUpload = 500

// guard cuts off a client that something waits for, between hold and release,
// once that takes too long. nil guards nothing.
type guard struct {
	limit string
	l     *limits
	cut   func()        // makes what waits return
	usual time.Duration // for what has no other measure

	mu    sync.Mutex
	timer *time.Timer // guarded by mu; nil until it is needed
	armed bool        // guarded by mu: it is to cut
	did   bool        // guarded by mu: it has cut
	over  bool        // guarded by mu: the request is over, and so is all of this
}

// hold has what follows cut off when it takes as long as that.
func (g *guard) hold(most time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return
	}
	g.armed = true
	if g.timer == nil {
		g.timer = time.AfterFunc(most, g.late)
	} else {
		g.timer.Reset(most)
	}
}

func (g *guard) late() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.armed {
		g.armed, g.did = false, true
		g.l.hit(g.limit)
		g.cut()
	}
}

// begin is hold for the usual time.
func (g *guard) begin() {
	if g != nil {
		g.hold(g.usual)
	}
}

func (g *guard) release() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.armed {
		g.armed = false
		g.timer.Stop()
	}
}

// end releases for good: what could be cut is somebody else's soon.
func (g *guard) end() {
	if g == nil {
		return
	}
	g.release()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
}

// hasCut reports whether it has.
func (g *guard) hasCut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.did
}

// upload is a request's body on its way in. Its client may take as long as
// server.body_timeout and the time of slowestUpload, and no longer than the
// former at one go, until the answer begins: who is answered and goes on sending
// converses, and may be silent meanwhile.
type upload struct {
	io.ReadCloser
	g    guard
	most time.Duration

	mu      sync.Mutex
	waited  time.Duration // guarded by mu: for the client, in all
	size    int64         // guarded by mu: bytes so far
	answers bool          // guarded by mu: the answer has begun
	closing bool          // guarded by mu: nobody reads any more
	ended   bool          // guarded by mu: all has been read
}

// newUpload watches a request's body; nil where there is none.
func (l *limits) newUpload(w http.ResponseWriter, r *http.Request) *upload {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 || l.cfg.BodyTimeout <= 0 {
		return nil
	}
	c := http.NewResponseController(w)
	u := &upload{ReadCloser: r.Body, most: l.cfg.BodyTimeout}
	u.g = guard{limit: limitUpload, l: l, cut: func() { _ = c.SetReadDeadline(time.Unix(1, 0)) }}
	r.Body = u
	return u
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	u.wait()
	since := time.Now()
	n, err := u.read(p)
	u.mu.Lock()
	u.waited += time.Since(since)
	u.size += int64(n)
	u.ended = u.ended || err == io.EOF
	if !u.closing {
		u.g.release()
	}
	u.mu.Unlock()
	return n, err
}

// read reads. Whoever sends a body on does so beside the request's goroutine,
// where a panic of net/http's own would end the program.
func (u *upload) read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			session.LogPanic(u.g.l.log, "reading a body", v)
			n, err = 0, session.ErrPanic
		}
	}()
	return u.ReadCloser.Read(p)
}

// wait says how long the next read may wait for the client.
func (u *upload) wait() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.answers || u.closing {
		return
	}
	earned := time.Duration(u.size/slowestUpload) * time.Second
	u.g.hold(max(time.Millisecond, min(u.most, u.most+earned-u.waited)))
}

// answered notes that the answer begins; a read that waits may go on waiting.
func (u *upload) answered() {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.answers && !u.closing {
		u.g.release()
	}
	u.answers = true
}

// Close implements io.Closer. net/http reads away some of what is left, for
// which there is bodyTime.
func (u *upload) Close() error {
	u.mu.Lock()
	if !u.ended && !u.closing {
		u.g.hold(bodyTime)
		defer u.g.release()
	}
	u.closing = true
	u.mu.Unlock()
	return u.ReadCloser.Close()
}

// stalled reports whether the client was too slow and is cut off.
func (u *upload) stalled() bool { return u != nil && u.g.hasCut() }

// newReader watches that the client takes what is written to it, for HTTP/2,
// where one request may stand still on a connection that does not: nil for
// others, of which conn takes care.
func (l *limits) newReader(w http.ResponseWriter, r *http.Request) *guard {
	if r.ProtoMajor != 2 || l.cfg.WriteTimeout <= 0 {
		return nil
	}
	c := http.NewResponseController(w)
	return &guard{limit: limitReader, l: l, usual: l.cfg.WriteTimeout, cut: func() { _ = c.SetWriteDeadline(time.Unix(1, 0)) }}
}

// done is for the end of the request. It reports whether some of the body was
// not read.
func (u *upload) done() (rest bool) {
	if u == nil {
		return false
	}
	u.g.end()
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.ended
}

// last leaves the rest of an exchange to net/http: what is still to be sent and
// to be read away has its time, too.
func (l *limits) last(x *exchange) {
	rest := x.upload.done()
	x.reader.end()
	c := http.NewResponseController(x.ResponseWriter)
	switch {
	case x.reader != nil: // of this request alone
		_ = c.SetWriteDeadline(time.Now().Add(x.reader.usual))
	case rest && x.status != http.StatusSwitchingProtocols:
		_ = c.SetReadDeadline(time.Now().Add(bodyTime))
	}
}
