package watch

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"anteroom/proxy/audit"
	"anteroom/session"
)

// TestMemoryStaysBounded: a million accounts and addresses, and a quarter of
// that of sessions, devices and files, each once, take as much as the tables hold and no more.
func TestMemoryStaysBounded(t *testing.T) {
	before := heap()
	s := newScene(t, defaults())
	for i := range 1_000_000 {
		if i%100 == 0 {
			s.wait(time.Millisecond)
		}
		v6 := "2001:db8:" + strconv.FormatInt(int64(i>>16), 16) + ":" + strconv.FormatInt(int64(i&0xffff), 16) + "::1"
		s.see(refused("n"+strconv.Itoa(i), rand.Uint64(), v6))
		if i%4 > 0 { // which takes longer
			continue
		}
		s.see(refused("", rand.Uint64(), v6), request(name(i), fmt.Sprint(i), v6, fmt.Sprint("Agent", i)),
			access(name(i%20_000), "GET", fmt.Sprint("/dav/", i)), over(fmt.Sprint(i), session.EndRevoked))
	}
	w := s.w
	for name, held := range map[string][2]int{
		"tries": {w.attempts.seen.len(), mostTries}, "networks": {w.attempts.networks.len(), mostNetworks}, "accounts": {w.attempts.accounts.len(), mostAccounts}, "names": {w.attempts.names.len(), mostAccounts},
		"sessions": {w.sessions.len(), mostSessions}, "people": {w.people.len(), mostPeople}, "bulk": {w.bulk.len(), mostBulk}, "things": {w.held, mostHeld},
		"over": {w.over.len(), mostOver}, "quiet": {w.quiet.len(), mostQuiet}, "raised": {len(w.raised), mostWaiting},
	} {
		if held[0] > held[1] {
			t.Errorf("%s = %d, want %d at most", name, held[0], held[1])
		}
	}
	if grown := heap() - before; grown > 64<<20 {
		t.Errorf("they take %d MiB, want 64 at most", grown>>20)
	} else {
		t.Logf("%d MiB", grown>>20)
	}
	runtime.KeepAlive(s)
}

// TestNobodyIsHidden: names that somebody makes up keep no alert about a person
// from naming them, and push no count of theirs out.
func TestNobodyIsHidden(t *testing.T) {
	s := newScene(t, defaults())
	s.see(signIn("testdoc", "1", "192.0.2.1", "Firefox on Linux"))
	for guess := range 9 {
		s.see(refused("testdoc", uint64(guess+1), "203.0.113.7"))
	}
	for i := range mostAccounts {
		s.see(refused(name(i), 1, "203.0.113.7"))
	}
	for i := range mostPerMinute + 1 {
		for guess := range 10 {
			s.see(refused(fmt.Sprint("made up ", i), uint64(guess+1), "203.0.113.7"))
		}
	}
	if last := s.w.raised[len(s.w.raised)-1]; last.Rule != guessing || !last.Several {
		t.Fatalf("the last alert is %+v, want several put together", last)
	}
	s.w.raised = nil
	s.see(refused("testdoc", 10, "203.0.113.7"))
	if len(s.w.raised) != 1 || s.w.raised[0].Rule != guessing || s.w.raised[0].Subject != "testdoc" {
		t.Errorf("alerts = %+v, want guessing at testdoc", s.w.raised)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestManyReaders: what people read is bounded in all, and who read least
// lately is forgotten first.
func TestManyReaders(t *testing.T) {
	s := newScene(t, defaults())
	for i := range 499 {
		for who := range 1000 {
			s.see(access(name(who), "GET", fmt.Sprint("/dav/", i)))
		}
	}
	if s.w.held > mostHeld || s.w.bulk.len() < 400 {
		t.Errorf("%d things of %d people are held, want %d at most, of some hundred", s.w.held, s.w.bulk.len(), mostHeld)
	}
	held := 0
	for _, i := range s.w.bulk.at {
		held += s.w.bulk.nodes[i].value.len()
	}
	if held != s.w.held {
		t.Errorf("held = %d, want %d", s.w.held, held)
	}
}

func TestTableForgetsTheOldest(t *testing.T) {
	table := newTable[int](3)
	var gone []int
	table.dropped = func(v *int) { gone = append(gone, *v) }
	for _, k := range []uint64{1, 2, 3, 1, 4} {
		*table.make(k) = int(k)
	}
	if table.get(2) != nil || table.get(1) == nil || table.get(4) == nil || len(gone) != 1 || gone[0] != 2 {
		t.Errorf("dropped = %v, want 2 alone, for 1 was asked for since", gone)
	}
	table.drop(1)
	table.drop(1)
	*table.make(5) = 5
	if k, v := table.oldest(); table.len() != 3 || k != 3 || *v != 3 {
		t.Errorf("oldest = %d of %d, want 3 of 3", k, table.len())
	}
	for _, k := range []uint64{3, 4, 5} {
		table.drop(k)
	}
	if _, v := table.oldest(); v != nil || table.len() != 0 {
		t.Errorf("oldest of none = %v, want nil", v)
	}
}

func BenchmarkSee(b *testing.B) {
	for name, e := range map[string]func(i int) audit.Event{
		"request": func(i int) audit.Event {
			return request("testdoc", [...]string{"a", "b", "c", "d"}[i%4], "192.0.2.1", "Firefox on Linux")
		},
		"access":  func(i int) audit.Event { return access("testdoc", "GET", paths[i%len(paths)]) },
		"refused": func(i int) audit.Event { return refused("testdoc", uint64(i), addresses[i%len(addresses)]) },
	} {
		b.Run(name, func(b *testing.B) {
			w, err := New(defaults(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e := e(i)
				e.Time = eight.Add(time.Duration(i) * 100 * time.Millisecond)
				w.See(e)
			}
		})
	}
}

var paths, addresses = func() (p, a []string) {
	for i := range 10_000 {
		p, a = append(p, fmt.Sprint("/dav/some/folder/", i)), append(a, address(i))
	}
	return
}()
