//go:build real

package realtest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// askHTTP is the HTTP service of ext_authz.
func (e *envoy) askHTTP(r *http.Request) verdict {
	s := e.authz.GetHttpService()
	away := verdict{denied: &answered{status: int(e.authz.StatusOnError.Code)}}
	conn, err := net.DialTimeout("tcp", e.clusters[s.ServerUri.GetCluster()], time.Second)
	if err != nil {
		return away
	}
	defer conn.Close()
	ask := &http.Request{Method: r.Method, Host: r.Host, URL: r.URL, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Close: true}
	for name, values := range r.Header {
		if matches(e.authz.AllowedHeaders, name) && name != "Content-Length" && name != "Transfer-Encoding" && name != "Connection" {
			if ask.Header[name] = values; !e.authz.EncodeRawHeaders {
				ask.Header[name] = []string{strings.Join(values, ",")}
			}
		}
	}
	u := url.URL{Scheme: "http", Host: conn.RemoteAddr().String(), Opaque: s.PathPrefix + r.RequestURI}
	if path, query, ok := strings.Cut(u.Opaque, "?"); ok {
		u.Opaque, u.RawQuery = path, query
	}
	ask.URL = &u
	resp, err := (&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}).RoundTrip(ask)
	if err != nil {
		return away
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case resp.StatusCode == http.StatusOK:
		return verdict{
			change: func(r *http.Request) {
				overwrite(r.Header, s.AuthorizationResponse.AllowedUpstreamHeaders, resp.Header)
			},
			add: only(resp.Header, s.AuthorizationResponse.AllowedClientHeadersOnSuccess),
		}
	case resp.StatusCode >= 500:
		return away
	}
	return verdict{denied: &answered{resp.StatusCode, only(resp.Header, s.AuthorizationResponse.AllowedClientHeaders), string(body)}}
}

func matches(list *matcher.ListStringMatcher, name string) bool {
	return slices.ContainsFunc(list.GetPatterns(), func(p *matcher.StringMatcher) bool {
		return strings.EqualFold(p.GetExact(), name) || p.GetSafeRegex() != nil && whole(p.GetSafeRegex(), strings.ToLower(name))
	})
}

func overwrite(h http.Header, which *matcher.ListStringMatcher, with http.Header) {
	for name, values := range with {
		if matches(which, name) {
			h[name] = values
		}
	}
}

func only(h http.Header, which *matcher.ListStringMatcher) http.Header {
	out := http.Header{}
	overwrite(out, which, h)
	return out
}
