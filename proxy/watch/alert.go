package watch

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/proxy/audit"
	"anteroom/proxy/throttle"
)

// Alert is what a rule found, as it is posted to the webhook. It holds no name
// of a file, no name of an account that may be none, and no mail address.
type Alert struct {
	ID      string    `json:"id"` // the same for each try; the request_id of its audit line
	Time    time.Time `json:"time"`
	Rule    string    `json:"rule"`
	Subject string    `json:"subject,omitempty"`
	Session string    `json:"session,omitempty"`         // its public id
	Network string    `json:"client_network,omitempty"`  // an IPv4 address, or an IPv6 /64, of the last
	Device  string    `json:"device,omitempty"`          // browser and system of the last
	Service string    `json:"service_account,omitempty"` // whose credential is refused
	Secret  string    `json:"secret,omitempty"`          // key of the configuration whose changed secret is refused
	Ended   string    `json:"ended,omitempty"`           // why the session ended that is still tried
	Count   int       `json:"count"`                     // of what the rule counts
	Window  int       `json:"window_seconds"`            // within which; 0: it is not about a time
	First   time.Time `json:"first"`                     // of what was counted
	Last    time.Time `json:"last"`
	Repeats int       `json:"repeats,omitempty"`         // so often it was not repeated since the one before
	Several bool      `json:"several,omitempty"`         // stands for more than one person, session or network
	Request string    `json:"last_request_id,omitempty"` // has the last in its audit line

	client string    // address of the last, for the audit line
	tried  time.Time // first
}

// alertFrom is what an event tells of whom an alert is about.
func alertFrom(e *audit.Event) Alert {
	return Alert{Subject: e.Subject, Session: e.Session, Network: throttle.Network(e.Client), Device: e.Device, Request: e.RequestID, client: e.Client}
}

// event is the alert as the audit log has it.
func (a *Alert) event() audit.Event {
	return audit.Event{Time: a.Time, Kind: audit.Alert, Alert: a.Rule, Subject: a.Subject, Session: a.Session, Client: a.client,
		Device: a.Device, As: a.Service, Operation: a.Secret, Count: a.Count, RequestID: a.ID}
}

// pause is the time after an alert in which it is not repeated.
type pause struct {
	alert         Alert
	until         int64
	repeats, much int // since the alert: how often, and how much in all
}

// rates bound the alerts of one rule.
type rates struct{ named, nameless perMinute }

type perMinute struct {
	minute int64
	n      int
}

const (
	mostPerMinute = 30   // of one rule, of those that name somebody and of those that do not; more are put together
	mostWaiting   = 1000 // alerts that wait to be told; the oldest go
)

// raise raises an alert of a rule about what key stands for, unless there was
// one lately: that one's summary counts it then.
func (w *Watch) raise(rule string, key uint64, a Alert, l throttle.Rate, since, now int64) {
	a.Rule, a.Count, a.Window = rule, l.Count, int(l.Window/time.Second)
	a.Time, a.First, a.Last = at(now), at(since), at(now)
	key = mix(w.hash(rule), key)
	rate := &w.rates[rule].nameless
	if a.Subject != "" { // whom nobody can hide behind names that they make up
		rate = &w.rates[rule].named
	}
	if minute := now / int64(time.Minute); rate.minute != minute {
		*rate = perMinute{minute: minute}
	}
	if rate.n >= mostPerMinute && w.quiet.peek(key) == nil {
		a = Alert{Rule: rule, Count: a.Count, Window: a.Window, Time: a.Time, First: a.First, Last: a.Last, Several: true}
		key = mix(w.hash(rule), ^uint64(0))
	}
	if p := w.quiet.peek(key); p != nil {
		if now < p.until {
			p.repeats, p.much = p.repeats+1, p.much+a.Count
			p.alert.Last = a.Last
			return
		}
		a.Repeats, a.Count, p.repeats = p.repeats, a.Count+p.much, 0
		w.quiet.drop(key)
	}
	rate.n++
	*w.quiet.make(key) = pause{alert: a, until: now + int64(w.cfg.Quiet)}
	w.emit(a)
}

// settle says of pauses that are over how often their alert was not repeated.
func (w *Watch) settle(now int64) {
	for {
		key, p := w.quiet.oldest()
		if p == nil || now < p.until {
			return
		}
		again := *p
		w.quiet.drop(key)
		if again.repeats > 0 {
			*w.quiet.make(key) = pause{alert: again.alert, until: now + int64(w.cfg.Quiet)}
		}
	}
}

// summarize tells, at a pause's end, what came in it.
func (w *Watch) summarize(p *pause) {
	if p.repeats == 0 {
		return
	}
	a := p.alert
	a.First, a.Time = a.Time, w.o.Now().UTC()
	a.Repeats, a.Count = p.repeats, p.much
	w.emit(a)
}

// emit has Run tell of an alert.
func (w *Watch) emit(a Alert) {
	var id [16]byte
	rand.Read(id[:])
	a.ID = hex.EncodeToString(id[:])
	w.metrics.alerts.WithLabelValues(a.Rule).Inc()
	w.raised = w.queue(w.raised, a)
	poke(w.wake)
}

// queue adds an alert to those that wait; if there are too many, the oldest goes.
func (w *Watch) queue(list []Alert, a Alert) []Alert {
	if len(list) >= mostWaiting {
		list = append(list[:0], list[1:]...)
		w.metrics.deliveries.WithLabelValues(outcomeDropped).Inc()
	}
	return append(list, a)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func at(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }

// metrics is what this package counts.
type metrics struct {
	alerts, deliveries *prometheus.CounterVec
}

// What comes of giving an alert to the webhook.
const (
	outcomeDelivered = "delivered"
	outcomeFailed    = "failed"  // a try; there will be another
	outcomeRefused   = "refused" // for good
	outcomeExpired   = "expired" // was tried for too long
	outcomeDropped   = "dropped" // too many were waiting
)

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		alerts:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_alerts_total", Help: "Alerts raised over the audit log, by rule."}, []string{"rule"}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_alert_deliveries_total", Help: "Alerts given to the webhook, by result; failed counts tries."}, []string{"result"}),
	}
	for _, rule := range Rules() { // there from the start, so that a first one is an increase
		m.alerts.WithLabelValues(rule)
	}
	for _, result := range []string{outcomeDelivered, outcomeFailed, outcomeRefused, outcomeExpired, outcomeDropped} {
		m.deliveries.WithLabelValues(result)
	}
	if reg != nil {
		reg.MustRegister(m.alerts, m.deliveries)
	}
	return m
}
