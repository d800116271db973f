package session

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Run ends sessions whose time is up and renews those that only streams keep
// in use, until ctx is done.
func (m *Manager) Run(ctx context.Context) {
	tick := time.NewTicker(m.sweepEvery())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.sweep(ctx)
		}
	}
}

func (m *Manager) sweepEvery() time.Duration {
	return max(100*time.Millisecond, min(5*time.Second, m.cfg.IdleTimeout/10, m.cfg.Lifetime/10))
}

func (m *Manager) sweep(ctx context.Context) {
	now, live_, open := m.o.Now(), 0, 0
	m.known.Range(func(_, v any) bool {
		l := v.(*live)
		if l.hasStreams() { // an open socket is use
			open++
			l.seen.Store(now.UnixNano())
			if now.UnixNano() >= l.renewAt.Load() && m.o.Renewer != nil {
				m.startRenewal(l, now)
			}
			if m.stillGood(l) != nil {
				l.cut() // no request would pass now, so no stream goes on
			}
		}
		if m.sweepOne(ctx, l, now) {
			live_++
		}
		return true
	})
	m.metrics.live.Set(float64(live_))
	m.metrics.streaming.Set(float64(open))
}

// sweepOne ends a session if it is time; it reports whether it lives on.
func (m *Manager) sweepOne(ctx context.Context, l *live, now time.Time) bool {
	if l.ended.Load() {
		m.forgetEnded(l, now)
		return false
	}
	if why, over := m.over(l, now); over {
		m.endOf(ctx, l, why)
		return false
	}
	return true
}

// forgetEnded drops an ended session once its record cannot come back: the
// mark keeps a copy of it, in a store that did not answer, from being believed.
func (m *Manager) forgetEnded(l *live, now time.Time) {
	if _, over := m.over(l, now.Add(-m.touchEvery())); over {
		m.known.CompareAndDelete(l.key, l)
	}
}

// metrics is what this package counts.
type metrics struct {
	begun           prometheus.Counter
	ended           *prometheus.CounterVec
	renewed         *prometheus.CounterVec
	live, streaming prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		begun: prometheus.NewCounter(prometheus.CounterOpts{Name: "anteroom_sessions_begun_total", Help: "Sessions begun."}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_sessions_ended_total", Help: "Sessions ended, by why."}, []string{"why"}),
		renewed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_session_renewals_total", Help: "Renewals of a session's tokens, by result."},
			[]string{"result"}),
		live:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "anteroom_sessions_live", Help: "Sessions this process knows."}),
		streaming: prometheus.NewGauge(prometheus.GaugeOpts{Name: "anteroom_sessions_streaming", Help: "Of these, sessions with a request under way."}),
	}
	if reg != nil {
		reg.MustRegister(m.begun, m.ended, m.renewed, m.live, m.streaming)
	}
	return m
}
