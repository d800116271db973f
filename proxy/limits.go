package proxy

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The limits' names: a closed set, for the metric. docs/limits.md has them all.
const (
	limitConnections = "connections"
	limitAddress     = "connections_per_address"
	limitURL         = "url"
	limitFields      = "header_fields"
	limitCookies     = "cookies"
	limitUpload      = "upload_stalled"
	limitReader      = "reader_stalled"
	limitMessage     = "message"

	limitSignIn        = "sign_in_rate"
	limitSignInAccount = "sign_in_account_rate"
	limitToken         = "token_rate"
	limitTokenAccount  = "token_account_rate"
)

// Reasons of refusals, beside those in refuse.go.
const (
	reasonTooLong = "url_too_long"
	reasonFields  = "too_many_header_fields"
	reasonCookies = "too_many_cookies"
	reasonStalled = "upload_too_slow"
)

// What has no key. http2Streams is how many requests one HTTP/2 connection may
// have under way (RFC 9113 §5.1.2); whoever opens and resets more than net/http
// puts up with, some four times as many, loses the connection.
const (
	maxHeaderFields = 256
	maxCookies      = 512 // browsers keep some 180 for a site
	http2Streams    = 128
)

// limits counts connections and what was turned away.
type limits struct {
	most, each int // connections, and of one address; 0: any number
	cfg        Config
	exempt     func(netip.Addr) bool // from each: front proxies bring the connections of many
	log        *slog.Logger          // of panics; nil: nobody is told

	open    prometheus.Gauge
	reached *prometheus.CounterVec // by limit

	mu    sync.Mutex
	total int                // guarded by mu
	by    map[netip.Addr]int // guarded by mu; those of an address, as network has it
}

func newLimits(cfg Config, exempt func(netip.Addr) bool, reg prometheus.Registerer) *limits {
	l := &limits{most: cfg.MaxConnections, each: cfg.MaxConnectionsPerAddress, cfg: cfg, exempt: exempt, by: map[netip.Addr]int{},
		open:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "anteroom_connections", Help: "Open connections of clients, WebSockets among them."}),
		reached: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_limited_total", Help: "Connections and requests turned away or cut off, by the limit that they ran into."}, []string{"limit"}),
	}
	for _, name := range []string{limitConnections, limitAddress, limitURL, limitFields, limitCookies, limitUpload, limitReader, limitMessage, limitSignIn, limitSignInAccount, limitToken, limitTokenAccount} {
		l.reached.WithLabelValues(name)
	}
	if reg != nil {
		reg.MustRegister(l.open, l.reached)
	}
	return l
}

func (l *limits) hit(limit string) { l.reached.WithLabelValues(limit).Inc() }

// listener is a listener whose connections are counted. One that is too many is
// closed at once, so that nobody who waits holds up those who may come in.
type listener struct {
	net.Listener
	l *limits
}

// Accept implements net.Listener.
func (a *listener) Accept() (net.Conn, error) {
	for {
		c, err := a.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := network(c.RemoteAddr())
		if limit := a.l.enter(from); limit != "" {
			a.l.hit(limit)
			abandon(c)
			continue
		}
		return &conn{Conn: c, l: a.l, from: from, stall: a.l.cfg.WriteTimeout}, nil
	}
}

// adminConnections is how many the admin listener has room for: orchestrators
// and collectors of metrics, and those they left open.
const adminConnections = 256

// AdminListener bounds the connections of the admin listener by themselves: what
// happens at the site's takes no room from it.
func AdminListener(l net.Listener) net.Listener {
	return &listener{l, newLimits(Config{MaxConnections: adminConnections, WriteTimeout: time.Minute}, func(netip.Addr) bool { return true }, nil)}
}

// abandon closes a connection with a reset: nothing of it stays in the kernel.
func abandon(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}

// network is what counts as one address: an IPv6 client has a /64 at least, and
// every address in it. The zero value is for what has no IP address.
func network(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	if p, err := ip.Prefix(64); ip.Is6() && err == nil {
		return p.Addr()
	}
	return ip
}

// enter counts a connection in; it names the limit that keeps it out, or "".
func (l *limits) enter(from netip.Addr) (limit string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.most > 0 && l.total >= l.most:
		return limitConnections
	case l.each > 0 && l.by[from] >= l.each && from.IsValid() && !l.exempt(from):
		return limitAddress
	}
	l.total++
	l.by[from]++
	l.open.Inc()
	return ""
}

// leave counts a connection out.
func (l *limits) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.by[from]--; l.by[from] <= 0 {
		delete(l.by, from)
	}
	l.open.Dec()
}

// bearable refuses what is too much of a request, by RFC 9110 §15.5.15 and RFC
// 6585 §5, or malformed, and writes to h what the answer has to say of a
// connection. How many bytes the header may have in all is for net/http to hold.
func (l *limits) bearable(h http.Header, r *http.Request) error {
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// There may have been a Content-Length, too, of which net/http says
		// nothing: somebody else may see the end elsewhere (RFC 9112 §6.1).
		h.Set("Connection", "close")
	}
	if most := l.cfg.MaxURLBytes; most > 0 && len(r.RequestURI) > most {
		l.hit(limitURL)
		return &refusal{status: http.StatusRequestURITooLong, reason: reasonTooLong}
	}
	n := 0
	for _, values := range r.Header {
		n += len(values)
	}
	if n > maxHeaderFields {
		l.hit(limitFields)
		return &refusal{status: http.StatusRequestHeaderFieldsTooLarge, reason: reasonFields}
	}
	n = 0
	for _, line := range r.Header["Cookie"] {
		n += 1 + strings.Count(line, ";")
	}
	if n > maxCookies {
		l.hit(limitCookies)
		return &refusal{status: http.StatusRequestHeaderFieldsTooLarge, reason: reasonCookies}
	}
	return wellFormed(r)
}
