package main

import (
	"fmt"
	"net/url"
	"slices"

	"anteroom/integrations"
	"anteroom/proxy/audit"
	"anteroom/session"
)

// openConnections makes what people grant us at Nextcloud, where anything uses
// it. It is kept where sessions are, or in memory where browsers keep those.
func (h *house) openConnections(store session.Store, codec *session.Codec, site string) error {
	i := h.cfg.Integrations
	if !slices.ContainsFunc([]integrations.DAV{i.WebDAV, i.CalDAV, i.CardDAV}, integrations.DAV.ByUser) {
		return nil
	}
	base, err := url.Parse(h.cfg.Nextcloud.URL)
	if err != nil {
		return fmt.Errorf("nextcloud.url: %w", err)
	}
	if h.cfg.Session.Store != "redis" {
		h.log.Warn("session.store is not redis: the app passwords that people grant are known to this process alone, and until it restarts")
	}
	if h.cfg.Session.Store == "cookie" {
		store = &session.Memory{}
	}
	h.granted = integrations.NewConnections(integrations.ConnectionsOptions{
		Flow:  integrations.NewLoginFlow(base, h.tracedNextcloud(), site),
		Vault: session.NewVault(store, codec, "connections"),
		Grace: h.cfg.Session.Grace, Dead: h.disconnected, Log: h.log,
	})
	return nil
}

// disconnected writes down that Nextcloud ended a connection.
func (h *house) disconnected(subject string) {
	h.audit.Write(audit.Event{Kind: audit.Disconnected, Subject: subject, Reason: "refused_by_nextcloud"})
}
