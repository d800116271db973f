package demo

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// provisioning answers the provisioning API's questions about people and
// groups, which administrators may ask; false for anything else.
func (n *Nextcloud) provisioning(w http.ResponseWriter, r *http.Request, path string) bool {
	rest, ok := strings.CutPrefix(path, "/cloud/")
	if !ok {
		return false
	}
	parts := strings.Split(rest, "/")
	if parts[0] != "users" && parts[0] != "groups" || len(parts) > 3 {
		return false
	}
	c, ok := n.ocsCaller(w, r)
	if !ok {
		return true
	}
	admin := slices.Contains(c.Groups, "admin")
	switch {
	case len(parts) == 2 && parts[0] == "users" && parts[1] != "details":
		n.ocsPerson(w, r, c, parts[1], admin)
	case !admin:
		ocs(w, r, 403, "Logged in user must be at least a sub admin", nil)
	case rest == "users":
		ocs(w, r, 200, "OK", object{{"users", pageOf(r, n.users.uids())}})
	case rest == "users/details":
		n.ocsPeople(w, r)
	case rest == "groups":
		ocs(w, r, 200, "OK", object{{"groups", pageOf(r, n.users.groups())}})
	case len(parts) == 2:
		n.ocsGroup(w, r, parts[1])
	default:
		ocs(w, r, 404, unknownQuery, nil)
	}
	return true
}

// ocsPerson is one record. Whose is not the caller's own is not there for them.
func (n *Nextcloud) ocsPerson(w http.ResponseWriter, r *http.Request, c caller, uid string, admin bool) {
	a, ok := n.users.get(uid)
	switch {
	case ok && (admin || a.UID == c.UID):
		ocs(w, r, 200, "OK", n.provisioned(a, admin))
	case admin:
		ocs(w, r, 404, "User does not exist", nil)
	default:
		ocs(w, r, 998, unknownQuery, nil)
	}
}

// provisioned is a record as the provisioning API has it: only administrators
// are told whether the account is enabled.
func (n *Nextcloud) provisioned(a account, admin bool) object {
	var o object
	if admin {
		o = object{{"enabled", !a.disabled}}
	}
	for _, m := range n.userRecord(a) {
		if m.name == "display-name" {
			m.name = "displayname"
		}
		o = append(o, m)
	}
	return o
}

func (n *Nextcloud) ocsPeople(w http.ResponseWriter, r *http.Request) {
	var people object
	for _, uid := range pageOf(r, n.users.uids()) {
		if a, ok := n.users.get(uid); ok {
			people = append(people, member{uid, n.provisioned(a, true)})
		}
	}
	if people == nil { // PHP's empty list
		ocs(w, r, 200, "OK", object{{"users", []string{}}})
		return
	}
	ocs(w, r, 200, "OK", object{{"users", people}})
}

func (n *Nextcloud) ocsGroup(w http.ResponseWriter, r *http.Request, group string) {
	group, _ = url.QueryUnescape(group) // a second time
	if !slices.Contains(n.users.groups(), group) {
		ocs(w, r, 404, "The requested group could not be found", nil)
		return
	}
	uids := []string{}
	for _, uid := range n.users.uids() {
		if a, _ := n.users.get(uid); slices.Contains(a.Groups, group) {
			uids = append(uids, uid)
		}
	}
	ocs(w, r, 200, "OK", object{{"users", uids}})
}

// pageOf is the part of a sorted list that search, offset and limit leave.
func pageOf(r *http.Request, names []string) []string {
	q := r.URL.Query()
	found := []string{}
	for _, name := range names {
		if strings.Contains(strings.ToLower(name), strings.ToLower(q.Get("search"))) {
			found = append(found, name)
		}
	}
	skip, _ := strconv.Atoi(q.Get("offset"))
	found = found[min(max(skip, 0), len(found)):]
	if most, err := strconv.Atoi(q.Get("limit")); err == nil && most >= 0 {
		found = found[:min(most, len(found))]
	}
	return found
}
