package main

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// checkHeaders wants names that the application can be given, each for one
// thing.
func (l *loader) checkHeaders() {
	id := l.cfg.Identity
	taken := map[string]string{}
	for _, f := range leaves(valueOf(&l.cfg.Identity.Headers), "identity.headers") {
		if f.typ.Kind() == reflect.String && !isNone(f.value.String()) {
			l.checkHeader(f.path, f.value.String(), taken)
		}
	}
	if id.JWT.Algorithm != "none" {
		l.checkHeader("identity.jwt.header", id.JWT.Header, taken)
	}
	for i, name := range id.Strip {
		if problem := headerProblem(name); problem != "" {
			l.breaks(entry("identity.strip", i), "%s", problem)
		}
	}
	if n := id.Headers.GroupsMax; n < 256 || n > 16384 {
		l.breaks("identity.headers.groups_max_bytes", "is %d; write a number from 256 to 16384", n)
	}
}

// checkJWT looks at the assertion's algorithm, keys and claims.
func (l *loader) checkJWT() {
	j := l.cfg.Identity.JWT
	switch n := len(j.Secret.Reveal()); {
	case j.Algorithm == "HS256" && n == 0:
		l.breaks("identity.jwt.secret", "is required for HS256: the secret that the application verifies with")
	case j.Algorithm == "HS256" && n < 32:
		l.breaks("identity.jwt.secret", "has %d bytes; HS256 wants 32 at least", n)
	case j.Algorithm != "HS256" && n > 0:
		l.breaks("identity.jwt.secret", "is for HS256, and the algorithm is %s; take it out or write algorithm: HS256", j.Algorithm)
	}
	if j.Lifetime < 30*time.Second || j.Lifetime > time.Hour {
		l.breaks("identity.jwt.lifetime", "is %s; write from 30s to 1h", brief(j.Lifetime))
	}
	if !isToken(j.Query) {
		l.breaks("identity.jwt.query", "is %s; write a parameter name such as token", quoted(j.Query))
	}
	if j.Keys != "" && (j.Algorithm == "HS256" || j.Algorithm == "none") {
		l.breaks("identity.jwt.keys_file", "is for ES256, EdDSA and RS256, and the algorithm is %s; take it out", j.Algorithm)
	} else if j.Keys != "" {
		l.readableAt("identity.jwt.keys_file", j.Keys)
	}
	for claim := range j.Claims {
		if slices.Contains([]string{"iss", "aud", "sub", "sid", "iat", "nbf", "exp", "jti", "email", "name", "preferred_username", "groups", "nextcloud_id"}, claim) {
			l.breaks(join("identity.jwt.claims", claim), "is set from who is calling and cannot be fixed; take it out")
		}
	}
	if _, fixed := j.Claims["role"]; fixed && (len(j.Roles) > 0 || j.Role != "") {
		l.breaks("identity.jwt.claims.role", "is set by identity.jwt.roles and default_role, too; keep one way")
	}
}

// checkProvision wants a URL that can be asked, and a key to be known by.
func (l *loader) checkProvision() {
	p := l.cfg.Identity.Provision
	if p.URL == "" {
		return
	}
	l.urlAt("identity.provision.url", p.URL, "http", "https")
	if l.cfg.Identity.JWT.Algorithm == "none" {
		l.breaks("identity.provision.url", "needs a JWT to be signed with, and identity.jwt.algorithm is none; choose ES256")
	}
	if p.Timeout < 100*time.Millisecond || p.Timeout > 30*time.Second {
		l.breaks("identity.provision.timeout", "is %s; write from 100ms to 30s", brief(p.Timeout))
	}
}

func (l *loader) checkHeader(key, name string, taken map[string]string) {
	problem := headerProblem(name)
	if problem == "" && slices.Contains(ownHeaders(), spelling(name)) {
		problem = "is " + quoted(name) + ", which has another meaning to the application; take another name"
	}
	if problem != "" {
		l.breaks(key, "%s", problem)
		return
	}
	if first := taken[spelling(name)]; first != "" {
		l.breaks(key, "is the header of %s, too; give each its own", first)
		return
	}
	taken[spelling(name)] = key
}

// headerProblem says why a header can be neither set nor removed, or nothing.
func headerProblem(name string) string {
	switch {
	case !isToken(name):
		return "is " + quoted(name) + "; write a header name such as X-Forwarded-User"
	case slices.Contains(connectionHeaders(), spelling(name)):
		return "is " + quoted(name) + ", which HTTP itself needs; take another name"
	}
	return ""
}

// connectionHeaders are those that HTTP needs between two hops (RFC 9110
// §7.6.1) or to tell one message from the next.
func connectionHeaders() []string {
	return []string{"host", "cookie", "connection", "keep-alive", "proxy-connection", "proxy-authenticate",
		"proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "content-type", "http2-settings"}
}

// ownHeaders are those that the application is given anyway.
func ownHeaders() []string {
	return []string{"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-id", "traceparent", "x-forwarded-groups-truncated"}
}

// spelling makes one of the spellings that applications take for the same.
func spelling(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))
}

// isNone reports whether a header is left out.
func isNone(name string) bool { return name == "" || name == "none" }

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}
