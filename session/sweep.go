package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Run ends sessions whose time is up, renews those that only streams keep in
// use, and listens for what other replicas change, until ctx is done.
func (m *Manager) Run(ctx context.Context) {
	var watch sync.WaitGroup
	watch.Go(func() {
		Persist(ctx, m.o.Log, "hearing of changes", func(ctx context.Context) { m.st.Watch(ctx, watcher{m}) })
	})
	defer watch.Wait()
	for {
		if pause(ctx, m.sweepEvery()); ctx.Err() != nil {
			return
		}
		_ = Contain(m.o.Log, "looking after sessions", func() error {
			m.sweep(ctx)
			m.tellGraves(ctx)
			return nil
		})
	}
}

func (m *Manager) sweepEvery() time.Duration {
	most := 5 * time.Second
	if !m.alone && m.trust.epoch.Load() == 0 {
		most = time.Second // streams may have to be stopped
	}
	return max(100*time.Millisecond, min(most, m.cfg.IdleTimeout/10, m.cfg.Lifetime/10))
}

func (m *Manager) sweep(ctx context.Context) {
	now, live_, open := m.o.Now(), 0, 0
	m.known.Range(func(_, v any) bool {
		_ = Contain(m.o.Log, "looking after a session", func() error { // of which no other pays for it
			l := v.(*live)
			if l.hasStreams() { // an open socket is use
				open++
				m.sweepStreams(l, now)
			}
			if m.sweepOne(ctx, l, now) {
				live_++
			}
			return nil
		})
		return ctx.Err() == nil
	})
	m.metrics.live.Set(float64(live_))
	m.metrics.streaming.Set(float64(open))
}

// sweepStreams does for a session with streams what requests do for others.
func (m *Manager) sweepStreams(l *live, now time.Time) {
	l.used(now)
	if !m.alone && l.saveDue(now, m.touchEvery()) {
		m.writeSoon(l)
	}
	if now.UnixNano() >= l.renewAt.Load() && m.o.Renewer != nil {
		m.startRenewal(l, now)
	}
	if !m.alone && !m.current(l, now) {
		m.startReading(l)
	}
	covered := m.alone || now.Sub(m.confirmed(l)) < m.cfg.Grace || m.current(l, now)
	if !covered || m.stillGood(l, now) != nil {
		l.cut() // no request would pass now, so no stream goes on
	}
}

// sweepOne ends a session if it is time, and repeats to the store what it did
// not hear; it reports whether the session lives on.
func (m *Manager) sweepOne(ctx context.Context, l *live, now time.Time) bool {
	if l.ended.Load() {
		m.tellEnd(l, false)
		m.forgetEnded(l, now)
		return false
	}
	if err := m.inTime(ctx, l, now); err != nil {
		return !errors.Is(err, ErrNone)
	}
	if !m.alone && (l.unwritten() || l.unseen() && l.saveDue(now, m.touchEvery())) {
		m.writeSoon(l)
	}
	return true
}

// forgetEnded drops an ended session once its record cannot come back: the
// mark keeps a copy of it, in a store that did not answer, from being believed.
func (m *Manager) forgetEnded(l *live, now time.Time) {
	if l.untold() != nil {
		return
	}
	if _, over := m.over(l, now.Add(-m.touchEvery())); over {
		m.forget(l)
	} else if !l.endedSince(now.Add(-shedAfter)) {
		l.shed()
	}
}

// shedAfter is how long an ended session keeps its tokens and person: until
// whoever gives them back has done so.
const shedAfter = time.Minute

// metrics is what this package counts.
type metrics struct {
	begun           prometheus.Counter
	ended           *prometheus.CounterVec
	renewed         *prometheus.CounterVec
	live, streaming prometheus.Gauge
	lost            prometheus.Counter // cookies of the browser store

	hits, reads, graced prometheus.Counter // of lookups
	revoked             *prometheus.CounterVec
	heard               prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		begun: prometheus.NewCounter(prometheus.CounterOpts{Name: "anteroom_sessions_begun_total", Help: "Sessions begun."}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_sessions_ended_total", Help: "Sessions ended, by why."}, []string{"why"}),
		renewed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_session_renewals_total", Help: "Renewals of a session's tokens, by result."},
			[]string{"result"}),
		live: prometheus.NewGauge(prometheus.GaugeOpts{Name: "anteroom_sessions_live", Help: "Sessions this process knows."}),
		revoked: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_sessions_ended_elsewhere_total", Help: "Sessions known here that another replica, or the command line, ended, by why."},
			[]string{"why"}),
		heard:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "anteroom_sessions_heard", Help: "1 while changes made by other replicas are heard; without it every request asks the store."}),
		streaming: prometheus.NewGauge(prometheus.GaugeOpts{Name: "anteroom_sessions_streaming", Help: "Of these, sessions with a request under way."}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{Name: "anteroom_session_cookies_lost_total",
			Help: "Times that a session's cookies were found not to reach its browser (session.store: cookie)."}),
	}
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_session_lookups_total",
		Help: "Sessions looked up: in memory alone (hit), in the store (read), or used within grace while the store did not answer (grace)."}, []string{"from"})
	m.hits, m.reads, m.graced = lookups.WithLabelValues("hit"), lookups.WithLabelValues("read"), lookups.WithLabelValues("grace")
	if reg != nil {
		reg.MustRegister(m.begun, m.ended, m.renewed, m.live, m.streaming, m.lost, m.revoked, m.heard, lookups)
	}
	return m
}
