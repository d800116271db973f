package proxy

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"anteroom/session"
)

// Check is one thing that must be well before requests are wanted. Err returns
// nil, or what is not well in words fit for an operator; it must not block.
// Lately is the same for what is only told: requests are wanted nevertheless.
type Check struct {
	Name   string
	Err    func() error
	Lately func() error // nil: there is no such thing
}

// Admin is the second listener's handler: /healthz (the process lives),
// /readyz (what is not ready, 503 then) and /metrics. look finds out more, for
// /readyz?verbose; what it finds is for people, and changes no status.
func (s *Server) Admin(checks []Check, metrics prometheus.Gatherer, look func(context.Context) any) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		out := s.readiness(checks)
		if r.URL.Query().Has("verbose") {
			out.Findings = look(r.Context())
		}
		out.write(w)
	})
	own := prometheus.NewRegistry()
	own.MustRegister(newState(s, checks))
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherers{metrics, own}, promhttp.HandlerOpts{}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if session.Contain(s.o.Log, "the admin listener", func() error { mux.ServeHTTP(w, r); return nil }) != nil {
			panic(http.ErrAbortHandler) // of which net/http says nothing
		}
	})
}

// fine is what a check says that finds nothing wrong.
const fine = "ok"

// readiness is whether requests are wanted here, and what each check says.
type readiness struct {
	Ready  bool              `json:"ready"`
	Checks map[string]string `json:"checks"`

	Findings any `json:"findings,omitempty"`
}

func (s *Server) readiness(checks []Check) readiness {
	out := readiness{Ready: true, Checks: map[string]string{}}
	if s.draining.Load() {
		out.Ready, out.Checks["server"] = false, "stopping"
	}
	for _, c := range checks {
		out.Checks[c.Name] = fine
		if err := session.Contain(s.o.Log, "a check", c.Err); err != nil {
			out.Ready, out.Checks[c.Name] = false, err.Error()
		} else if c.Lately == nil {
			continue
		} else if err := session.Contain(s.o.Log, "a check", c.Lately); err != nil {
			out.Checks[c.Name] = err.Error()
		}
	}
	return out
}

func (out readiness) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !out.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(out)
}
