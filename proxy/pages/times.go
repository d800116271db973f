package pages

import (
	"strconv"
	"time"
)

// count is a number with its noun, in the singular for one.
func (c *catalog) count(noun string, n int) (string, error) {
	form := noun + ".other"
	if n == 1 {
		form = noun + ".one"
	}
	return c.text(form, "n", n)
}

// span is a length of time in one unit: "90 minutes", "3 days". It is rounded
// to the nearest.
func (c *catalog) span(d time.Duration) (string, error) {
	of := func(unit time.Duration) int { return int((d + unit/2) / unit) }
	switch {
	case d < time.Minute:
		return c.count("second", of(time.Second))
	case of(time.Minute) < 120 && of(time.Minute) != 60:
		return c.count("minute", of(time.Minute))
	case of(time.Hour) < 48:
		return c.count("hour", of(time.Hour))
	}
	return c.count("day", of(24*time.Hour))
}

// near is how far from now a moment is, in words.
func (c *catalog) near(d time.Duration) (string, error) {
	switch {
	case d > -time.Minute && d <= 0:
		return c.text("near.now")
	case d > 0 && d < time.Minute:
		return c.text("near.soon")
	}
	span, err := c.span(d.Abs())
	if err != nil {
		return "", err
	}
	if d < 0 {
		return c.text("near.ago", "span", span)
	}
	return c.text("near.in", "span", span)
}

// date is a moment in UTC, in words.
func (c *catalog) date(t time.Time) (string, error) {
	t = t.UTC()
	month, err := c.text("month." + strconv.Itoa(int(t.Month())))
	if err != nil {
		return "", err
	}
	key := "date"
	if t.Day() == 1 {
		key = "date.first"
	}
	return c.text(key, "day", t.Day(), "month", month, "year", t.Year(), "time", t.Format("15:04"))
}
