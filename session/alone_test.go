package session_test

import (
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/session"
)

// TestCookiesLost: somebody takes the cookies out of answers that are said to
// have room.
func TestCookiesLost(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.signIn()
		start := time.Now()
		for _, tt := range []struct {
			until         time.Duration
			counted, said int
		}{
			{3*time.Minute + 50*time.Second, 0, 0}, // written after 1 min, missed after 2 and 3
			{4 * time.Minute, 1, 1},
			{6*time.Minute + 50*time.Second, 1, 1},
			{7 * time.Minute, 2, 1},
		} {
			for time.Since(start) < tt.until {
				time.Sleep(10 * time.Second)
				s.pass(session.AnyCookies, 0)
			}
			s.wantLost(tt.counted, tt.said)
		}
		for time.Since(start) < 65*time.Minute {
			time.Sleep(time.Minute)
			s.pass(session.AnyCookies, 0)
		}
		s.wantLost(21, 2)
	})
}

// TestPartOfTheCookiesLost: what comes back of a longer record is unreadable.
func TestPartOfTheCookiesLost(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.p.set(func() { s.p.groups = long() })
		s.signIn()
		for range 13 {
			time.Sleep(time.Minute)
			s.pass(session.AnyCookies, session.AnyCookies)
		}
		s.wantLost(0, 0)
		for range 6 {
			time.Sleep(time.Minute)
			s.pass(session.AnyCookies, 1)
		}
		s.wantLost(1, 1)
	})
}

// TestCookiesLateAreNotLost: answers take minutes, so that requests keep
// leaving before the cookies of earlier ones are there.
func TestCookiesLateAreNotLost(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.signIn()
		late := [3]*httptest.ResponseRecorder{s.b.last, s.b.last, s.b.last} // on their way
		for i := range 200 {
			time.Sleep(65 * time.Second)
			s.b.last = late[i%3]
			w, r := s.b.exchange()
			s.answer(w, r, session.AnyCookies, 0)
			late[i%3] = w
		}
		s.wantLost(0, 0)
	})
}

// TestParallelRequestsAreNotLost: what left before an answer came says nothing
// of its cookies, however often a renewal makes a save due meanwhile.
func TestParallelRequestsAreNotLost(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.p.life = 10 * time.Second
		s.signIn()
		time.Sleep(14 * time.Minute)
		for range 20 {
			time.Sleep(95 * time.Second)
			first, r := s.b.exchange()
			s.answer(first, r, session.AnyCookies, 0)
			written := 0
			for range 5 {
				time.Sleep(8 * time.Second)
				set := s.answer(httptest.NewRecorder(), r, session.AnyCookies, 0)
				written += len(set)
			}
			if written < 3 {
				s.Fatalf("renewals made %d saves due, want 3 or more", written)
			}
			s.b.last = first
		}
		s.wantLost(0, 0)
	})
}

// TestOneOfManyLooks: of requests that come at the same moment, one counts.
func TestOneOfManyLooks(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.signIn()
		time.Sleep(time.Minute)
		s.pass(session.AnyCookies, 0)
		time.Sleep(time.Minute)
		_, r := s.b.exchange()
		got, err := s.m.Load(r)
		if err != nil {
			s.Fatal(err)
		}
		all := make(chan struct{})
		var touched sync.WaitGroup
		for range 8 {
			touched.Go(func() {
				w := &watched{ResponseWriter: httptest.NewRecorder(), first: func() { <-all }}
				s.m.Touch(w, r, got, session.AnyCookies)
			})
		}
		synctest.Wait()
		close(all)
		touched.Wait()
		s.wantLost(0, 0)
	})
}

// TestLostNowAndThen: two answers out of three get lost.
func TestLostNowAndThen(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.signIn()
		for i := range 300 {
			time.Sleep(time.Minute)
			s.pass(session.AnyCookies, i%3/2)
		}
		s.wantLost(0, 0)
	})
}

// TestNewerFromElsewhere: another process with the same keys writes, too.
func TestNewerFromElsewhere(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.signIn()
		s.pass(0, 0)
		o := s.o
		o.Registry, o.Store = nil, session.NewBrowser(o.Cookies, o.Codec, nil)
		other := session.New(config, o)
		defer run(other)()
		for range 100 {
			time.Sleep(time.Minute)
			s.pass(session.AnyCookies, 0) // loses what is written here
			time.Sleep(time.Second)
			w, r := s.b.exchange()
			got, err := other.Load(r)
			if err != nil {
				s.Fatal(err)
			}
			other.Touch(w, r, got, session.AnyCookies)
		}
		s.wantLost(0, 0)
	})
}
