package forwardauth

import (
	"errors"
	"net/textproto"
	"net/url"
	"reflect"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
)

// wholeCheck is a whole question.
func wholeCheck() *auth.CheckRequest {
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source: &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: "::ffff:192.0.2.7"}}}},
		Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
			Method: "GET", Scheme: "http", Host: "app.example.com", Path: "/a?b=c",
			Headers: map[string]string{":path": "/a?b=c", "x-forwarded-proto": "https", "cookie": "a=b", "x_user": "c"},
		}},
	}}
}

func TestReadCheck(t *testing.T) {
	c, err := ReadCheck(wholeCheck(), 1000)
	want := Asked{Method: "GET", Proto: "https", Host: "app.example.com", Target: "/a?b=c"}
	if err != nil || c.Asked != want || c.Source.String() != "192.0.2.7" {
		t.Errorf("= %+v from %v, %v, want %+v from 192.0.2.7", c.Asked, c.Source, err, want)
	}
	header := map[string][]string{"X-Forwarded-Proto": {"https"}, "Cookie": {"a=b"}, "X_user": {"c"}}
	if !reflect.DeepEqual(map[string][]string(c.Header), header) {
		t.Errorf("header %v, want %v", c.Header, header)
	}

	m := wholeCheck()
	r := m.Attributes.Request.Http
	r.Headers, r.HeaderMap = nil, &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "a", RawValue: []byte("\xff")}, {Key: "A", RawValue: []byte("2")}, {Key: "b"}, {Key: "c", Value: "d"}}}
	c, err = ReadCheck(m, 1000)
	header = map[string][]string{"A": {"\xff", "2"}, "B": {""}, "C": {"d"}}
	if err != nil || c.Proto != "http" || !reflect.DeepEqual(map[string][]string(c.Header), header) {
		t.Errorf("raw header = %v, scheme %s, %v, want %v, http", c.Header, c.Proto, err, header)
	}
	c.Header["A"] = append(c.Header["A"], "3")
	if c.Header["B"][0] != "" {
		t.Error("adding to one header changes another")
	}
	if _, err := ReadCheck(wholeCheck(), 20); !errors.Is(err, ErrQuestion) {
		t.Errorf("with too long a header = %v, want ErrQuestion", err)
	}
}

// FuzzReadCheck holds that of any message at all there comes a question that is
// whole, or none.
func FuzzReadCheck(f *testing.F) {
	seed := func(m *auth.CheckRequest) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(wholeCheck())
	seed(&auth.CheckRequest{})
	raw := wholeCheck()
	raw.Attributes.Request.Http.Headers = nil
	raw.Attributes.Request.Http.HeaderMap = &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "x-forwarded-proto", RawValue: []byte("https")}}}
	seed(raw)
	for _, path := range []string{"//evil/x", "/public/#/../admin", "/a b", "*", "http://evil/"} {
		odd := wholeCheck()
		odd.Attributes.Request.Http.Path = path
		seed(odd)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &auth.CheckRequest{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		const limit = 4096
		c, err := ReadCheck(m, limit)
		if c.Header == nil {
			t.Fatal("no header, want an empty one")
		}
		if err != nil {
			if !errors.Is(err, ErrQuestion) {
				t.Errorf("%v, want ErrQuestion", err)
			}
			return
		}
		n := 0
		for name, values := range c.Header {
			if name == "" || name[0] == ':' || name != textproto.CanonicalMIMEHeaderKey(name) || len(values) == 0 {
				t.Errorf("header %q: %q", name, values)
			}
			n += len(name) + len(strings.Join(values, ""))
		}
		r := m.GetAttributes().GetRequest().GetHttp()
		if n > limit || !c.Source.IsValid() || c.Method != r.GetMethod() || c.Host != r.GetHost() || c.Target != r.GetPath() {
			t.Errorf("%+v of %v", c, r)
		}
		if c.Proto != "http" && c.Proto != "https" || len(c.Header["X-Forwarded-Proto"]) > 1 {
			t.Errorf("scheme %q of %q", c.Proto, c.Header["X-Forwarded-Proto"])
		}
		if u, err := url.Parse(c.Proto + "://" + c.Host + c.Target); err == nil && (u.User != nil || u.Host != c.Host || u.Fragment != "") {
			t.Errorf("%+v is read by others as %q", c.Asked, u)
		}
	})
}
