package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"anteroom/session"
)

// writeTable writes the list for people.
func (r *register) writeTable(w io.Writer, list []session.Overview) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tUSER\tDEVICE\tADDRESS\tSTARTED\tLAST SEEN")
	for _, o := range list {
		fields := []string{o.ID, userOf(o), r.pages.Device(o.Agent), o.Address, o.Started.UTC().Format(time.RFC3339), o.Seen.UTC().Format(time.RFC3339)}
		for i := range fields {
			fields[i] = harmless(fields[i])
		}
		fmt.Fprintln(t, strings.Join(fields, "\t"))
	}
	return t.Flush()
}

// userOf is the id that --user takes, and the name where it says more.
func userOf(o session.Overview) string {
	if o.Username == "" || o.Username == o.Subject {
		return o.Subject
	}
	return o.Subject + " (" + o.Username + ")"
}

// harmless is a field that can do nothing to a terminal or to the table: what
// is not printed as it is becomes U+FFFD.
func harmless(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// writeJSON writes the list for programs.
func (r *register) writeJSON(w io.Writer, list []session.Overview) error {
	type line struct {
		session.Overview
		Device   string    `json:"device"`
		LastSeen time.Time `json:"last_seen"`
	}
	out := make([]line, 0, len(list))
	for _, o := range list {
		out = append(out, line{Overview: o, Device: r.pages.Device(o.Agent), LastSeen: o.Seen.UTC()})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func counted(n int) string {
	return number(n, "session", "sessions")
}
