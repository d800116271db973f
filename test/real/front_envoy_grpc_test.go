//go:build real

package realtest

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
)

// grpcCheck is the gRPC service of ext_authz.
func grpcCheck(t *testing.T, e *envoy) func(*http.Request) verdict {
	g := e.authz.GetGrpcService()
	conn, err := grpc.NewClient(e.clusters[g.GetEnvoyGrpc().ClusterName], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client, timeout := auth.NewAuthorizationClient(conn), g.Timeout.AsDuration()
	return func(r *http.Request) verdict {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		answer, err := client.Check(ctx, envoyQuestion(r, e.authz.EncodeRawHeaders))
		if err != nil {
			return verdict{denied: &answered{status: int(e.authz.StatusOnError.Code)}}
		}
		if codes.Code(answer.Status.GetCode()) == codes.OK {
			return allowed(answer.GetOkResponse())
		}
		no := answer.GetDeniedResponse()
		a := &answered{status: int(no.GetStatus().GetCode()), header: http.Header{}, body: no.GetBody()}
		if a.status == 0 {
			a.status = http.StatusForbidden
		}
		apply(a.header, no.GetHeaders())
		return verdict{denied: a}
	}
}

// envoyQuestion is the question about a request, in version 3 of the protocol:
// with headers as they came (encode_raw_headers), or with the values of one name
// joined by commas.
func envoyQuestion(r *http.Request, raw bool) *auth.CheckRequest {
	q := &auth.AttributeContext_HttpRequest{Method: r.Method, Path: r.RequestURI, Host: r.Host, Scheme: "http", Protocol: r.Proto, Id: time.Now().String()}
	h := r.Header.Clone()
	h[":path"], h[":method"], h[":authority"], h[":scheme"] = []string{r.RequestURI}, []string{r.Method}, []string{r.Host}, []string{"http"}
	if raw {
		q.HeaderMap = &core.HeaderMap{}
		for name, values := range h {
			for _, v := range values {
				q.HeaderMap.Headers = append(q.HeaderMap.Headers, &core.HeaderValue{Key: strings.ToLower(name), RawValue: []byte(v)})
			}
		}
	} else {
		q.Headers = map[string]string{}
		for name, values := range h {
			q.Headers[strings.ToLower(name)] = strings.ToValidUTF8(strings.Join(values, ","), "!")
		}
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source:  &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: host}}}},
		Request: &auth.AttributeContext_Request{Http: q},
	}}
}

// allowed is what a yes changes: headers first, and what is removed then.
func allowed(yes *auth.OkHttpResponse) verdict {
	v := verdict{add: http.Header{}, change: func(r *http.Request) {
		apply(r.Header, yes.GetHeaders())
		for _, name := range yes.GetHeadersToRemove() {
			delete(r.Header, http.CanonicalHeaderKey(name))
		}
		path, query, _ := strings.Cut(r.RequestURI, "?")
		if q, err := url.ParseQuery(query); err == nil && len(yes.GetQueryParametersToSet())+len(yes.GetQueryParametersToRemove()) > 0 {
			for _, name := range yes.GetQueryParametersToRemove() {
				q.Del(name)
			}
			for _, p := range yes.GetQueryParametersToSet() {
				q.Set(p.Key, p.Value)
			}
			r.RequestURI = path + "?" + q.Encode()
		}
	}}
	apply(v.add, yes.GetResponseHeadersToAdd())
	return v
}

func apply(h http.Header, options []*core.HeaderValueOption) {
	for _, o := range options {
		name := http.CanonicalHeaderKey(o.Header.Key)
		if o.AppendAction == core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD {
			h[name] = append(h[name], o.Header.Value)
		} else {
			h[name] = []string{o.Header.Value}
		}
	}
}
