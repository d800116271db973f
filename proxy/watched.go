package proxy

import (
	"errors"
	"strings"
	"sync"
	"time"

	"anteroom/proxy/audit"
	"anteroom/proxy/authn"
	"anteroom/session"
)

// underWay is how long after a sign-out requests of the same browser may still
// arrive that it sent before.
const underWay = 2 * time.Second

// watched adds to an event what watch goes by: with what it was done, and of a
// refusal what was tried.
func (s *Server) watched(x *exchange, e audit.Event) audit.Event {
	if e.Subject != "" {
		e.Device = s.devices.of(x.r.UserAgent())
	}
	if e.Kind != audit.Refused {
		return e
	}
	var failed *authn.Failed
	if errors.As(x.err, &failed) {
		e.Tried.Account, e.Tried.Proof = failed.Account, failed.Proof
	}
	over := x.over
	if over == nil {
		errors.As(x.err, &over)
	}
	if over != nil {
		e.Session = over.ID
		if ended := over.Why; s.o.Now().Sub(over.At) >= underWay || ended != session.EndSignedOut && ended != session.EndReplaced {
			e.Tried.Over = ended
		}
	}
	return e
}

// devices names the browsers and systems of User-Agent headers. It remembers
// some, for to read one takes as long as the rest of a request.
type devices struct {
	name func(agent string) string

	mu    sync.RWMutex
	known map[string]string // guarded by mu
}

const (
	mostAgents   = 1024
	longestAgent = 512
)

// of is the device's name in words; "" where nobody can tell, or where a system
// fetches for a browser under a name of its own.
func (d *devices) of(agent string) string {
	if agent == "" || len(agent) > longestAgent {
		return ""
	}
	d.mu.RLock()
	name, ok := d.known[agent]
	d.mu.RUnlock()
	if ok {
		return name
	}
	if !strings.Contains(agent, "AppleCoreMedia") && !strings.Contains(agent, "stagefright") {
		name = d.name(agent)
	}
	if name == d.name("") {
		name = ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= mostAgents || d.known == nil {
		d.known = map[string]string{}
	}
	d.known[strings.Clone(agent)] = name
	return name
}
