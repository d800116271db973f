// Package doctor looks whether what Anteroom is to work with works: each thing
// on a line of its own, with the remedy where it does not. It changes nothing
// anywhere, and trusts nothing to answer soon, truthfully or at all. What it
// says has no secrets in it.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// State is how a thing is.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning" // it works, and should be otherwise
	Failed  State = "failed"
	Unknown State = "unknown" // it cannot be found out from here
	Skipped State = "skipped" // it rests on something that failed
)

// Finding is one line of a report.
type Finding struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// Probe looks at one thing.
type Probe struct {
	Name  string
	Needs []string // probes before it that have to have found theirs in order, of those that there are
	After []string // probes before it that it waits for, whatever they find
	Look  func(ctx context.Context) Finding
}

// lookTime is how long one look may take.
const lookTime = 8 * time.Second

// Run runs all probes, each as soon as those it needs have found, and gives the
// findings to a function in the order of the probes, as they come.
func Run(ctx context.Context, probes []Probe, each func(Finding)) []Finding {
	done := make([]chan struct{}, len(probes))
	found := make([]Finding, len(probes))
	index := map[string]int{}
	for i, p := range probes {
		done[i], index[p.Name] = make(chan struct{}), i
	}
	var all sync.WaitGroup
	for i, p := range probes {
		all.Go(func() {
			defer close(done[i])
			found[i] = p.run(ctx, func(name string) (Finding, bool) {
				n, ok := index[name]
				if !ok || n >= i {
					return Finding{}, false
				}
				<-done[n]
				return found[n], true
			})
		})
	}
	for i := range probes {
		<-done[i]
		each(found[i])
	}
	all.Wait()
	return found
}

func (p *Probe) run(ctx context.Context, of func(name string) (Finding, bool)) Finding {
	for _, need := range p.Needs {
		if n, ok := of(need); ok && (n.State == Failed || n.State == Skipped) {
			return Finding{Name: p.Name, State: Skipped, Detail: "not looked at: " + need + " comes first"}
		}
	}
	for _, before := range p.After {
		of(before)
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	return p.look(ctx)
}

// look looks. A look that trips over what it finds ends neither the others nor
// the server that asked for it.
func (p *Probe) look(ctx context.Context) (f Finding) {
	defer func() {
		if recover() != nil {
			f = Finding{State: Unknown, Detail: "what answers there cannot be made sense of"}
		}
		f.Name, f.Detail, f.Remedy = p.Name, shown(f.Detail), shown(f.Remedy)
	}()
	return p.Look(ctx)
}

// shownMost is how much of a text is shown, in characters.
const shownMost = 1000

// shown is a text that can do nothing to whoever reads it: what servers say of
// themselves is in some.
func shown(s string) string {
	n := 0
	return strings.Map(func(c rune) rune {
		switch n++; {
		case n > shownMost:
			return -1
		case c != '\n' && !unicode.IsPrint(c):
			return unicode.ReplacementChar
		}
		return c
	}, s)
}

// Healthy reports whether nothing failed.
func Healthy(found []Finding) bool {
	return !slices.ContainsFunc(found, func(f Finding) bool { return f.State == Failed })
}

func ok(format string, args ...any) Finding {
	return Finding{State: OK, Detail: fmt.Sprintf(format, args...)}
}

func unknown(format string, args ...any) Finding {
	return Finding{State: Unknown, Detail: fmt.Sprintf(format, args...)}
}

func failed(detail, remedy string) Finding {
	return Finding{State: Failed, Detail: detail, Remedy: remedy}
}

func warning(detail, remedy string) Finding {
	return Finding{State: Warning, Detail: detail, Remedy: remedy}
}
