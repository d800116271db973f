package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"anteroom/proxy/forwardauth"
)

// origins works out where a request really comes from and which site it is
// for. X-Forwarded-* are believed from trusted proxies alone; no address is
// trusted by itself.
type origins struct {
	public  *url.URL
	host    string // of public, canonical
	hosts   map[string]bool
	domain  string // a shared cookie domain: hosts below it are ours; "" for none
	trusted []netip.Prefix
	traces  bool // what they say of traces is believed, too
}

// origin is what is known of a request's way here.
type origin struct {
	client    string // address of the client, without port
	forwarded string // X-Forwarded-For as the application shall get it
	proto     string // http or https
	host      string // as the client named it
	site      string // host in canonical form: lower case, without a default port
	trusted   bool   // the peer is a trusted proxy
	traces    bool   // its trace context and request id are believed, too
}

var errForwarded = errors.New("a trusted proxy sent forwarding headers that cannot be read")

func newOrigins(cfg Config, public *url.URL, domain string) (*origins, error) {
	o := &origins{public: public, host: canonicalHost(public.Host, public.Scheme), hosts: map[string]bool{}, domain: strings.TrimPrefix(domain, ".")}
	o.hosts[o.host] = true
	for _, h := range cfg.Hosts {
		o.hosts[canonicalHost(h, public.Scheme)] = true
	}
	for _, s := range cfg.TrustedProxies {
		p, err := parsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("server.trusted_proxies: %w", err)
		}
		o.trusted = append(o.trusted, p)
	}
	return o, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

// of reads a request's origin. errForwarded means that a trusted proxy said
// something that cannot be read: the request must be refused, never guessed at.
func (o *origins) of(r *http.Request) (origin, error) {
	g := origin{client: hostOf(r.RemoteAddr), proto: "http", host: r.Host}
	if r.TLS != nil {
		g.proto = "https"
	}
	g.forwarded = g.client
	if len(o.trusted) > 0 && o.trusts(g.client) {
		g.trusted, g.traces = true, o.traces
		if err := o.believe(&g, r.Header); err != nil {
			return g, err
		}
	}
	g.site = canonicalHost(g.host, g.proto)
	return g, nil
}

// behind is the origin of a request that a trusted proxy told us of, and that
// reached it from source. What names the site is for the proxy to tell.
func (o *origins) behind(source netip.Addr, h http.Header) (origin, error) {
	g := origin{client: source.String(), trusted: true, traces: o.traces}
	g.forwarded = g.client
	if !o.trustsAddr(source) {
		return g, nil
	}
	return g, o.rightmost(&g, strings.Join(h["X-Forwarded-For"], ","))
}

// believe takes over what a trusted proxy says of the request.
func (o *origins) believe(g *origin, h http.Header) error {
	proto, err := single(h, "X-Forwarded-Proto")
	if err != nil {
		return err
	}
	if proto != "" {
		var ok bool
		if g.proto, ok = forwardauth.Scheme(proto); !ok {
			return errForwarded
		}
	}
	host, err := single(h, "X-Forwarded-Host")
	if err != nil {
		return err
	}
	if host != "" {
		g.host = host
	}
	return o.rightmost(g, strings.Join(h["X-Forwarded-For"], ","))
}

// rightmost walks X-Forwarded-For from its end and takes the first address
// that is not a trusted proxy's: everything left of it is the client's word.
func (o *origins) rightmost(g *origin, chain string) error {
	if chain == "" {
		return nil
	}
	peer := g.client
	for rest, more := chain, true; more; {
		var last string
		if i := strings.LastIndexByte(rest, ','); i >= 0 {
			last, rest = rest[i+1:], rest[:i]
		} else {
			last, more = rest, false
		}
		addr, err := netip.ParseAddr(strings.TrimSpace(last))
		if err != nil {
			return errForwarded
		}
		g.client = addr.Unmap().String()
		if !o.trusts(g.client) {
			break
		}
	}
	g.forwarded = g.client
	if peer != g.client {
		g.forwarded += ", " + peer
	}
	return nil
}

func (o *origins) trusts(client string) bool {
	a, err := netip.ParseAddr(client)
	return err == nil && o.trustsAddr(a)
}

func (o *origins) trustsAddr(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range o.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// ours reports whether we answer to a Host (canonical form).
func (o *origins) ours(site string) bool {
	if o.hosts[site] {
		return true
	}
	if o.domain == "" {
		return false
	}
	name := bareHost(site)
	return (name == o.domain || strings.HasSuffix(name, "."+o.domain)) && hostForm.MatchString(site)
}

// hostForm is a name as DNS has it (RFC 1123 §2.1, and the underscore), with or
// without a port: what else comes before a shared domain is no host below it.
var hostForm = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*(:[0-9]{1,5})?$`)

// single returns the one value of a header; several, or a list, are a fault.
func single(h http.Header, name string) (string, error) {
	v := h[name]
	switch {
	case len(v) == 0:
		return "", nil
	case len(v) > 1, strings.ContainsAny(v[0], ", \t"):
		return "", errForwarded
	}
	return v[0], nil
}

// hostOf is the address of a RemoteAddr, without port and zone.
func hostOf(remote string) string {
	i := strings.LastIndexByte(remote, ':')
	if i < 0 {
		return remote
	}
	h := strings.TrimSuffix(strings.TrimPrefix(remote[:i], "["), "]")
	h, _, _ = strings.Cut(h, "%")
	return h
}

// canonicalHost is a Host in lower case, without a trailing dot and without
// the scheme's default port.
func canonicalHost(host, scheme string) string {
	host = lower(host)
	if scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	return strings.TrimSuffix(host, ".")
}

// bareHost is a Host without its port.
func bareHost(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}

// lower is strings.ToLower for ASCII alone: a host has no other letters, and
// folding others could make one host of two.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
