package watch

import (
	"fmt"
	"testing"
	"time"

	"anteroom/proxy/audit"
)

// TestHonestPatterns raise nothing.
func TestHonestPatterns(t *testing.T) {
	const clinic = "198.51.100.1"
	for _, tt := range []struct {
		name string
		do   func(s *scene)
	}{
		{"a clinic of 200 behind one address signs in at 8:00, some with wrong passwords first", func(s *scene) {
			for i := range 200 {
				s.wait(3 * time.Second)
				if i%4 == 0 { // typed wrong, twice
					s.see(refused(name(i), uint64(2*i+1), clinic), refused(name(i), uint64(2*i+2), clinic))
				}
				if i%20 == 0 {
					s.see(audit.Event{Kind: audit.SignInFailed, Status: 400, Reason: "sign_in_failed", Client: clinic})
				}
				s.wait(2 * time.Second)
				s.see(signIn(name(i), fmt.Sprint("s", i), clinic, "Edge on Windows"))
			}
		}},
		{"300 programs that nobody told the new password, for a day", func(s *scene) {
			for range 48 {
				for i := range 300 {
					s.wait(6 * time.Second)
					s.see(refused(name(i), uint64(i+1), address(i%10)))
				}
				if s.now.Sub(eight) < time.Hour { // they are new once
					s.alerts()
				}
			}
		}},
		{"a telephone between the clinic's network and its own, all day", func(s *scene) {
			s.see(signIn("testdoc", "a", clinic, "Safari on iPhone"))
			for i := range 200 {
				s.wait(3 * time.Minute)
				s.see(request("testdoc", "a", []string{clinic, "203.0.113.9"}[i%2], "Safari on iPhone"))
			}
		}},
		{"a train through many networks", func(s *scene) {
			s.see(signIn("testdoc", "a", clinic, "Safari on iPhone"))
			for i := range 200 {
				s.wait(10 * time.Second)
				s.see(request("testdoc", "a", fmt.Sprintf("10.%d.0.1", i), "Safari on iPhone"))
			}
		}},
		{"a browser that takes IPv4 and IPv6 in turn", func(s *scene) {
			s.see(signIn("testdoc", "a", clinic, "Firefox on Linux"))
			for i := range 200 {
				s.wait(time.Second)
				s.see(request("testdoc", "a", []string{clinic, "2001:db8::1"}[i%2], "Firefox on Linux"))
			}
		}},
		{"200 people, each with a computer and a telephone, for a week", func(s *scene) {
			for day := range 7 {
				for i := range 200 {
					s.wait(10 * time.Second)
					for n, device := range []string{"Edge on Windows", "Safari on iPhone"} {
						sid := fmt.Sprint(day, n, i)
						s.see(signIn(name(i), sid, clinic, device), request(name(i), sid, clinic, device))
					}
				}
				s.wait(23 * time.Hour)
			}
		}},
		{"a program that looks at 400 files in ten minutes", func(s *scene) {
			for i := range 400 {
				s.wait(1500 * time.Millisecond)
				s.see(access("client:agent", "GET", fmt.Sprint("/dav/", i)))
			}
		}},
	} {
		s := newScene(t, defaults())
		tt.do(s)
		if got := s.alerts(); len(got) > 0 {
			t.Errorf("%s = %v, want no alerts", tt.name, got)
		}
	}
}
