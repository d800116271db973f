package proxy

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is one thing that must be well before requests are wanted. Err returns
// nil, or what is not well in words fit for an operator; it must not block.
type Check struct {
	Name string
	Err  func() error
}

// Admin is the second listener's handler: /healthz (the process lives),
// /readyz (what is not ready, 503 then) and /metrics.
func (s *Server) Admin(checks []Check, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { s.ready(w, checks) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// readiness is whether requests are wanted here, and what each check says.
type readiness struct {
	Ready  bool              `json:"ready"`
	Checks map[string]string `json:"checks"`
}

func (s *Server) readiness(checks []Check) readiness {
	out := readiness{true, map[string]string{}}
	if s.draining.Load() {
		out.Ready, out.Checks["server"] = false, "stopping"
	}
	for _, c := range checks {
		out.Checks[c.Name] = "ok"
		if err := c.Err(); err != nil {
			out.Ready, out.Checks[c.Name] = false, err.Error()
		}
	}
	return out
}

func (s *Server) ready(w http.ResponseWriter, checks []Check) {
	out := s.readiness(checks)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !out.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(out)
}
