package dav

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"anteroom/integrations"
	"anteroom/session"
)

// Mount is one service and the path it has here.
type Mount struct {
	Name string // webdav, caldav or carddav
	Path string // here, without a slash at its end: /dav
	cfg  integrations.DAV

	to   *url.URL // origin of the server; no path
	base string   // its path there, decoded, without a slash at its end; "" for the root
	raw  string   // base, percent-encoded

	// principals is where the server has its principals, beside base: clients
	// find calendars and address books by way of them (RFC 6764 §6). Empty
	// where base holds them, or nobody needs them.
	principals string
}

// principalsPath is where a mount has its server's principals, for who may not
// use the mount that holds them. No Nextcloud user can be called ~.
const principalsPath = "/~/principals"

// newMount reads a service's settings.
func newMount(name string, cfg integrations.DAV) (*Mount, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("integrations.%s.url: is no http:// or https:// URL", name)
	}
	base := strings.TrimSuffix(u.Path, "/")
	m := &Mount{Name: name, Path: cfg.Mount, cfg: cfg, to: &url.URL{Scheme: u.Scheme, Host: u.Host}, base: base, raw: (&url.URL{Path: base}).EscapedPath()}
	if i := strings.LastIndexByte(base, '/'); name != "webdav" && i >= 0 {
		m.principals = base[:i] + "/principals"
	}
	return m, nil
}

// ReadOnly reports whether nothing may be changed through it.
func (m *Mount) ReadOnly() bool { return m.cfg.ReadOnly }

// scope is where everything stays, as it is configured; "" for anywhere.
func (m *Mount) scope() string { return strings.Trim(m.cfg.Scope, "/") }

// ByService reports whether the service account is used, not each person's own.
func (m *Mount) ByService() bool { return m.cfg.ByService() }

// String says what it leads to and with whose credential.
func (m *Mount) String() string {
	with := "each person's own credential"
	if m.ByService() {
		with = "the service account " + m.cfg.Username
	}
	return fmt.Sprintf("%s at %s%s, with %s (integrations.%s)", map[string]string{"webdav": "files", "caldav": "calendars", "carddav": "contacts"}[m.Name], m.to, m.raw, with, m.Name)
}

// Allows reports whether who may use the mount.
func (m *Mount) Allows(who *session.Identity) bool { return m.cfg.Allows(who) }

// holds reports whether a path on the server lies within the mount, and gives
// the segments below its base. The path is decoded and clean.
func (m *Mount) holds(path string) (below string, ok bool) {
	below, ok = strings.CutPrefix(path, m.base)
	return below, ok && (below == "" || below[0] == '/')
}

// inScope reports whether a path below the base, decoded and clean, lies
// within what who may see.
func (m *Mount) inScope(below string, who *session.Identity) bool {
	scope, ok := m.cfg.ScopeOf(who)
	segments := strings.Split(strings.Trim(below, "/"), "/")
	return ok && len(segments) >= len(scope) && slices.Equal(segments[:len(scope)], scope)
}

// uploads reports whether a path below the base is that of one chunked upload
// for the account in whose files the scope lies: its parts are put elsewhere
// first, and where they are moved to is held against the scope. The folder of
// all uploads is not among it.
func (m *Mount) uploads(below string, who *session.Identity) bool {
	scope, ok := m.cfg.ScopeOf(who)
	segments := strings.Split(strings.Trim(below, "/"), "/")
	return ok && len(scope) > 1 && scope[0] == "files" && len(segments) > 2 && segments[0] == "uploads" && segments[1] == scope[1]
}

// uploadMethods are those of a chunked upload.
var uploadMethods = map[string]bool{"MKCOL": true, "PUT": true, "MOVE": true, "DELETE": true, "PROPFIND": true, "HEAD": true, "OPTIONS": true}

// table is all mounts, the one with the longest base first.
type table []*Mount

func newTable(mounts []*Mount) table {
	t := table(slices.Clone(mounts))
	slices.SortStableFunc(t, func(a, b *Mount) int { return len(b.base) - len(a.base) })
	return t
}

// here finds the mount that a path of ours belongs to, and what is left of it.
func (t table) here(path string) (m *Mount, below string) {
	for _, m := range t {
		if below, ok := strings.CutPrefix(path, m.Path); ok && (below == "" || below[0] == '/') {
			return m, below
		}
	}
	return nil, ""
}
