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
