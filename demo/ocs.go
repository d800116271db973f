package demo

import (
	"bytes"
	"net/http"
	"strings"
)

// unknownQuery is what an address OCS does not have is answered with.
const unknownQuery = "Invalid query, please check the syntax. API specifications are here: http://www.freedesktop.org/wiki/Specifications/open-collaboration-services.\n"

func isV1(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/ocs/v1.php/") }

// envelope wraps data as OCS does. No data is an empty list.
func envelope(r *http.Request, status string, code int, text string, data object) object {
	meta := object{{"status", status}, {"statuscode", code}, {"message", text}}
	if isV1(r) {
		meta = append(meta, member{"totalitems", ""}, member{"itemsperpage", ""})
	}
	var body any = data
	if data == nil {
		body = []string{}
	}
	return object{{"ocs", object{{"meta", meta}, {"data", body}}}}
}

// ocs answers with an envelope. code is an OCS status code; version 1 keeps it
// to itself, but for 997, and says 200.
func ocs(w http.ResponseWriter, r *http.Request, code int, text string, data object) {
	status, verdict := code, "failure"
	switch code {
	case 997:
		status = http.StatusUnauthorized
	case 998:
		status = http.StatusNotFound
	case 200:
		verdict = "ok"
	}
	if isV1(r) && code != 997 {
		status = http.StatusOK
		if code == 200 {
			code = 100
		}
	}
	e := envelope(r, verdict, code, text, data)
	if r.URL.Query().Get("format") == "json" || strings.Contains(r.Header.Get("Accept"), "application/json") {
		writeJSON(w, status, e)
		return
	}
	appHeaders(w)
	writeOCSXML(w, status, "application/xml; charset=utf-8", e)
}

func writeOCSXML(w http.ResponseWriter, status int, kind string, e object) {
	var buf bytes.Buffer
	buf.WriteString("<?xml version=\"1.0\"?>\n")
	e.writeXML(&buf, 0)
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	w.Write(buf.Bytes())
}

// ocsCaller lets a signed-in caller in. The refusals are the real server's: a
// wrong password or a disabled user gets XML whatever was asked for, a browser
// is sent to the login form, and whoever comes without Bearer has to prove by a
// header that no foreign page made the request.
func (n *Nextcloud) ocsCaller(w http.ResponseWriter, r *http.Request) (caller, bool) {
	c := n.caller(w, r)
	switch {
	case c.standing == wrongLogin || c.standing == disabled:
		appHeaders(w)
		w.Header().Set("WWW-Authenticate", `Basic realm="Authorisation Required"`)
		writeOCSXML(w, http.StatusUnauthorized, "text/xml; charset=UTF-8", envelope(r, "failure", 997, "Unauthorised", nil))
	case c.standing == nobody && wantsHTML(r):
		seeOther(w, loginAddress(r.URL.RequestURI()))
	case c.standing == nobody:
		ocs(w, r, 997, "Current user is not logged in", nil)
	case !strings.HasPrefix(authorization(r), "Bearer ") && r.Header.Get("OCS-APIRequest") != "true" && !formTrusted(r, c.session):
		message(w, http.StatusPreconditionFailed, "CSRF check failed")
	default:
		return c, true
	}
	return c, false
}

// ocsUser is cloud/user: who the caller is.
func (n *Nextcloud) ocsUser(w http.ResponseWriter, r *http.Request) {
	if c, ok := n.ocsCaller(w, r); ok {
		ocs(w, r, 200, "OK", n.userRecord(c.account))
	}
}

// userRecord has the members a real answer has, in its order.
func (n *Nextcloud) userRecord(a account) object {
	o := object{
		{"storageLocation", "/var/www/data/" + a.UID}, {"id", a.UID}, {"lastLogin", n.o.Now().Unix() * 1000},
		{"backend", "Database"}, {"subadmin", []string{}},
		{"quota", object{{"free", 1 << 30}, {"used", 11284525}, {"total", 1<<30 + 11284525}, {"relative", 1.04}, {"quota", -3}}},
		{"avatarScope", "v2-federated"}, {"email", a.Email}, {"emailScope", "v2-federated"},
		{"additional_mail", []string{}}, {"additional_mailScope", []string{}}, {"displaynameScope", "v2-federated"},
	}
	for _, k := range [...]string{"phone", "address", "website", "twitter", "organisation", "role", "headline", "biography"} {
		o = append(o, member{k, ""}, member{k + "Scope", "v2-local"})
	}
	groups := append([]string{}, a.Groups...)
	return append(o, object{
		{"profile_enabled", "1"}, {"profile_enabledScope", "v2-local"}, {"groups", groups}, {"language", "en"}, {"locale", ""},
		{"notify_email", nil}, {"backendCapabilities", object{{"setDisplayName", true}, {"setPassword", true}}}, {"display-name", a.Name},
	}...)
}

// ocsAppPassword is DELETE core/apppassword: the way to revoke a token of the
// built-in OAuth2.
func (n *Nextcloud) ocsAppPassword(w http.ResponseWriter, r *http.Request) {
	c, ok := n.ocsCaller(w, r)
	switch {
	case !ok:
	case r.Method != http.MethodDelete:
		ocs(w, r, 404, unknownQuery, nil)
	case c.token == "":
		ocs(w, r, 403, "no app password in use", nil)
	default:
		if g, ok := n.oauth2.byAccess(c.token); ok {
			n.oauth2.drop(g.row)
		}
		ocs(w, r, 200, "OK", nil)
	}
}

// ocsRotateAppPassword is POST core/apppassword/rotate: a new app password for
// the one used, which is dead at once.
func (n *Nextcloud) ocsRotateAppPassword(w http.ResponseWriter, r *http.Request) {
	c, ok := n.ocsCaller(w, r)
	g, has := n.oauth2.byAccess(c.token)
	switch {
	case !ok:
	case r.Method != http.MethodPost:
		ocs(w, r, 404, unknownQuery, nil)
	case !has:
		ocs(w, r, 403, "no app password in use", nil)
	default:
		g.access = alnum(72)
		n.oauth2.replace(g, false, "")
		ocs(w, r, 200, "OK", object{{"apppassword", g.access}})
	}
}

// ocsGetAppPassword is core/getapppassword: a new app password for whoever
// comes with the real one.
func (n *Nextcloud) ocsGetAppPassword(w http.ResponseWriter, r *http.Request) {
	c, ok := n.ocsCaller(w, r)
	switch {
	case !ok:
	case c.token != "" || c.byCookie:
		ocs(w, r, 403, "You cannot request an new apppassword with an apppassword", nil)
	default:
		g := n.oauth2.add(grant{uid: c.UID, access: alnum(72), redeemed: true})
		ocs(w, r, 200, "OK", object{{"apppassword", g.access}})
	}
}

// ocsOther is the rest: capabilities in short, the users, which only
// administrators may list, and what does not exist.
func (n *Nextcloud) ocsOther(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path[len("/ocs/v1.php"):]; path {
	case "/cloud/capabilities":
		n.open(w, r)
		ocs(w, r, 200, "OK", object{
			{"version", object{{"major", 24}, {"minor", 0}, {"micro", 5}, {"string", "24.0.5"}, {"edition", ""}, {"extendedSupport", false}}},
			{"capabilities", object{{"bruteforce", object{{"delay", 0}}}, {"theming", object{{"name", "Nextcloud"}, {"color", "#0082c9"}}}}},
		})
	default:
		if n.provisioning(w, r, path) {
			return
		}
		if _, ok := n.ocsCaller(w, r); ok {
			ocs(w, r, 404, unknownQuery, nil)
		}
	}
}
