package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"anteroom/test/loopback"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// TestState: what /readyz says, how much room there is, and when the
// certificate ends, a changed one's as soon as it is there.
func TestState(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	conf := Config{MaxConnections: 7, TLS: TLSConfig{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}}
	writePair(t, conf.TLS, 2e9)
	s := &Server{o: Options{Config: conf, Version: "v1"}}
	s.tls = sync.OnceValues(func() (*tls.Config, error) {
		return newTLS(conf.TLS, slog.New(slog.DiscardHandler), func() time.Time { return now }, nil)
	})
	wrong := errors.New("it does not answer")
	var audit, cloud, lately error
	reg := prometheus.NewRegistry()
	reg.MustRegister(newState(s, []Check{{Name: "audit", Err: func() error { return audit }}, {Name: "nextcloud", Err: func() error { return cloud }, Lately: func() error { return lately }}}))

	want := map[string]float64{"anteroom_ready": 1, "anteroom_check_ok audit": 1, "anteroom_check_ok nextcloud": 1,
		"anteroom_build_info v1": 1, "anteroom_connections_limit": 7, "anteroom_tls_certificate_expiry_seconds": 2e9}
	compare := func(when string) {
		t.Helper()
		if diff := cmp.Diff(want, gathered(t, reg)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	compare("all is well")
	cloud = wrong
	want["anteroom_ready"], want["anteroom_check_ok nextcloud"] = 0, 0
	compare("Nextcloud is away")
	cloud, lately = nil, wrong
	want["anteroom_ready"] = 1
	compare("Nextcloud went away later")
	lately = nil
	want["anteroom_ready"] = 0
	s.draining.Store(true)
	want["anteroom_check_ok nextcloud"] = 1
	compare("stopping")
	writePair(t, conf.TLS, 3e9)
	later := now.Add(time.Minute)
	if err := os.Chtimes(conf.TLS.Cert, later, later); err != nil {
		t.Fatal(err)
	}
	now = later
	want["anteroom_tls_certificate_expiry_seconds"] = 3e9
	compare("another certificate")
	s.o.Config.TLS = TLSConfig{}
	delete(want, "anteroom_tls_certificate_expiry_seconds")
	compare("without TLS")
}

// gathered are the gauges of a registry, by name and label.
func gathered(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range all {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			found[name] = m.GetGauge().GetValue()
		}
	}
	return found
}

// writePair writes a certificate that ends at a time, and its key.
func writePair(t *testing.T, to TLSConfig, end int64) {
	t.Helper()
	loopback.Certificate(t, func(c *x509.Certificate) { c.NotAfter = time.Unix(end, 0) }).Write(t, to.Cert, to.Key)
}
