package main

import (
	"context"
	"net/http"

	"anteroom/proxy/trace"
)

// openTrace makes what tells the collector; it opens no socket.
func (h *house) openTrace() (err error) {
	v, _ := builtFrom()
	t := h.cfg.Telemetry
	h.trace, err = trace.New(trace.Config{
		Endpoint: t.OTLPEndpoint, Headers: t.OTLPHeaders, CAFile: t.OTLPCAFile, Ratio: t.TraceRatio, Service: t.ServiceName, Version: v,
	}, trace.Options{Log: h.log, Registry: h.registry})
	return err
}

// tracedRedis is nil where nothing is traced.
func (h *house) tracedRedis() func(context.Context, string) func(string) {
	if h.trace == nil {
		return nil
	}
	return h.trace.Redis
}

// tracedNextcloud is the client for Nextcloud, with what it does told of.
func (h *house) tracedNextcloud() *http.Client {
	c := *h.nextcloud
	c.Transport = h.trace.Transport(c.Transport, "nextcloud")
	return &c
}
