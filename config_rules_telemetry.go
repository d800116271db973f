package main

import (
	"strings"

	"anteroom/proxy/trace"
)

// checkTelemetry looks at where traces go.
func (l *loader) checkTelemetry() {
	t := l.cfg.Telemetry
	l.checkAuthorities("telemetry.otlp_ca_file", t.OTLPCAFile)
	if _, err := trace.ParseHeaders(t.OTLPHeaders); err != nil {
		l.breaks("telemetry.otlp_headers", "%s", err)
	}
	if t.TrustTraces && len(l.cfg.Server.TrustedProxies) == 0 {
		l.breaks("telemetry.trust_traces", "is for proxies in server.trusted_proxies, which is empty; name them, or take this out")
	}
	if t.OTLPEndpoint == "" {
		if t.OTLPHeaders != "" {
			l.breaks("telemetry.otlp_headers", "is set, yet telemetry.otlp_endpoint is not; name the collector")
		}
		return
	}
	u := l.urlAt("telemetry.otlp_endpoint", t.OTLPEndpoint, "http", "https")
	switch {
	case u == nil:
	case strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/v1/traces"):
		l.breaks("telemetry.otlp_endpoint", "has /v1/traces at its end, which is added to it; write what comes before")
	case u.Port() == "4317":
		l.breaks("telemetry.otlp_endpoint", "is port 4317, where collectors speak gRPC; OTLP over HTTP is at port 4318")
	case u.Scheme == "http" && t.OTLPCAFile != "":
		l.breaks("telemetry.otlp_ca_file", "is for an endpoint that is https; make it so, or take this out")
	}
	if t.ServiceName == "" {
		l.breaks("telemetry.service_name", "is empty; leave it out for anteroom")
	}
}
