package proxy

import (
	"github.com/prometheus/client_golang/prometheus"
)

// state tells metrics how the program is, as against what it did: it is asked
// for at each scrape, so that nothing has to be kept up to date.
type state struct {
	s                                 *Server
	checks                            []Check
	ready, check, build, room, expiry *prometheus.Desc
}

func newState(s *Server, checks []Check) *state {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &state{s: s, checks: checks,
		ready:  desc("anteroom_ready", "1 while /readyz says ready."),
		check:  desc("anteroom_check_ok", "1 while a check of /readyz finds nothing wrong, by check.", "check"),
		build:  desc("anteroom_build_info", "1, with the version that runs.", "version"),
		room:   desc("anteroom_connections_limit", "Connections of clients that there may be (server.max_connections); 0: any number."),
		expiry: desc("anteroom_tls_certificate_expiry_seconds", "When the certificate of server.tls ends, in Unix time; absent without TLS."),
	}
}

// Describe implements prometheus.Collector.
func (c *state) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.ready, c.check, c.build, c.room, c.expiry} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *state) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	is := c.s.readiness(c.checks)
	gauge(c.ready, oneIf(is.Ready))
	for _, check := range c.checks {
		gauge(c.check, oneIf(is.Checks[check.Name] == fine), check.Name)
	}
	gauge(c.build, 1, c.s.o.Version)
	gauge(c.room, float64(c.s.o.Config.MaxConnections))
	if end, ok := c.s.certificateEnd(); ok {
		gauge(c.expiry, end)
	}
}

// certificateEnd is when the certificate that is served ends. A changed one is
// taken up on the way, though nobody comes.
func (s *Server) certificateEnd() (unix float64, ok bool) {
	if s.o.Config.TLS.Cert == "" {
		return 0, false
	}
	conf, err := s.tls()
	if err != nil {
		return 0, false
	}
	pair, err := conf.GetCertificate(nil)
	if err != nil || pair.Leaf == nil {
		return 0, false
	}
	return float64(pair.Leaf.NotAfter.Unix()), true
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
