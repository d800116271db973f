package session

// Held counts the sessions of a person whose record is in this process's memory.
func Held(m *Manager, subject string) (n int) {
	m.known.Range(func(_, v any) bool {
		if v.(*live).current.Load().Identity.Subject == subject {
			n++
		}
		return true
	})
	return n
}

// Ways counts the sessions of the cookie store that are followed on their way.
func Ways(m *Manager) int {
	a := m.st.(*alone)
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.ways)
}

// Graves counts the sign-outs that the store is yet to hear of by key alone.
func Graves(m *Manager) int64 { return m.dug.Load() }
