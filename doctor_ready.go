package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"anteroom/integrations/doctor"
)

// readyRest is for how long what was found is told again: whoever asks often
// keeps nobody busy.
const readyRest = 10 * time.Second

// watched are the probes that may be asked again and again: those that show
// nobody a password.
var watched = []string{doctor.Address, doctor.Connection, doctor.Certificate, doctor.Status, "clock", doctor.Provider, "issuer", "signing keys", "Redis"}

// checkUp looks at what can be looked at without a password, for
// /readyz?verbose.
type checkUp struct {
	cfg *Config

	mu    sync.Mutex
	at    time.Time        // guarded by mu
	found []doctor.Finding // guarded by mu
}

// look gives the findings, as they are now or were a moment ago.
func (c *checkUp) look(ctx context.Context) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.IsZero() && time.Since(c.at) < readyRest {
		return c.found
	}
	probes, done, err := examined(c.cfg)
	if err != nil {
		return []doctor.Finding{{Name: "configuration", State: doctor.Failed, Detail: err.Error()}}
	}
	defer done()
	probes = slices.DeleteFunc(probes, func(p doctor.Probe) bool { return !slices.Contains(watched, p.Name) && !isApplication(p.Name) })
	c.found = doctor.Run(context.WithoutCancel(ctx), probes, func(doctor.Finding) {})
	c.at = time.Now()
	return c.found
}
