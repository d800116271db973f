package calendars

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Busy is a time that is taken.
type Busy struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// FreeBusy is when some calendars have something that takes up time, merged and
// by time; cut as for Events. It goes by the events themselves, so that it is
// the same at every server.
func (c *Calendars) FreeBusy(ctx context.Context, calendars []Calendar, w Window) (busy []Busy, cut bool, err error) {
	z, err := w.check()
	if err != nil {
		return nil, false, err
	}
	var all []Busy
	late := c.o.Now().Add(expandTime)
	for _, k := range calendars {
		err := c.query(ctx, k, w, func(o *object) error {
			for _, s := range seriesOf(o.cal) {
				if len(all) >= maxEvents || c.o.Now().After(late) {
					cut = true
					return nil
				}
				more := s.expand(w.From, w.To, z, func(x occurrence) {
					if strings.EqualFold(textOf(x.comp, "TRANSP"), "TRANSPARENT") || strings.EqualFold(textOf(x.comp, "STATUS"), "CANCELLED") {
						return
					}
					b := Busy{maxTime(x.start.at(z), w.From).UTC(), minTime(x.end.at(z), w.To).UTC()}
					if b.End.After(b.Start) {
						all = append(all, b)
					}
				})
				cut = cut || more
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, false, err
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
