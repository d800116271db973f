package forwardauth

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// ExtAuthz is external authorization over gRPC (envoy.service.auth.v3): a
// dialect without a URL, whose question is a message and whose answer says what
// to change in the request. Read it with ReadCheck.
func ExtAuthz() *Dialect {
	return &Dialect{Name: "ext_authz", Relays: true, Cookies: AllCookies, Removes: true}
}

// Checked is what a CheckRequest says of the request it is about.
type Checked struct {
	Asked
	Header http.Header // the client's, never nil; names canonical
	Source netip.Addr  // who connected to Envoy
}

// ReadCheck recovers the question; no header may be longer than all together
// limit. The error wraps ErrQuestion; what could be read until then is there.
//
// Envoy joins the values of a repeated header with commas, unless it is told to
// send them raw (encode_raw_headers). Where both forms are there, neither is
// believed.
func ReadCheck(m *auth.CheckRequest, limit int) (Checked, error) {
	r := m.GetAttributes().GetRequest().GetHttp()
	c := Checked{Asked: Asked{Method: r.GetMethod(), Host: r.GetHost(), Target: r.GetPath(), Proto: r.GetScheme()}}
	source, err := address(m.GetAttributes().GetSource().GetAddress())
	if c.Source = source; err != nil {
		c.Header = http.Header{}
		return c, err
	}
	if c.Header, err = clientHeader(r, limit); err != nil {
		return c, err
	}
	switch {
	case r == nil:
		return c, fmt.Errorf("%w: attributes.request.http is missing", ErrQuestion)
	case r.GetQuery() != "", r.GetFragment() != "": // both are for the path to hold, or nobody
		return c, fmt.Errorf("%w: attributes.request.http has a query or fragment beside its path", ErrQuestion)
	}
	if len(c.Header["X-Forwarded-Proto"]) > 0 { // TLS may have ended before Envoy
		if c.Proto, err = one(c.Header, "X-Forwarded-Proto"); err != nil {
			return c, err
		}
	}
	return c, c.settle("attributes.request.http")
}

// address is the IP address of a peer. Other kinds say nothing of who called.
func address(a *core.Address) (netip.Addr, error) {
	addr, err := netip.ParseAddr(a.GetSocketAddress().GetAddress())
	if err != nil {
		return addr, fmt.Errorf("%w: attributes.source.address is no IP address", ErrQuestion)
	}
	return addr.Unmap().WithZone(""), nil
}

// clientHeader is the header of a request in either form. Envoy lists
// pseudo-headers (RFC 9113 §8.3) in it; they are parts of the question already.
func clientHeader(r *auth.AttributeContext_HttpRequest, limit int) (http.Header, error) {
	joined, raw := r.GetHeaders(), r.GetHeaderMap().GetHeaders()
	if len(joined) > 0 && len(raw) > 0 {
		return http.Header{}, fmt.Errorf("%w: it has both headers and header_map", ErrQuestion)
	}
	n := len(joined) + len(raw)
	h, values := make(http.Header, n), make([]string, 0, n) // one array for all values
	add := func(name, value string) bool {
		if strings.HasPrefix(name, ":") {
			return true
		}
		limit -= len(name) + len(value)
		name = textproto.CanonicalMIMEHeaderKey(name)
		if before := h[name]; before != nil {
			h[name] = append(before, value)
		} else {
			values = append(values, value)
			h[name] = values[len(values)-1 : len(values) : len(values)]
		}
		return limit >= 0 && name != ""
	}
	for name, value := range joined {
		if !add(name, value) {
			return h, errHeader
		}
	}
	for _, v := range raw {
		value := v.GetValue()
		if b := v.GetRawValue(); len(b) > 0 {
			if value != "" {
				return h, errHeader
			}
			value = string(b)
		}
		if !add(v.GetKey(), value) {
			return h, errHeader
		}
	}
	return h, nil
}

var errHeader = fmt.Errorf("%w: its header is too long, or has a line without a name or with two values", ErrQuestion)
