// Package dav is the passthrough to Nextcloud's files, calendars and contacts:
// WebDAV (RFC 4918), CalDAV (RFC 4791) and CardDAV (RFC 6352) under paths of
// ours, with credentials that only we hold. To a client it cannot be told from
// the server behind it: every path that goes through, in headers and in bodies,
// is mapped on the way.
//
// It trusts who the gate says is calling. It trusts no path, header or body of
// the client's: each is read as the server behind might read it before it is
// sent on. Of the server it trusts neither redirects nor cookies.
package dav

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/integrations"
	"anteroom/session"
	"anteroom/session/semaphore"
)

// Options is what a Service needs besides the settings of the integrations.
type Options struct {
	Client *http.Client // for Nextcloud: its authorities, pins and address; its timeout is for short calls and not used here
	Public string       // our origin, for URLs that the server writes in full
	// Ours reports whether a Host is one that is answered to here.
	Ours     func(host string) bool
	Access   *integrations.Access                      // nil: nobody has anything but the service account
	Traced   func(http.RoundTripper) http.RoundTripper // has requests told of; nil: nobody is told
	Log      *slog.Logger
	Registry prometheus.Registerer // nil: nothing is counted
}

// Call is one request as the gate hands it over, and what became of it.
type Call struct {
	integrations.Caller
	Path string // of ours, percent-encoded, as it was sent

	As string // on return: the account that the server saw; empty for a person's own
	To string // on return: the destination's path here, percent-encoded; empty for none
}

// Service answers requests for all mounts. Safe for concurrent use.
type Service struct {
	o         Options
	mounts    table
	wire      *session.Transport
	proxy     *httputil.ReverseProxy
	uploads   *semaphore.Keyed // a place for each upload that is being cut up, by caller
	documents *semaphore.Keyed // and for each large body of XML
	metrics   *metrics
}

const (
	answerTime   = 5 * time.Minute // until an answer begins: Nextcloud puts large uploads together before it says anything
	continueTime = time.Second     // until a body is sent unasked
	idleConns    = 128
	idleTime     = 4 * time.Second // less than the five after which Apache closes its own, so that no request meets a closing one
	maxHeader    = 1 << 20
	shortWait    = 5 * time.Second
	xmlTime      = time.Minute // for a client to send a body of XML
)

// New makes a service of what is configured and has a mount; it opens no
// connection.
func New(cfg integrations.Config, o Options) (*Service, error) {
	if o.Access == nil {
		o.Access = &integrations.Access{Public: o.Public, Log: o.Log}
	}
	s := &Service{o: o, uploads: semaphore.New(maxUploads, maxUploads/4), documents: semaphore.New(maxDocuments, maxDocuments/4), metrics: newMetrics(o.Registry)}
	var mounts []*Mount
	for _, d := range []struct {
		name string
		cfg  integrations.DAV
	}{{"webdav", cfg.WebDAV}, {"caldav", cfg.CalDAV}, {"carddav", cfg.CardDAV}} {
		if d.cfg.Mount == "" || d.cfg.Mount == integrations.NoMount {
			continue
		}
		m, err := newMount(d.name, d.cfg)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	s.mounts = newTable(mounts)
	if s.wire = newTransport(o.Client); s.wire == nil {
		return nil, errors.New("dav: the client for Nextcloud is wrapped: its authorities and pins would not hold")
	}
	var wire http.RoundTripper = s.wire
	if o.Traced != nil {
		wire = o.Traced(wire)
	}
	s.proxy = &httputil.ReverseProxy{
		Rewrite:        s.rewrite,
		Transport:      sending{wire},
		BufferPool:     copyBuffers{},
		ModifyResponse: s.answered,
		ErrorHandler:   func(_ http.ResponseWriter, r *http.Request, err error) { callOf(r).err = err },
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	if o.Log != nil {
		s.proxy.ErrorLog = slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)
	}
	return s, nil
}

// newTransport is the client's for large bodies: it waits for 100 Continue,
// decodes nothing, and lets an answer take its time. nil for a client whose
// authorities and pins it could not have.
func newTransport(c *http.Client) *session.Transport {
	next := c.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	return session.Derive(next, func(t *http.Transport) {
		t.Proxy = nil
		t.DisableCompression = true
		t.ExpectContinueTimeout = continueTime
		t.ResponseHeaderTimeout = answerTime
		t.MaxIdleConnsPerHost = idleConns
		t.IdleConnTimeout = idleTime
		t.MaxResponseHeaderBytes = maxHeader
	})
}

// Mounts lists what is served.
func (s *Service) Mounts() []*Mount { return s.mounts }

// Close closes idle connections; requests under way go on.
func (s *Service) Close() { s.wire.CloseIdleConnections() }

// call is a request on its way through.
type call struct {
	s     *Service
	c     *Call
	r     *http.Request // as it came
	mount *Mount
	at    target
	grant integrations.Grant
	body  []byte // of XML, mapped; nil: the request's own is passed on
	sized bool   // body replaces the request's
	err   error

	length int64            // of a body that does not say itself; 0: not known
	broken atomic.Bool      // the client broke its body off
	place  *semaphore.Keyed // that it has a place in: Service.uploads, or documents; nil for none
}

type callKey struct{}

func callOf(r *http.Request) *call { return r.Context().Value(callKey{}).(*call) }

// Serve answers one request. An error means that nothing was written; it is a
// *Refusal. An answer that breaks off is cut off, by panicking with
// http.ErrAbortHandler.
func (s *Service) Serve(w http.ResponseWriter, r *http.Request, c *Call) error {
	defer cutOff(w, r)()
	x := &call{s: s, c: c, r: r.WithContext(r.Context())} // a copy: its header is changed
	defer func() {                                        // also if the answer is cut off
		if x.place != nil {
			x.place.Release(x.c.Who.Subject)
		}
	}()
	if no := s.prepare(w, x); no != nil {
		s.metrics.refused.WithLabelValues(no.Reason).Inc()
		return no
	}
	c.As = x.grant.As()
	if r.ContentLength != 0 {
		// Without it, net/http reads the rest of the client's body away as the
		// answer begins, and the server would miss it (HTTP/1.1 only).
		_ = http.NewResponseController(w).EnableFullDuplex()
		defer leave(w, r)
	}
	if x.length = announced(r.Header); !x.sized && r.ContentLength < 0 && x.length == 0 {
		done, err := s.measure(w, x)
		if done || err != nil {
			return s.failed(err)
		}
	}
	s.forward(w, x)
	var known *Refusal
	if x.broken.Load() && x.err != nil && !errors.As(x.err, &known) {
		x.err = refused(x.err)
	}
	return s.failed(x.err)
}

// cutOff has whoever reads from the client or writes to it stop when the
// request's context ends: a client that sends nothing and reads nothing would
// hold an answer up for ever. Call what it returns before the request is over.
func cutOff(w http.ResponseWriter, r *http.Request) (over func()) {
	ran := make(chan struct{})
	stop := context.AfterFunc(r.Context(), func() {
		defer close(ran)
		_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
		_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-ran
		}
	}
}

// leave is done with a body, of which the client may still have some to send:
// a little is read away, for not too long. net/http would do that only when
// nobody serves the request any more, and trip over its own reading ahead.
func leave(w http.ResponseWriter, r *http.Request) {
	if r.Context().Err() != nil {
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(shortWait))
	r.Body.Close()
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// failed is what Serve returns for an error on the way to the server.
func (s *Service) failed(err error) error {
	if err == nil {
		return nil
	}
	no := integrations.Lost(err)
	s.metrics.refused.WithLabelValues(no.Reason).Inc()
	return no
}

// prepare checks and maps all of a request before anything of it is sent on.
func (s *Service) prepare(w http.ResponseWriter, x *call) *Refusal {
	if strings.Contains(x.c.Path+x.r.URL.RawQuery, " ") { // from HTTP/2, and it would end a request line's path
		return refused(integrations.ErrPath)
	}
	in := &inward{table: s.mounts, who: x.c.Who, ours: s.o.Ours}
	var err error
	x.at, err = in.path(x.c.Path)
	if errors.Is(err, errScope) && uploadMethods[x.r.Method] && x.at.mount.uploads(x.at.below, x.c.Who) {
		err = nil
	}
	if err != nil {
		return refused(err)
	}
	x.mount = x.at.mount
	in.entry, in.below = x.mount, x.at.below
	in.fromRoot, in.sets = x.r.Method == "SEARCH" && strings.HasSuffix(x.mount.base, "/remote.php/dav"), settingMethods[x.r.Method]
	x.r.Header = x.r.Header.Clone()
	to, err := in.mapHeaders(x.r.Header)
	if err != nil {
		return refused(err)
	}
	if to.mount != nil {
		x.c.To = to.mount.Path + rest(to.raw, to.mount.base)
	}
	if err := mayChange(x.r.Method, x.at, to); err != nil {
		return refused(err)
	}
	if x.at.aside {
		x.r.Header.Set("Depth", "0") // who else there is is nobody's business
	}
	if carriesXML(x.r) {
		if n := x.r.ContentLength; n < 0 || n > smallXML {
			if err := s.takePlace(x, s.documents); err != nil {
				return integrations.Lost(err)
			}
		}
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(xmlTime))
		if x.body, err = in.readXML(x.r); err != nil {
			return refused(err)
		}
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		x.sized = true
	}
	if x.grant, err = s.o.Access.For(x.r.Context(), x.mount.Name, &x.mount.cfg, &x.c.Caller); err != nil {
		return integrations.Lost(err)
	}
	return nil
}
