package trace

import (
	"crypto/rand"
	"encoding/hex"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// scope is who made the spans.
const scope = "anteroom"

// resourceOf is this process, told apart from its replicas by chance.
func resourceOf(cfg Config) *resource.Resource {
	instance := make([]byte, 16)
	rand.Read(instance)
	return &resource.Resource{Attributes: []*common.KeyValue{
		text("service.name", cfg.Service), text("service.version", cfg.Version), text("service.instance.id", hex.EncodeToString(instance)),
	}}
}

// encode is the body of an export request: TracesData has the fields of
// ExportTraceServiceRequest, which is in a package that drags a gateway along.
func encode(of *resource.Resource, spans []*Span) ([]byte, error) {
	all := make([]*otlp.Span, len(spans))
	for i, s := range spans {
		all[i] = s.message()
	}
	return proto.Marshal(&otlp.TracesData{ResourceSpans: []*otlp.ResourceSpans{{
		Resource:   of,
		ScopeSpans: []*otlp.ScopeSpans{{Scope: &common.InstrumentationScope{Name: scope}, Spans: all}},
	}}})
}

func (s *Span) message() *otlp.Span {
	m := &otlp.Span{
		TraceId: s.c.Trace[:], SpanId: s.c.Span[:], TraceState: s.c.State,
		Name: s.name, Kind: otlp.Span_SpanKind(s.kind), Flags: 1,
		StartTimeUnixNano: uint64(s.start.UnixNano()), EndTimeUnixNano: uint64(s.start.Add(s.end.Sub(s.start)).UnixNano()), // #nosec G115 -- after 1970
	}
	if s.parent != [8]byte{} {
		m.ParentSpanId = s.parent[:]
	}
	if s.link.Valid() {
		m.Links = []*otlp.Span_Link{{TraceId: s.link.Trace[:], SpanId: s.link.Span[:], TraceState: s.link.State}}
	}
	if s.failed {
		m.Status = &otlp.Status{Code: otlp.Status_STATUS_CODE_ERROR}
	}
	for _, a := range s.attrs {
		if a.text == "" {
			m.Attributes = append(m.Attributes, &common.KeyValue{Key: a.key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: a.number}}})
		} else {
			m.Attributes = append(m.Attributes, text(a.key, a.text))
		}
	}
	return m
}

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}
