package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	envoytype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"anteroom/session"
)

// verdict takes down an answer as an http.ResponseWriter, for Envoy to be told
// of. Whatever was written is a no; only a door can make a yes of it.
type verdict struct {
	h      http.Header
	status int
	body   []byte
	cut    bool                // the body was too long, and is left out
	yes    *auth.CheckResponse // nil: no
}

// maxDenial is the longest page that is handed on, in bytes; ours are shorter.
const maxDenial = 64 << 10

func (v *verdict) Header() http.Header { return v.h }

func (v *verdict) WriteHeader(status int) {
	if v.status == 0 {
		v.status = status
	}
}

func (v *verdict) Write(b []byte) (int, error) {
	v.WriteHeader(http.StatusOK)
	if v.cut = v.cut || len(v.body)+len(b) > maxDenial; v.cut {
		v.body = nil
	} else {
		v.body = append(v.body, b...)
	}
	return len(b), nil
}

// Shared by all answers, and never changed.
var (
	saysYes      = status.New(codes.OK, "").Proto()
	saysNo       = status.New(codes.PermissionDenied, "").Proto()
	saysNobody   = status.New(codes.Unauthenticated, "").Proto()
	addsToOthers = wrapperspb.Bool(true)
)

// message is the verdict as Envoy reads it.
func (v *verdict) message() *auth.CheckResponse {
	if v.yes != nil {
		return v.yes
	}
	code, says := envoytype.StatusCode(v.status), saysNo                                  // #nosec G115 -- a status has three digits
	if _, known := envoytype.StatusCode_name[int32(v.status)]; !known || v.status < 300 { // #nosec G115 -- a status has three digits
		code = envoytype.StatusCode_Forbidden // of a no that was not said out
	}
	if v.status == http.StatusUnauthorized || v.status == http.StatusFound {
		says = saysNobody
	}
	no := &auth.DeniedHttpResponse{Status: &envoytype.HttpStatus{Code: code}, Body: strings.ToValidUTF8(string(v.body), "\uFFFD")}
	for name, values := range v.h {
		switch {
		case name == "Content-Length", name == "Connection": // Envoy's own
		case len(values) == 1 && name != "Set-Cookie":
			no.Headers = append(no.Headers, option(name, values[0], core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
		default:
			// Without the older append: the Envoys that know nothing else take
			// it for a reason to leave a header of a no out.
			for _, value := range values {
				no.Headers = append(no.Headers, option(name, value, core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD))
			}
		}
	}
	return &auth.CheckResponse{Status: says, HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: no}}
}

// option is one change of a header. Names go in lower case, as HTTP/2 has them.
func option(name, value string, action core.HeaderValueOption_HeaderAppendAction) *core.HeaderValueOption {
	return &core.HeaderValueOption{
		Header:       &core.HeaderValue{Key: strings.ToLower(name), Value: strings.ToValidUTF8(value, "!")},
		AppendAction: action,
	}
}

// approval says yes, and what to change in the request on its way to the
// application: the identity headers replace the client's, and go where nobody
// is signed in, as they do when we forward; ours go from its cookies; headers in
// disguise go. Envoy overwrites first and removes then.
//
// What is the same for all requests of a session is encoded once, and stands in
// the messages as fields they do not know: those are written as they are.
func (s *Server) approval(x *exchange, who *session.Identity, route int) (*auth.CheckResponse, error) {
	client := x.r.Header
	told, err := s.introducer.Rendered(who, s.audiences[route], encodeIdentity)
	if err != nil {
		return nil, err
	}
	identity, ok := told.(*encoded)
	if !ok || identity.err != nil {
		return nil, fmt.Errorf("encoding identity headers: %w", identity.err)
	}
	yes := &auth.OkHttpResponse{Headers: make([]*core.HeaderValueOption, 0, 2)}
	yes.ProtoReflect().SetUnknown(identity.headers)
	replace(yes, "X-Request-Id", x.hop.RequestID)
	if cookie := s.introducer.Cookie(client); cookie != "" || len(client["Cookie"]) > 0 {
		replace(yes, "Cookie", cookie)
		if cookie == "" {
			remove(yes, "Cookie")
		}
	}
	for _, name := range s.introducer.Disguised(client) {
		remove(yes, name)
	}
	if s.keepsCredential(route) {
		remove(yes, "Authorization")
	}
	for _, line := range x.Header()["Set-Cookie"] {
		o := option("Set-Cookie", line, core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)
		//lint:ignore SA1019 Envoys before append_action was heard here keep one cookie alone otherwise
		o.Append = addsToOthers
		yes.ResponseHeadersToAdd = append(yes.ResponseHeadersToAdd, o)
	}
	if s.o.Routes[route].JWTInQuery {
		if err := s.approveQuery(yes, x, who, route); err != nil {
			return nil, err
		}
	}
	m := &auth.CheckResponse{Status: saysYes, HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: yes}}
	m.ProtoReflect().SetUnknown(identity.metadata)
	return m, nil
}

func replace(yes *auth.OkHttpResponse, name, value string) {
	yes.Headers = append(yes.Headers, option(name, value, core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
}

func remove(yes *auth.OkHttpResponse, name string) {
	yes.HeadersToRemove = append(yes.HeadersToRemove, strings.ToLower(name))
}

// encoded are the fields of an OkHttpResponse and a CheckResponse that tell who
// is calling.
type encoded struct {
	headers, metadata []byte
	err               error
}

// encodeIdentity encodes them; who is nil for nobody.
func encodeIdentity(h http.Header, who *session.Identity) any {
	yes, m := &auth.OkHttpResponse{}, &auth.CheckResponse{}
	for name, values := range h {
		replace(yes, name, values[0])
		if who == nil {
			remove(yes, name)
		}
	}
	if who != nil {
		m.DynamicMetadata = metadata(who)
	}
	var e encoded
	var err error
	e.headers, e.err = proto.Marshal(yes)
	e.metadata, err = proto.Marshal(m)
	e.err = errors.Join(e.err, err)
	return &e
}

// approveQuery puts the JWT into the query, and takes out what the client has
// there that an application could read in its place.
func (s *Server) approveQuery(ok *auth.OkHttpResponse, x *exchange, who *session.Identity, route int) error {
	q, err := s.introducer.InQuery(x.r.URL.RawQuery, who, s.audiences[route])
	if err != nil {
		return err
	}
	ok.QueryParametersToRemove = q.Others
	if q.Token == "" {
		ok.QueryParametersToRemove = append(ok.QueryParametersToRemove, q.Name)
		return nil
	}
	ok.QueryParametersToSet = []*core.QueryParameter{{Key: q.Name, Value: q.Token}}
	return nil
}

// metadata is what later filters and the access log of Envoy may know.
func metadata(who *session.Identity) *structpb.Struct {
	groups := make([]*structpb.Value, len(who.Groups))
	for i, g := range who.Groups {
		groups[i] = structpb.NewStringValue(strings.ToValidUTF8(g, "\uFFFD"))
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"sub":    structpb.NewStringValue(strings.ToValidUTF8(who.Subject, "\uFFFD")),
		"sid":    structpb.NewStringValue(who.SessionID),
		"groups": structpb.NewListValue(&structpb.ListValue{Values: groups}),
	}}
}
