package throttle

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is how many of something within which time are too many. The zero value
// is off: never too many.
type Rate struct {
	Count  int
	Window time.Duration
}

const (
	// mostCounted and longestWindow bound what has to be remembered.
	mostCounted   = 10_000
	longestWindow = 24 * time.Hour
)

// UnmarshalText reads "15 in 10m", or "off".
func (r *Rate) UnmarshalText(text []byte) error {
	*r = Rate{}
	if string(text) == "off" {
		return nil
	}
	count, window, ok := strings.Cut(string(text), " in ")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	d, errWindow := time.ParseDuration(strings.TrimSpace(window))
	if !ok || err != nil || errWindow != nil || n < 1 || n > mostCounted || d < time.Second || d > longestWindow || d/time.Duration(n) < 10*time.Millisecond {
		return fmt.Errorf("is %q; write how many within which time are too many, such as 15 in 10m (at most %d in %s, and 100 a second), or off", text, mostCounted, brief(longestWindow))
	}
	r.Count, r.Window = n, d
	return nil
}

// String is the rate as it is written.
func (r Rate) String() string {
	if r.Count == 0 {
		return "off"
	}
	return fmt.Sprintf("%d in %s", r.Count, brief(r.Window))
}

// every is how long it takes until one more is allowed.
func (r Rate) every() time.Duration { return r.Window / time.Duration(r.Count) }

// brief leaves out the zeros that time.Duration writes.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
