package upstream

import (
	"net/http"
	"net/http/httputil"
	"strings"
)

// rewrite makes the application's request of the client's. ReverseProxy has
// removed hop-by-hop headers before, those that Connection names too, so that
// nothing named there removes what is set here.
func (f *Forwarder) rewrite(p *httputil.ProxyRequest) {
	c := callOf(p.In)
	h := p.Out.Header
	f.strip.strip(h)
	filterCookies(h, f.o.OwnCookie)
	upgrade(p)
	p.Out.Trailer = nil     // it could smuggle any header past us
	p.Out.Host = c.hop.Host // the host that was judged, whoever named it
	f.address(p.Out, c)
	c.set(h)
}

// set adds what the application is told. Values are shared or of one slice,
// each without room to grow, so that no later Add reaches another's.
func (c *call) set(h http.Header) {
	if c.as != nil {
		for _, x := range c.as.headers {
			h[x.name] = x.value
		}
	}
	v := []string{c.hop.RequestID, c.hop.ForwardedFor, c.hop.Proto, c.hop.Host, c.hop.Traceparent}
	h["X-Request-Id"] = v[0:1:1]
	h["X-Forwarded-For"] = v[1:2:2]
	h["X-Forwarded-Proto"] = v[2:3:3]
	h["X-Forwarded-Host"] = v[3:4:4]
	if c.hop.Traceparent != "" {
		h["Traceparent"] = v[4:5:5]
		if c.hop.Tracestate != "" {
			h["Tracestate"] = []string{c.hop.Tracestate}
		}
	}
}

// upgrade lets WebSocket handshakes through (RFC 6455 §4.1) and drops any
// other Upgrade: h2c would open a tunnel past the gate.
func upgrade(p *httputil.ProxyRequest) {
	h := p.Out.Header
	delete(h, "Http2-Settings")
	if u := p.In.Header["Upgrade"]; len(u) == 1 && strings.EqualFold(u[0], "websocket") && p.In.Method == http.MethodGet {
		return
	}
	delete(h, "Upgrade")
	delete(h, "Connection")
}

// target is where a request goes within the application, as bytes.
type target struct {
	opaque string // path as sent; "" where url.URL spells it the same
	query  string
	mark   bool // a ? with nothing after it
}

// CheckTarget reports ErrTarget for a request that Forward would not pass on.
func CheckTarget(r *http.Request) error {
	_, err := targetOf(r)
	return err
}

// targetOf takes the request target apart. The path goes out as URL.Opaque,
// which net/http writes as it is. It takes one that begins with // for a host,
// though: such a path must be what url.URL makes of it.
func targetOf(r *http.Request) (t target, err error) {
	uri := r.RequestURI
	if uri == "" {
		uri = r.URL.RequestURI()
	}
	for i := 0; i < len(uri); i++ {
		if uri[i] <= ' ' || uri[i] == 0x7f { // HTTP/2 brings them; in HTTP/1.1 they end the target
			return t, ErrTarget
		}
	}
	path, query, found := strings.Cut(uri, "?")
	t.query, t.mark = query, found && query == ""
	switch {
	case r.URL.Opaque != "":
		return t, ErrTarget
	case !strings.HasPrefix(path, "/"): // absolute-form or *: as it was matched
		return t, nil
	case !strings.HasPrefix(path, "//"):
		t.opaque = path
	case r.URL.EscapedPath() != path:
		return t, ErrTarget
	}
	return t, nil
}

// address points the request at the destination.
func (f *Forwarder) address(out *http.Request, c *call) {
	u := out.URL
	u.Scheme, u.Host, u.User = f.to.Scheme, f.to.Host, nil
	u.Opaque, u.RawQuery, u.ForceQuery = c.target.opaque, c.target.query, c.target.mark
	if f.dest.JWTInQuery {
		token := ""
		if c.as != nil {
			token = c.as.jwt
		}
		u.RawQuery = withParam(u.RawQuery, f.cfg.JWT.Query, token)
	}
}
