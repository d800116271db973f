package watch

import (
	"hash/maphash"
	"net/http"
	"net/netip"

	"anteroom/proxy/audit"
	"anteroom/proxy/throttle"
	"anteroom/session"
)

// use is how a session was used.
type use struct {
	device  uint64 // zero: not known yet
	changes recent
	v4, v6  places // apart: a browser takes now one, now the other
}

// places are the last two networks of a session.
type places struct {
	here, there uint64
	left        int64 // there, in Unix nanoseconds
	returns     recent
}

// session looks at where and with what a session is used.
func (w *Watch) session(e *audit.Event, now int64) {
	if e.Session == "" {
		return
	}
	id := w.hash(e.Session)
	u := w.sessions.make(id)
	if e.Device != "" && e.Means != session.ByAssertion { // an application's own requests are with its agent
		device := w.hash(e.Device)
		if u.device != 0 && u.device != device {
			if since, full := u.changes.add(mix(device, uint64(now)), now, w.cfg.ChangedAgent); full { // #nosec G115 -- bits for a hash
				w.raise(changedAgent, id, alertFrom(e), w.cfg.ChangedAgent, since, now)
			}
		}
		u.device = device
	}
	ip, err := netip.ParseAddr(e.Client)
	if err != nil || e.Means == session.ByAssertion {
		return
	}
	p, bits := &u.v6, 32
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		p, bits = &u.v4, 16
	}
	if since, full := p.visit(w.far(ip, bits), now, w.cfg.TwoNetworks); full {
		w.raise(twoNetworks, id, alertFrom(e), w.cfg.TwoNetworks, since, now)
	}
}

// visit notes a use from a network. Who travels leaves one network after the
// other; who is in two places returns.
func (p *places) visit(net uint64, now int64, l throttle.Rate) (since int64, full bool) {
	switch {
	case net == p.here:
		return 0, false
	case net == p.there && now-p.left < int64(l.Window):
		since, full = p.returns.add(uint64(now), now, l) // #nosec G115 -- bits for a hash
	}
	p.there, p.here, p.left = p.here, net, now
	return since, full
}

// far is the hash of an address's first bits.
func (w *Watch) far(ip netip.Addr, bits int) uint64 {
	b := ip.As16()
	n := bits / 8
	if ip.Is4() {
		n += 12
	}
	return maphash.Bytes(w.seed, b[:n])
}

// usedOver looks at a refused request with a session that was ended: the
// browser it was taken from forgot it, so somebody else has it.
func (w *Watch) usedOver(e *audit.Event, now int64) {
	switch e.Tried.Over {
	case session.EndSignedOut, session.EndReplaced, session.EndRevoked, session.EndByOperator, session.EndAtProvider:
	default: // what ended by itself, its browser still has
		return
	}
	id := w.hash(e.Session)
	w.attempts.nth++
	if since, full := w.over.make(id).add(w.attempts.nth, now, w.cfg.RevokedSession); full {
		about := alertFrom(e)
		about.Ended = string(e.Tried.Over)
		w.raise(revokedSession, id, about, w.cfg.RevokedSession, since, now)
	}
}

// person is what is known of somebody's devices.
type person struct {
	since   int64 // first seen
	devices [8]struct {
		device uint64
		last   int64
	}
}

// device looks whether somebody was seen with a device before. Only who proves
// who they are anew can bring a new one: within a session it is a changed agent.
func (w *Watch) device(e *audit.Event, now int64) {
	if e.Means == session.ByAssertion || e.Status == http.StatusUnauthorized {
		return
	}
	who := w.hash(throttle.Account(e.Subject))
	p := w.people.make(who)
	if p.since == 0 {
		p.since = now
	}
	if e.Device == "" {
		return
	}
	device, oldest, first := w.hash(e.Device), 0, true
	for i := range p.devices {
		d := &p.devices[i]
		if d.device == device {
			d.last = now
			return
		}
		first = first && d.device == 0
		if d.last < p.devices[oldest].last {
			oldest = i
		}
	}
	p.devices[oldest].device, p.devices[oldest].last = device, now
	if first || !w.cfg.NewDevice || now-p.since < int64(w.cfg.Learning) || e.Session != "" && e.Kind != audit.SignIn {
		return
	}
	w.raise(newDevice, mix(who, device), alertFrom(e), throttle.Rate{Count: 1}, now, now)
}

// service looks at a service account's credential that is refused.
func (w *Watch) service(e *audit.Event, now int64) {
	if e.Reason != "service_credential_refused" {
		return
	}
	key := w.hash(e.As)
	w.attempts.nth++
	if since, full := w.services.make(key).add(w.attempts.nth, now, w.cfg.ServiceCredential); full {
		w.raise(serviceCredential, key, Alert{Service: e.As}, w.cfg.ServiceCredential, since, now)
	}
}

// secret looks at a changed secret that is not used: somebody who can write its
// file may have put an old one back.
func (w *Watch) secret(e *audit.Event, now int64) {
	key := w.hash("secret " + e.Operation)
	w.attempts.nth++
	if since, full := w.services.make(key).add(w.attempts.nth, now, w.cfg.SecretRefused); full {
		w.raise(secretRefused, key, Alert{Secret: e.Operation}, w.cfg.SecretRefused, since, now)
	}
}
