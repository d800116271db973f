package calendars

import (
	"context"
	"slices"
	"time"
)

// Busy is a time that is taken.
type Busy struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// FreeBusy is when some calendars have something that takes up time, merged and
// by time; cut as for Events. Calendars and events that are transparent, and what
// was cancelled, take up none. It goes by the events themselves, so that it is
// the same at every server.
func (c *Calendars) FreeBusy(ctx context.Context, calendars []Calendar, w Window) (busy []Busy, cut bool, err error) {
	z, err := w.check()
	if err != nil {
		return nil, false, err
	}
	var all []Busy
	m := &meter{now: c.o.Now, zones: atlas{}}
	asked := map[string]bool{}
	for _, k := range calendars {
		if k.Free || asked[k.place] {
			continue
		}
		asked[k.place] = true
		short, err := c.query(ctx, k, w, m, func(_ *object, s *series, t told) (more bool) {
			return s.expand(w.From, w.To, z, func(x occurrence) {
				if e := t.of(x.comp); e.Free || e.Status == "cancelled" || m.full() {
					return
				}
				b := Busy{maxTime(x.start.at(z), w.From).UTC(), minTime(x.end.at(z), w.To).UTC()}
				if b.End.After(b.Start) {
					m.entries++
					all = append(all, b)
				}
			})
		})
		if err != nil {
			return nil, false, err
		}
		if cut = cut || short; m.full() {
			break
		}
	}
	return merged(all), cut, nil
}

// merged joins times that meet.
func merged(all []Busy) []Busy {
	slices.SortFunc(all, func(a, b Busy) int { return a.Start.Compare(b.Start) })
	out := []Busy{}
	for _, b := range all {
		if n := len(out); n > 0 && !b.Start.After(out[n-1].End) {
			out[n-1].End = maxTime(out[n-1].End, b.End)
			continue
		}
		out = append(out, b)
	}
	return out
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
