//go:build real

package realtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extauthz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// TestEnvoy runs the suite behind something that does what the files of
// deploy/envoy say, as far as they say it, and speaks Envoy's two protocols: no
// Envoy could be had.
func TestEnvoy(t *testing.T) {
	for _, kind := range []string{"http", "grpc"} {
		t.Run(kind, func(t *testing.T) { frontSuite(t, envoyBy(kind)) })
	}
}

func envoyBy(kind string) front {
	return front{name: "envoy " + kind, door: "/auth/forward/envoy", relays: true, start: func(t *testing.T, f *frontage) *process {
		startEnvoy(t, f, kind)
		return nil
	}}
}

// envoy stands in for Envoy with one listener.
type envoy struct {
	t        *testing.T
	f        *frontage
	manager  *hcm.HttpConnectionManager
	authz    *extauthz.ExtAuthz
	clusters map[string]string // addresses by name
	check    func(r *http.Request) verdict
}

// verdict is what a check decides about a request.
type verdict struct {
	denied *answered // nil: it may pass
	change func(r *http.Request)
	add    http.Header // to the application's answer
}

func startEnvoy(t *testing.T, f *frontage, kind string) {
	dir := deployed(t, "envoy", "example.com", "front.test", "{address: anteroom, port_value: 8000}", socketAddress(f.Listen),
		"{address: anteroom, port_value: 9191}", socketAddress(f.extAuthz), "{address: app, port_value: 8001}", socketAddress(f.app.Listen))
	e := &envoy{t: t, f: f, clusters: map[string]string{}}
	e.load(filepath.Join(dir, "envoy-"+kind+".yaml"))
	e.check = e.askHTTP
	if kind == "grpc" {
		e.check = grpcCheck(t, e)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+f.port)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: e}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}

func socketAddress(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return "{address: " + host + ", port_value: " + port + "}"
}

// load reads a file as Envoy would: unknown fields and broken rules are faults.
func (e *envoy) load(file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		e.t.Fatal(err)
	}
	var tree any
	if err := yaml.Unmarshal(b, &tree); err != nil {
		e.t.Fatal(err)
	}
	j, err := json.Marshal(tree)
	if err != nil {
		e.t.Fatal(err)
	}
	var boot bootstrap.Bootstrap
	if err := protojson.Unmarshal(j, &boot); err != nil {
		e.t.Fatalf("%s: %v", filepath.Base(file), err)
	}
	if err := boot.ValidateAll(); err != nil {
		e.t.Fatalf("%s: %v", filepath.Base(file), err)
	}
	for _, c := range boot.StaticResources.Clusters {
		a := c.LoadAssignment.Endpoints[0].LbEndpoints[0].GetEndpoint().Address.GetSocketAddress()
		e.clusters[c.Name] = fmt.Sprintf("%s:%d", a.Address, a.GetPortValue())
	}
	e.manager = decode(e.t, boot.StaticResources.Listeners[0].FilterChains[0].Filters[0].GetTypedConfig(), &hcm.HttpConnectionManager{})
	for _, f := range e.manager.HttpFilters {
		if f.Name == "envoy.filters.http.ext_authz" {
			e.authz = decode(e.t, f.GetTypedConfig(), &extauthz.ExtAuthz{})
		}
	}
}

func decode[M interface {
	proto.Message
	ValidateAll() error
}](t *testing.T, from *anypb.Any, to M) M {
	t.Helper()
	if err := from.UnmarshalTo(to); err != nil {
		t.Fatal(err)
	}
	if err := to.ValidateAll(); err != nil {
		t.Fatal(err)
	}
	return to
}

// ServeHTTP does with a request what the file says.
func (e *envoy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") || strings.Contains(path, "#") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	path = normalized(path)
	r.RequestURI = path
	if query != "" {
		r.RequestURI += "?" + query
	}
	e.sanitize(r)
	to := e.route(r.Host, path)
	switch {
	case to == nil:
		w.WriteHeader(http.StatusNotFound)
		return
	case to.GetDirectResponse() != nil:
		w.WriteHeader(int(to.GetDirectResponse().Status))
		return
	}
	var v verdict
	if !e.disabled(to) {
		if v = e.check(r); v.denied != nil {
			for name, values := range v.denied.header {
				w.Header()[name] = values
			}
			w.WriteHeader(v.denied.status)
			io.WriteString(w, v.denied.body)
			return
		}
		v.change(r)
	}
	for _, name := range e.manager.GetRouteConfig().RequestHeadersToRemove {
		r.Header.Del(name)
	}
	peer, _, _ := net.SplitHostPort(r.RemoteAddr)
	for _, o := range e.manager.GetRouteConfig().RequestHeadersToAdd { // all of ours overwrite
		r.Header.Set(o.Header.Key, strings.ReplaceAll(o.Header.Value, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", peer))
	}
	e.forward(w, r, e.clusters[to.GetRoute().GetCluster()], v.add)
}

// sanitize does what the connection manager does to a client's headers.
func (e *envoy) sanitize(r *http.Request) {
	r.Header.Del("Connection") // and nothing that it names
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		r.Header.Set("Connection", "Upgrade")
	} else {
		r.Header.Del("Upgrade")
	}
	for name := range r.Header {
		if strings.Contains(name, "_") { // headers_with_underscores_action: DROP_HEADER
			r.Header.Del(name)
			delete(r.Header, name)
		}
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	r.Header["X-Forwarded-For"] = []string{strings.TrimPrefix(strings.Join(append(r.Header["X-Forwarded-For"], host), ", "), ", ")}
	r.Header.Set("X-Forwarded-Proto", "http") // use_remote_address
}

// route finds the first route of the host.
func (e *envoy) route(host, path string) *route.Route {
	name, _, _ := strings.Cut(host, ":")
	for _, v := range e.manager.GetRouteConfig().VirtualHosts {
		if !slices.Contains(v.Domains, host) && !slices.Contains(v.Domains, name+":*") {
			continue
		}
		for _, to := range v.Routes {
			m := to.Match
			if m.GetPrefix() != "" && strings.HasPrefix(path, m.GetPrefix()) || m.GetPath() != "" && path == m.GetPath() || m.GetSafeRegex() != nil && whole(m.GetSafeRegex(), path) {
				return to
			}
		}
	}
	return nil
}

func whole(m *matcher.RegexMatcher, s string) bool {
	return regexp.MustCompile("^(?:" + m.Regex + ")$").MatchString(s)
}

func (e *envoy) disabled(to *route.Route) bool {
	own := to.TypedPerFilterConfig["envoy.filters.http.ext_authz"]
	return own != nil && decode(e.t, own, &extauthz.ExtAuthzPerRoute{}).GetDisabled()
}

// normalized resolves dot segments (RFC 3986 §6.2.2), as normalize_path does.
func normalized(path string) string {
	path = regexp.MustCompile(`(?i)%2e`).ReplaceAllString(path, ".")
	path = strings.ReplaceAll(path, `\`, "/")
	var out []string
	for segment := range strings.SplitSeq(path[1:], "/") {
		switch segment {
		case ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, segment)
		}
	}
	if strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..") {
		out = append(out, "")
	}
	return "/" + strings.Join(out, "/")
}

// forward sends a request on as it is.
func (e *envoy) forward(w http.ResponseWriter, r *http.Request, addr string, add http.Header) {
	p := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			path, query, _ := strings.Cut(r.RequestURI, "?")
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.URL.Opaque, p.Out.URL.RawQuery = "http", addr, path, query
			if strings.HasPrefix(path, "//") {
				p.Out.URL.Opaque = "//" + addr + path
			}
			p.Out.Host = r.Host
			for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"} {
				if v := r.Header[name]; v != nil {
					p.Out.Header[name] = v
				}
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			for name, values := range add {
				resp.Header[name] = append(resp.Header[name], values...)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusServiceUnavailable) },
	}
	if r.Body != nil && r.ContentLength == 0 {
		r.Body = io.NopCloser(bytes.NewReader(nil))
	}
	p.ServeHTTP(w, r)
}
