package redistest

import (
	"strconv"
	"strings"
)

// Commands is how many commands the server has carried out, those of scripts
// among them, by its own count.
func (s *Server) Commands() int {
	s.t.Helper()
	for line := range strings.Lines(s.CLI("info", "stats")) {
		if n, ok := strings.CutPrefix(line, "total_commands_processed:"); ok {
			v, err := strconv.Atoi(strings.TrimSpace(n))
			if err != nil {
				s.t.Fatal(err)
			}
			return v
		}
	}
	s.t.Fatal("redis does not say how many commands it has carried out")
	return 0
}

// Dir is where the server writes everything it is told (appendonlydir), and its
// log.
func (s *Server) Dir() string { return s.dir }
