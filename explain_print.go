package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"anteroom/proxy"
	"anteroom/session"
)

// readingSaid is one way in which an application may read the path.
type readingSaid struct {
	Path    string `json:"path"`
	AnyCase bool   `json:"any_case,omitempty"` // letters' case ignored
	Rule    string `json:"rule,omitempty"`
}

// ruleSaid is a route, and where it was said.
type ruleSaid struct {
	Index    int       `json:"index"`
	Name     string    `json:"name"`
	Source   string    `json:"source,omitempty"`
	Line     int       `json:"line,omitempty"`
	Path     string    `json:"path"`
	Host     string    `json:"host,omitempty"`
	Methods  []string  `json:"methods,omitempty"`
	Allow    allowSaid `json:"allow"`
	Upstream string    `json:"upstream"`
	Audience string    `json:"audience,omitempty"`
	InQuery  bool      `json:"jwt_in_query,omitempty"`
}

// allowSaid is who may pass; the zero value: whoever is signed in.
type allowSaid struct {
	Public bool     `json:"public,omitempty"`
	Groups []string `json:"groups,omitempty"`
	Users  []string `json:"users,omitempty"`
}

// verdict is what somebody is answered.
type verdict struct {
	Who    string    `json:"who"`
	Client string    `json:"client"` // browser or program
	Asked  proxy.Way `json:"asked"`
	Kept   bool      `json:"may_not_sign_in,omitempty"`
	proxy.Answer
}

func (e *explanation) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(e)
}

// writeText writes it for people.
func (e *explanation) writeText(w io.Writer) error {
	fmt.Fprintf(w, "%s %s\n\n", e.Method, harmless(e.URL))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	e.writeWhere(t)
	if e.Rule != nil {
		e.writeRule(t)
	} else if e.Own == "" {
		fmt.Fprintln(t, "rule\tnone")
	}
	if e.SignIn != nil {
		fmt.Fprintf(t, "sign-in\tfor %s\n", e.SignIn)
	}
	for _, n := range e.Notes {
		fmt.Fprintf(t, "note\t%s\n", harmless(n))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return e.writeAnswers(w)
}

// writeWhere writes how the request is understood.
func (e *explanation) writeWhere(w io.Writer) {
	ours := "not ours: add it to server.hosts, or share the sign-in below session.cookie.domain"
	if e.OursBy != "" {
		ours = "ours, by " + e.OursBy
	}
	fmt.Fprintf(w, "host\t%s: %s\n", harmless(e.Host), ours)
	switch {
	case len(e.Readings) == 0:
		fmt.Fprintf(w, "path\t%s: no path that an application could be given\n", harmless(e.Path))
	case e.Ambiguous:
		fmt.Fprintf(w, "path\t%s: ambiguous, since applications may read\n", harmless(e.Path))
		for _, r := range e.Readings {
			said := harmless(r.Path)
			if r.AnyCase {
				said += ", its letters in any case"
			}
			fmt.Fprintf(w, "\t  %s → %s\n", said, harmless(r.Rule))
		}
	case e.Readings[0].Path != e.Path:
		fmt.Fprintf(w, "path\t%s, in its normal form %s\n", harmless(e.Path), harmless(e.Readings[0].Path))
	default:
		fmt.Fprintf(w, "path\t%s\n", harmless(e.Path))
	}
	if e.Own != "" {
		fmt.Fprintf(w, "own URL\t%s\n", e.Own)
	}
}

// writeRule writes the rule, and what becomes of a request that passes.
func (e *explanation) writeRule(w io.Writer) {
	r := e.Rule
	name := r.Name
	if r.Source != "" {
		name += " (" + Fault{Source: r.Source, Line: r.Line}.String() + ")"
	}
	name += ": path " + r.Path
	if r.Host != "" {
		name += ", host " + r.Host
	}
	if len(r.Methods) > 0 {
		name += ", methods " + strings.Join(r.Methods, " ")
	}
	if e.Own != "" {
		name += "; for front proxies that ask"
	}
	fmt.Fprintf(w, "rule\t%s\nallow\t%s\n", name, r.Allow)
	to := r.Upstream
	if to == proxy.NoUpstream {
		to = "front proxies that ask"
		if e.Own == "" {
			to += "; Anteroom itself answers " + strconv.Itoa(e.Answers[0].Status)
		}
	}
	fmt.Fprintf(w, "goes to\t%s\nJWT\t%s\n", to, e.jwt())
}

// jwt says what the application gets of one.
func (e *explanation) jwt() string {
	j := e.cfg.Identity.JWT
	if j.Algorithm == "none" {
		return "none"
	}
	said := "without aud"
	if e.Rule.Audience != "" {
		said = "aud " + e.Rule.Audience
	}
	if !isNone(j.Header) {
		said += ", in " + j.Header
	}
	if e.Rule.InQuery {
		said += ", as query parameter " + j.Query
	}
	return said
}

// String says who it is for.
func (a allowSaid) String() string {
	var parts []string
	for _, l := range []struct {
		names     []string
		one, more string
	}{{a.Groups, "the group ", "one of the groups "}, {a.Users, "the user ", "one of the users "}} {
		switch len(l.names) {
		case 0:
		case 1:
			parts = append(parts, l.one+listed(l.names))
		default:
			parts = append(parts, l.more+listed(l.names))
		}
	}
	switch {
	case a.Public:
		return "everybody"
	case len(parts) == 0:
		return "whoever is signed in"
	}
	return strings.Join(parts, ", or ")
}

// because says by what somebody passes.
func (a allowSaid) because(who *session.Identity) string {
	if !a.Public && who != nil && slices.Contains(a.Users, who.Subject) {
		return "is the user " + listed([]string{who.Subject})
	}
	for _, g := range a.Groups {
		if !a.Public && who != nil && who.In([]string{g}) {
			return "is in the group " + listed([]string{g})
		}
	}
	if a.Public {
		return "is public"
	}
	return "being signed in is enough"
}

// listed writes names one after another, in quotes where one could be taken
// for several or for none.
func listed(names []string) string {
	var said []string
	for _, n := range names {
		if harmless(n) != n || strings.ContainsAny(n, `, "`) {
			n = strconv.Quote(n)
		}
		said = append(said, n)
	}
	return strings.Join(said, ", ")
}
