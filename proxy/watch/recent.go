package watch

import (
	"slices"
	"time"

	"anteroom/proxy/throttle"
)

// recent is a set of things, as hashes, that were new within a window: never
// more than its limit counts. A thing that comes again is not new.
type recent struct {
	what []uint64
	when []int64 // Unix nanoseconds, in order
}

// add adds a thing, and reports since when there are as many as the limit
// counts. Then it begins anew.
func (r *recent) add(thing uint64, now int64, l throttle.Rate) (since int64, full bool) {
	if l.Count == 0 {
		return 0, false
	}
	r.expire(now, l)
	if slices.Contains(r.what, thing) {
		return 0, false
	}
	r.what, r.when = append(r.what, thing), append(r.when, now)
	if len(r.what) < l.Count {
		return 0, false
	}
	since = r.when[0]
	*r = recent{what: r.what[:0], when: r.when[:0]}
	return since, true
}

// remove takes a thing back.
func (r *recent) remove(thing uint64) {
	if i := slices.Index(r.what, thing); i >= 0 {
		r.what, r.when = slices.Delete(r.what, i, i+1), slices.Delete(r.when, i, i+1)
	}
}

// expire forgets what is older than the window.
func (r *recent) expire(now int64, l throttle.Rate) {
	n := 0
	for n < len(r.when) && now-r.when[n] >= int64(l.Window) {
		n++
	}
	if n > 0 {
		r.what, r.when = slices.Delete(r.what, 0, n), slices.Delete(r.when, 0, n)
	}
}

func (r *recent) len() int { return len(r.what) }

// slots is in how many parts a window is summed up.
const slots = 10

// sum is how much there was within a window, to a tenth of it.
type sum struct {
	parts [slots]int64
	part  int64 // the newest: number of tenths of a window since 1970
}

// add adds to the sum, and reports whether it has reached so much. Then it
// begins anew.
func (s *sum) add(n, most, now int64, window time.Duration) bool {
	part := now / max(int64(window)/slots, 1)
	for gone := min(part-s.part, slots); gone > 0; gone-- {
		s.parts[(part-gone+1)%slots] = 0
	}
	s.part = max(part, s.part)
	s.parts[s.part%slots] += n
	var all int64
	for _, p := range s.parts {
		all += p
	}
	if all < most {
		return false
	}
	s.parts = [slots]int64{}
	return true
}
