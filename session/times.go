package session

import "time"

// Times is a session's clock, for people to read.
type Times struct {
	Started, LastSeen time.Time
	Ends              time.Time // at the latest
	IdleEnds          time.Time // if it is not used before then
}

// Times tells when a session began and when it will end.
func (m *Manager) Times(s *Session) Times {
	seen := s.live.lastSeen()
	return Times{Started: s.Created, LastSeen: seen, Ends: s.Created.Add(m.cfg.Lifetime), IdleEnds: seen.Add(m.cfg.IdleTimeout)}
}
