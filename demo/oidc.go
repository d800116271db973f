package demo

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const oidcTTL = 900 * time.Second

// oidcAuthorize begins the oidc app's code flow. The parameters of a request
// that needs a login first are kept in the session and fill the gaps of every
// later request: a client that leaves one out gets an earlier one's.
func (n *Nextcloud) oidcAuthorize(w http.ResponseWriter, r *http.Request) {
	s, q := n.open(w, r), r.URL.Query()
	p := merged(s.oidc, q)
	c, fault := n.oidcClient(p)
	if s.uid == "" || fault == "" && n.mustLoginAgain(p, s) {
		n.oidcLogin(w, s, c, p, fault)
		return
	}
	if fault != "" {
		n.pages.show(w, http.StatusOK, "error", view{Title: "Access not possible", Message: fault})
		return
	}
	if p.Get("response_type") != "code" {
		seeOther(w, appended(p.Get("redirect_uri"), "error=request_not_supported&error_description=Missing%20id_token&state="+url.QueryEscape(p.Get("state"))))
		return
	}
	g := n.oidc.add(n.oidcGrant(c, s, p))
	seeOther(w, appended(p.Get("redirect_uri"), "state="+url.QueryEscape(p.Get("state"))+"&code="+g.key))
}

// merged fills the gaps of one set of parameters with another.
func merged(kept, given url.Values) url.Values {
	p := make(url.Values)
	maps.Copy(p, kept)
	maps.Copy(p, given)
	return p
}

// oidcClient finds the client and holds the redirect URI against it, byte for
// byte. The fault is for a page: a client that cannot be trusted is not
// redirected to.
func (n *Nextcloud) oidcClient(p url.Values) (Client, string) {
	c, ok := n.clients.get(p.Get("client_id"))
	switch {
	case !ok:
		return c, "Your client is not authorized to connect. Please inform the administrator of your client."
	case !slices.Contains(c.RedirectURIs, p.Get("redirect_uri")):
		return c, "The received redirect URI is not accepted to connect. Please inform the administrator of your client."
	}
	return c, ""
}

// mustLoginAgain heeds prompt=login and max_age, which 0.6 ignores (OpenID
// Connect Core, section 3.1.2.1).
func (n *Nextcloud) mustLoginAgain(p url.Values, s session) bool {
	if n.o.OIDC != OIDC20 {
		return false
	}
	age, err := strconv.Atoi(p.Get("max_age"))
	return p.Get("prompt") == "login" || err == nil && n.o.Now().Sub(s.since) > time.Duration(age)*time.Second
}

// oidcLogin sends the person to the login form and from there to the hop page.
func (n *Nextcloud) oidcLogin(w http.ResponseWriter, s session, c Client, p url.Values, fault string) {
	if n.o.OIDC == OIDC20 && fault == "" && p.Get("prompt") == "none" {
		seeOther(w, appended(p.Get("redirect_uri"), values("error", "login_required", "state", p.Get("state")).Encode()))
		return
	}
	p.Del("prompt") // has had its effect once the login is done
	p.Del("max_age")
	n.sessions.edit(s.id, func(x *session) { x.uid, x.token, x.oidc = "", "", p })
	seeOther(w, "/index.php/login?redirect_url=/index.php/apps/oidc/redirect")
}

func (n *Nextcloud) oidcGrant(c Client, s session, p url.Values) grant {
	now := n.o.Now()
	g := grant{client: c.ID, uid: s.uid, scope: cmp.Or(p.Get("scope"), "openid"), nonce: p.Get("nonce"), authTime: now,
		key: alnum(128), keyUntil: now.Add(n.accessTTL(oidcTTL))}
	if n.o.OIDC == OIDC20 {
		g.challenge, g.method, g.authTime = p.Get("code_challenge"), cmp.Or(p.Get("code_challenge_method"), "plain"), s.since
	}
	return g
}

// oidcHop is the page between the login and authorize. The real one goes on by
// script alone; this one has a link as well.
func (n *Nextcloud) oidcHop(w http.ResponseWriter, r *http.Request) {
	if s := n.open(w, r); s.uid == "" {
		toLogin(w, r)
		return
	}
	n.pages.show(w, http.StatusOK, "hop", view{Title: "Redirecting", Next: "/index.php/apps/oidc/authorize"})
}

// idClaims are the claims of an id_token. 2.0 keeps what describes the person
// for userinfo.
func (n *Nextcloud) idClaims(r *http.Request, g grant, a account) object {
	now := n.o.Now().Unix()
	o := object{
		{"iss", n.base(r)}, {"sub", a.UID}, {"aud", g.client}, {"exp", now + int64(n.accessTTL(oidcTTL)/time.Second)},
		{"auth_time", g.authTime.Unix()}, {"iat", now}, {"acr", "0"}, {"azp", g.client},
	}
	if n.o.OIDC == OIDC06 {
		o = append(o, member{"preferred_username", a.UID})
	}
	o = append(o, object{{"scope", g.scope}, {"nbf", now}, {"jti", strconv.Itoa(g.row)}}...)
	if g.nonce != "" {
		o = append(o, member{"nonce", g.nonce})
	}
	if n.o.NamesLogin {
		o = append(o, member{"sid", "login-" + strconv.Itoa(g.row)})
	}
	if n.o.OIDC == OIDC06 {
		o = append(o, n.personClaims(g, a, "roles", "groups", "profile", "email")...)
	}
	return o
}

// userClaims are the claims of userinfo: in 0.6 roles always and groups never,
// in 2.0 each by its scope.
func (n *Nextcloud) userClaims(g grant, a account) object {
	o := object{{"sub", a.UID}}
	if n.o.OIDC == OIDC06 {
		o = append(o, object{{"preferred_username", a.UID}, {"roles", append([]string{}, a.Groups...)}}...)
		return append(o, n.personClaims(g, a, "profile", "email")...)
	}
	if scoped(g, "profile") {
		o = append(o, member{"preferred_username", a.UID})
	}
	return append(o, n.personClaims(g, a, "roles", "groups", "profile", "email")...)
}

// personClaims are those of the wanted scopes that were granted.
func (n *Nextcloud) personClaims(g grant, a account, wanted ...string) (o object) {
	groups := append([]string{}, a.Groups...)
	for _, scope := range wanted {
		if !scoped(g, scope) {
			continue
		}
		switch scope {
		case "roles", "groups":
			o = append(o, member{scope, groups})
		case "profile":
			o = append(o, member{"name", a.Name}, member{"updated_at", n.o.Now().Unix()})
		case "email":
			o = append(o, member{"email", a.Email}, member{"email_verified", true})
		}
	}
	return o
}

func scoped(g grant, scope string) bool { return slices.Contains(strings.Fields(g.scope), scope) }
