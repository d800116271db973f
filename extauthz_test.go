package main

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"anteroom/demo"
	"anteroom/test/person"
)

// envoyTown is a town whose front proxy is an Envoy at 127.0.0.1.
func envoyTown(t *testing.T, env ...string) (*town, *envoy) {
	at := freeAddr(t)
	w := found(t, demo.Options{}, append(env, "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1,::1", "ANTEROOM_SERVER_HOSTS=wiki.test", "ANTEROOM_SERVER_EXT_AUTHZ_LISTEN="+at,
		`ANTEROOM_ROUTES=[{path: /public, allow: public, upstream: none}, {path: /admin, allow: {groups: [admin]}, upstream: none},`+
			`{path: /ws, upstream: none, jwt_in_query: true}, {path: /open, allow: public, upstream: none, jwt_in_query: true}, {path: /, upstream: none}]`)...)
	return w, &envoy{w: w, Authorization: auth.NewAuthorizationClient(dialGRPC(t, at)), at: at}
}

func dialGRPC(t *testing.T, at string, o ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+at, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, o...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// envoy asks as Envoy does, and does to a request what Envoy would.
type envoy struct {
	w             *town
	Authorization auth.AuthorizationClient
	at            string
	raw           bool // encode_raw_headers
	older         bool // one that does not hear append_action
}

// question is what Envoy sends about a request of a client at 192.0.2.7.
func (e *envoy) question(method, about string, header ...string) *auth.CheckRequest {
	u, err := url.Parse(about)
	if err != nil {
		e.w.Fatal(err)
	}
	r := &auth.AttributeContext_HttpRequest{Id: "1", Method: method, Scheme: u.Scheme, Host: u.Host,
		Path: strings.TrimPrefix(about, u.Scheme+"://"+u.Host), Protocol: "HTTP/1.1", Size: -1}
	lines := [][2]string{{":method", method}, {":authority", u.Host}, {":path", r.Path}, {"x-forwarded-proto", u.Scheme}}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		lines = append(lines, [2]string{strings.ToLower(name), value})
	}
	if e.raw {
		r.HeaderMap = &core.HeaderMap{}
		for _, l := range lines {
			r.HeaderMap.Headers = append(r.HeaderMap.Headers, &core.HeaderValue{Key: l[0], RawValue: []byte(l[1])})
		}
	} else {
		r.Headers = map[string]string{}
		for _, l := range lines {
			if before, ok := r.Headers[l[0]]; ok {
				l[1] = before + "," + l[1]
			}
			r.Headers[l[0]] = l[1]
		}
	}
	source := &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: "192.0.2.7", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 4000}}}}
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source: &auth.AttributeContext_Peer{Address: source}, Request: &auth.AttributeContext_Request{Http: r}}}
}

// ask has the question answered.
func (e *envoy) ask(m *auth.CheckRequest) *auth.CheckResponse {
	e.w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a, err := e.Authorization.Check(ctx, m)
	if err != nil {
		e.w.Fatalf("Check: %v\n%s", err, e.w.log)
	}
	return a
}

// outcome is what becomes of a request.
type outcome struct {
	status   int                 // 200: on to the application
	app      map[string][]string // as the application gets it; names in lower case
	query    []string            // as the application gets it, parameter by parameter
	client   map[string][]string // of the answer to the client
	body     string
	metadata map[string]any
}

// send is a request on its way through Envoy; p may be nil.
func (e *envoy) send(p *person.Person, method, about string, header ...string) outcome {
	e.w.Helper()
	if p != nil {
		header = append(header, "Cookie: "+e.w.cookiesOf(p))
	}
	m := e.question(method, about, header...)
	o := outcome{app: map[string][]string{}, client: map[string][]string{}}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		name = strings.ToLower(name)
		o.app[name] = append(o.app[name], value)
	}
	a := e.ask(m)
	if a.GetStatus().GetCode() != 0 {
		e.deny(&o, a.GetDeniedResponse())
		return o
	}
	ok := a.GetOkResponse()
	if ok == nil {
		e.w.Fatalf("yes without what to do: %v", a)
	}
	o.status, o.metadata = http.StatusOK, a.GetDynamicMetadata().AsMap()
	e.change(o.app, ok.GetHeaders(), e.older)
	for _, name := range ok.GetHeadersToRemove() {
		delete(o.app, name)
	}
	e.change(o.client, ok.GetResponseHeadersToAdd(), e.older)
	e.rewrite(&o, ok, m.GetAttributes().GetRequest().GetHttp().GetPath())
	return o
}

// change applies options in their order. An older Envoy hears append alone,
// which says set where it is absent.
func (e *envoy) change(h map[string][]string, options []*core.HeaderValueOption, older bool) {
	for _, o := range options {
		name, value := o.GetHeader().GetKey(), o.GetHeader().GetValue()
		if name != strings.ToLower(name) || len(o.GetHeader().GetRawValue()) > 0 {
			e.w.Errorf("header %q is not in lower case, or has a raw value", name)
		}
		//lint:ignore SA1019 Envoy still hears it
		adds := o.GetAppend()
		switch {
		case adds != nil && adds.GetValue(), adds == nil && !older && o.GetAppendAction() == core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD:
			h[name] = append(h[name], value)
		case older || o.GetAppendAction() == core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
			h[name] = []string{value}
		default:
			e.w.Errorf("header %q is to be changed by %v", name, o.GetAppendAction())
		}
	}
}

// deny answers the client. An older Envoy takes all headers out first, then
// adds those without append.
func (e *envoy) deny(o *outcome, d *auth.DeniedHttpResponse) {
	o.status, o.body, o.app = int(d.GetStatus().GetCode()), d.GetBody(), nil
	if o.status < 300 {
		e.w.Errorf("no with status %d", o.status)
	}
	if !e.older {
		e.change(o.client, d.GetHeaders(), false)
		return
	}
	for _, h := range d.GetHeaders() {
		//lint:ignore SA1019 Envoy still hears it
		if !h.GetAppend().GetValue() {
			o.client[h.GetHeader().GetKey()] = append(o.client[h.GetHeader().GetKey()], h.GetHeader().GetValue())
		}
	}
}

// rewrite changes the query: parameters are known by their raw names.
func (e *envoy) rewrite(o *outcome, ok *auth.OkHttpResponse, path string) {
	_, query, _ := strings.Cut(path, "?")
	key := func(param string) string { k, _, _ := strings.Cut(param, "="); return k }
	o.query = strings.Split(query, "&")
	for _, p := range ok.GetQueryParametersToSet() {
		o.query = slices.DeleteFunc(o.query, func(param string) bool { return key(param) == p.GetKey() })
		o.query = append(o.query, p.GetKey()+"="+p.GetValue())
	}
	for _, name := range ok.GetQueryParametersToRemove() {
		o.query = slices.DeleteFunc(o.query, func(param string) bool { return key(param) == name })
	}
}

// each runs a test with every kind of Envoy.
func (e *envoy) each(t *testing.T, f func(e *envoy)) {
	for name, kind := range map[string]envoy{"joined headers": {}, "raw headers": {raw: true}, "older": {older: true}} {
		t.Run(name, func(t *testing.T) {
			w := *e.w
			w.T = t
			kind.w, kind.Authorization, kind.at = &w, e.Authorization, e.at
			f(&kind)
		})
	}
}

func TestExtAuthz(t *testing.T) {
	w, all := envoyTown(t)
	nurse := w.from("nurse", "nurse123", "")
	all.each(t, func(e *envoy) {
		for _, tt := range []struct {
			p             *person.Person
			method, about string
			want          int
		}{
			{nurse, "GET", w.site + "/notes?a=1", 200},
			{nil, "GET", w.site + "/public/x", 200},
			{nil, "GET", w.site + "/notes", 401},
			{nurse, "GET", w.site + "/admin/x", 403},
			{nurse, "GET", "http://wiki.test/", 200},
			{nurse, "DELETE", w.site + "/notes", 200},
			{nil, "GET", w.site + "/public/../admin", 400},
			{nurse, "GET", "http://evil.test/public/", 421},
			{nurse, "GET", w.site + "/auth/me", 403},
			{nurse, "TRACE", w.site + "/notes", 405},
		} {
			if o := e.send(tt.p, tt.method, tt.about); o.status != tt.want {
				e.w.Errorf("%s %s = %d %.200q, want %d", tt.method, tt.about, o.status, o.body, tt.want)
			}
		}
	})
}

func TestExtAuthzSignIn(t *testing.T) {
	_, all := envoyTown(t)
	all.each(t, func(e *envoy) {
		o := e.send(nil, "GET", e.w.site+"/notes?a=1&b=%2F", navigation...)
		if l := o.client["location"]; o.status != http.StatusFound || len(l) != 1 || l[0] != e.w.site+"/auth/login?return_to="+url.QueryEscape("/notes?a=1&b=%2F") {
			e.w.Errorf("a navigation of nobody = %d to %q, want the sign-in", o.status, l)
		}
		o = e.send(nil, "GET", "http://wiki.test/notes?a=1", navigation...)
		if l := o.client["location"]; len(l) != 1 || l[0] != e.w.site+"/auth/login?return_to="+url.QueryEscape("http://wiki.test/notes?a=1") {
			e.w.Errorf("a navigation of nobody on another host leads to %q, want the sign-in on the public one", l)
		}
		o = e.send(nil, "GET", e.w.site+"/notes")
		if o.status != 401 || o.client["content-type"][0] != "application/problem+json" || !strings.Contains(o.body, "sign_in_required") || len(o.client["www-authenticate"]) != 1 {
			e.w.Errorf("a program = %d %v %q, want a 401 problem", o.status, o.client, o.body)
		}
		o = e.send(nil, "POST", e.w.site+"/notes", append(navigation, "Content-Type: application/x-www-form-urlencoded")...)
		if o.status != 401 || !strings.Contains(o.body, "<html") || len(o.client["content-security-policy"]) != 1 || len(o.client["content-length"]) != 0 {
			e.w.Errorf("a form of nobody = %d %v %.100q, want a page", o.status, o.client, o.body)
		}
	})
}
