package main

import (
	"slices"
	"strings"
	"time"

	"anteroom/proxy/authn"
)

const (
	leastQuiet = time.Second
	mostQuiet  = 24 * time.Hour
	mostTry    = time.Minute
)

// checkWatch looks at where alerts go, and at who is exempt from rules.
func (l *loader) checkWatch() {
	w := l.cfg.Watch
	if w.Quiet < leastQuiet || w.Quiet > mostQuiet {
		l.breaks("watch.quiet", "is %s; write %s to %s", brief(w.Quiet), brief(leastQuiet), brief(mostQuiet))
	}
	for i, who := range w.BulkExempt {
		name, client := strings.CutPrefix(who, "client:")
		if client && !slices.ContainsFunc(l.cfg.Clients, func(c authn.Client) bool { return c.Name == name }) {
			l.breaks(entry("watch.bulk_exempt", i), "is %s, which is not among clients; add it there, or leave it out here", quoted(who))
		}
	}
	h := w.Webhook
	if h.Timeout > mostTry {
		l.breaks("watch.webhook.timeout", "is %s; write %s at most", brief(h.Timeout), brief(mostTry))
	}
	l.checkAuthorities("watch.webhook.ca_file", h.CAFile)
	if h.URL == "" {
		if h.Token != "" {
			l.breaks("watch.webhook.token", "is set, yet watch.webhook.url is not; name the webhook")
		}
		return
	}
	if u := l.urlAt("watch.webhook.url", h.URL, "http", "https"); u != nil && u.Scheme == "http" && !onLoopback(h.URL) {
		l.breaks("watch.webhook.url", "sends alerts, and the token, over the network as they are; make it https")
	}
}
