package api

import (
	"sync"

	"anteroom/integrations"
)

// memory remembers what was found out about accounts: which id one has at
// Nextcloud, whose login name may be a mail address, or where its calendars
// are. What it remembers never lets anybody in; the server judges each request.
type memory struct {
	mu    sync.Mutex
	known map[account]string // guarded by mu
}

// account is one at a service, whatever its password is now.
type account struct {
	section string
	by      integrations.Means
	name    string
}

const maxAccounts = 4096

func (m *memory) of(a account) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[a]
}

// learn remembers something; "" forgets it.
func (m *memory) learn(a account, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if what == "" {
		delete(m.known, a)
		return
	}
	if m.known == nil || len(m.known) >= maxAccounts {
		m.known = map[account]string{}
	}
	m.known[a] = what
}

// account is the one that the operation's requests go to the server as.
func (x *exchange) account() account {
	name := x.grant.Credential.User
	if name == "" {
		name = x.c.Who.Subject
	}
	return account{x.op.Section, x.grant.By, name}
}
