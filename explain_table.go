package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"anteroom/proxy"
)

// row is a line of the table of answers: the ways that end alike.
type row struct {
	who  string
	ways []proxy.Way
	verdict
}

// writeAnswers writes who is answered what. People, clients and ways that make
// no difference share a line.
func (e *explanation) writeAnswers(w io.Writer) error {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	legend := false
	for i, r := range append([]row{{}}, e.table()...) {
		cells := []string{"WHO", "ASKED", "ANSWER", "WHY"}
		if i > 0 {
			cells = []string{r.who, e.asked(r.ways), r.answer(), r.why()}
			legend = legend || strings.Contains(cells[1], "relaying") || strings.Contains(cells[1], "by status")
		}
		if len(e.ways) == 1 {
			cells = slices.Delete(cells, 1, 2)
		}
		for i := range cells {
			cells[i] = harmless(cells[i])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if err := t.Flush(); err != nil || !legend {
		return err
	}
	_, err := fmt.Fprint(w, "\nrelaying: Traefik, Caddy, Envoy; by status: nginx, HAProxy (docs/forward-auth.md)\n")
	return err
}

// table is every row there is to write.
func (e *explanation) table() (all []row) {
	var first []row
	differ := false
	for i, c := range e.callers {
		if c.kept {
			continue // as nobody is
		}
		of := e.Answers[2*len(e.ways)*i:][:2*len(e.ways)]
		browser, program := e.rows(of[:len(e.ways)]), e.rows(of[len(e.ways):])
		rows := browser
		if alike := slices.EqualFunc(browser, program, row.alike); !alike {
			rows = slices.Concat(browser, program)
		}
		for k := range rows {
			rows[k].who = c.name
			if len(rows) > len(browser) {
				rows[k].who += map[string]string{"browser": ", in a browser", "program": ", a program"}[rows[k].Client]
			}
		}
		if i == 0 {
			first = slices.Clone(rows)
		}
		differ = differ || !slices.EqualFunc(first, rows, row.alike)
		all = append(all, rows...)
	}
	if !differ && len(all) > len(first) {
		for k := range first {
			first[k].who = strings.Replace(first[k].who, "nobody", "everybody", 1)
		}
		return first
	}
	return all
}

// rows joins the ways that end alike. Where nothing is forwarded, the direct
// one is of no interest: writeRule has said it.
func (e *explanation) rows(of []verdict) (rows []row) {
	for _, o := range of {
		if o.Asked == proxy.Directly && e.Own == "" && e.Rule != nil && e.Rule.Upstream == proxy.NoUpstream {
			continue
		}
		if i := slices.IndexFunc(rows, func(r row) bool { return alike(r.verdict, o) }); i >= 0 {
			rows[i].ways = append(rows[i].ways, o.Asked)
		} else {
			rows = append(rows, row{"", []proxy.Way{o.Asked}, o})
		}
	}
	return rows
}

func (r row) alike(other row) bool {
	return alike(r.verdict, other.verdict) && slices.Equal(r.ways, other.ways)
}

func alike(a, b verdict) bool {
	return a.Passed == b.Passed && a.Why == b.Why && (a.Passed || a.Status == b.Status && a.Location == b.Location && a.Reason == b.Reason)
}

// asked is a column: how the request comes.
func (e *explanation) asked(ways []proxy.Way) string {
	if len(ways) == len(e.ways) {
		return "any way"
	}
	var said []string
	for _, w := range ways {
		said = append(said, map[proxy.Way]string{proxy.Directly: "directly", proxy.Relaying: "relaying", proxy.ByStatus: "by status"}[w])
	}
	return strings.Replace(strings.Join(said, ", "), "relaying, by status", "by a front proxy", 1)
}

func (o verdict) answer() string {
	if o.Passed {
		return "passes"
	}
	return strconv.Itoa(o.Status)
}

func (o verdict) why() string {
	switch {
	case o.Location != "":
		return strings.TrimSpace(o.Reason + " → " + o.Location)
	case o.Reason != "":
		return o.Reason + ": " + o.Why
	}
	return o.Why
}
