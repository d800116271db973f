package main

import (
	"path/filepath"
	"slices"
	"time"

	"anteroom/proxy/audit"
)

// checkAudit looks at where audit lines go, and at what is promised of them.
func (l *loader) checkAudit() {
	a := l.cfg.Audit
	l.checkPlace("audit.output", a.Output)
	for i, place := range a.Copies {
		key := entry("audit.copies", i)
		l.checkPlace(key, place)
		if place == a.Output || slices.Index(a.Copies, place) != i {
			l.breaks(key, "is named already; each place gets every line once")
		}
		if place == "off" {
			l.breaks(key, "is off; leave it out")
		}
	}
	if a.Output == "off" && (a.Required || len(a.Copies) > 0) {
		l.breaks("audit.output", "is off, yet audit.%s is set; name a place", map[bool]string{true: "required", false: "copies"}[a.Required])
	}
	if _, err := audit.ParseKey(a.Key); err != nil {
		l.breaks("audit.key", "%s", err)
	}
	if a.HashPaths && a.Key == "" {
		l.breaks("audit.hash_paths", "needs audit.key; make one with 'anteroom keys new'")
	}
	l.checkAuthorities("audit.ca_file", a.CAFile)
	if a.Window > mostWindow {
		l.breaks("audit.window", "is %s; write %s at most: what came up within it is lost if the process is killed", brief(a.Window), brief(mostWindow))
	}
}

// mostWindow is the longest that audit lines may wait in memory.
const mostWindow = 5 * time.Second

func (l *loader) checkPlace(key, place string) {
	if err := audit.Place(place); err != nil {
		l.breaks(key, "%s", err)
	} else if dir := filepath.Dir(place); audit.IsFile(place) && !isDir(dir) {
		l.breaks(key, "is a file in %s, which is no directory; make it, or write stdout, stderr or off", quoted(dir))
	}
}
