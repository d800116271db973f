package watch

import (
	"net/http"
	"time"

	"anteroom/proxy/audit"
	"anteroom/proxy/throttle"
	"anteroom/session"
)

// attempts is what is remembered of refused credentials. An account is one of
// Nextcloud's, or only a name that somebody made up.
type attempts struct {
	seen     *table[int64]   // wrong credential of an account from a network → when last
	networks *table[network] // by network
	accounts *table[recent]  // by account of somebody who was here: the wrong credentials
	names    *table[recent]  // the same of any other name: as many as anybody makes up, and none of them pushes an account out
	wide     recent          // pairs of account and network
	nth      uint64
}

type network struct {
	accounts recent
	nameless recent // attempts that name no account
}

// staleAfter is how long a program that comes with the same wrong credential
// again and again counts as one attempt.
const staleAfter = 24 * time.Hour

func newAttempts() attempts {
	return attempts{seen: newTable[int64](mostTries), networks: newTable[network](mostNetworks), accounts: newTable[recent](mostAccounts), names: newTable[recent](mostAccounts)}
}

// failed looks at a credential or sign-in that was refused.
func (w *Watch) failed(e *audit.Event, now int64) {
	from := throttle.Network(e.Client)
	net := w.hash(from)
	at := &w.attempts
	about := alertFrom(e)
	about.Network = from
	if e.Tried.Account == "" {
		if w.again(mix(net, e.Tried.Proof), e.Tried.Proof, now) {
			return
		}
		at.nth++
		if since, full := at.networks.make(net).nameless.add(at.nth, now, w.cfg.Failures); full {
			w.raise(failures, net, about, w.cfg.Failures, since, now)
		}
		return
	}
	name := throttle.Account(e.Tried.Account)
	account := w.hash(name)
	pair := mix(account, net)
	if w.again(mix(pair, e.Tried.Proof), e.Tried.Proof, now) {
		return
	}
	if since, full := at.networks.make(net).accounts.add(account, now, w.cfg.Spray); full {
		w.raise(spray, net, about, w.cfg.Spray, since, now)
	}
	if since, full := at.wide.add(pair, now, w.cfg.SprayWide); full {
		w.raise(sprayWide, 0, Alert{}, w.cfg.SprayWide, since, now)
	}
	proof := e.Tried.Proof
	if proof == 0 {
		at.nth++
		proof = at.nth
	}
	about.Subject = w.known(name)
	tries := at.accounts
	if about.Subject == "" {
		tries = at.names
	}
	if since, full := tries.make(account).add(proof, now, w.cfg.Guessing); full {
		w.raise(guessing, account, about, w.cfg.Guessing, since, now)
	}
}

// known is a name that was tried as the subject it is one of; "" where nobody of
// that name was here: then it may be anything, for people type passwords there.
func (w *Watch) known(name string) string {
	for _, subject := range []string{name, session.ClientSubject(name)} {
		if w.people.peek(w.hash(subject)) != nil {
			return subject
		}
	}
	return ""
}

// again reports whether the same was tried before, lately: a program that was
// not told of a new password guesses at nothing.
func (w *Watch) again(key, proof uint64, now int64) bool {
	if proof == 0 {
		return false
	}
	last := w.attempts.seen.make(key)
	known := *last != 0 && now-*last < int64(staleAfter)
	*last = now
	return known
}

// succeeded takes back what somebody mistyped who then got in from the same
// network.
func (w *Watch) succeeded(e *audit.Event) {
	if e.Kind == audit.Access && e.Status == http.StatusUnauthorized {
		return
	}
	net := w.hash(throttle.Network(e.Client))
	n := w.attempts.networks.peek(net)
	if n == nil {
		return
	}
	account := w.hash(throttle.Account(e.Subject))
	n.accounts.remove(account)
	w.attempts.wide.remove(mix(account, net))
}
