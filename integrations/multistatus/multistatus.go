// Package multistatus asks a DAV server and reads what it answers (RFC 4918
// §13), one response at a time, in constant memory. It trusts no answer to end,
// to be well-formed or to be a multistatus at all; what is wrong with one is a
// *integrations.Problem.
package multistatus

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"anteroom/integrations"
)

// Response is one of a multistatus (RFC 4918 §14.24); Prop is a struct of the
// properties that are read, tagged as encoding/xml wants them. Servers write its
// parts in any order.
type Response[Prop any] struct {
	Href     string          `xml:"DAV: href"`
	Propstat Propstats[Prop] `xml:"DAV: propstat"`
	Status   string          `xml:"DAV: status"`
}

// Propstats are those of a response.
type Propstats[Prop any] []Propstat[Prop]

// UnmarshalXML implements xml.Unmarshaler: it bounds how many there are, since
// an empty one takes a few bytes in an answer, and a lot of them in memory.
func (p *Propstats[Prop]) UnmarshalXML(d *xml.Decoder, t xml.StartElement) error {
	if len(*p) == maxPropstats {
		return errLong
	}
	var one Propstat[Prop]
	if err := d.DecodeElement(&one, &t); err != nil {
		return err
	}
	*p = append(*p, one)
	return nil
}

// Propstat is what was found, or was not.
type Propstat[Prop any] struct {
	Status string `xml:"DAV: status"`
	Prop   Prop   `xml:"DAV: prop"`
}

// Found is what the server found; the zero value if it found nothing.
func (r *Response[Prop]) Found() *Prop {
	for i := range r.Propstat {
		if OK(r.Propstat[i].Status) {
			return &r.Propstat[i].Prop
		}
	}
	return new(Prop)
}

// Gone reports whether the response says that there is no such resource: it was
// deleted since (RFC 6578 §3.5.2).
func (r *Response[Prop]) Gone() bool { return strings.HasPrefix(code(r.Status), "404") }

// Cut reports whether the response says that there is more than the server gave
// (RFC 6578 §3.6).
func (r *Response[Prop]) Cut() bool { return strings.HasPrefix(code(r.Status), "507") }

// OK reads a status line (RFC 9112 §4).
func OK(line string) bool { return strings.HasPrefix(code(line), "2") }

func code(line string) string {
	_, code, _ := strings.Cut(strings.TrimSpace(line), " ")
	return code
}

// Request is a question that a multistatus answers.
type Request struct {
	Method, URL string
	Depth       string // "" for none
	Body        string // XML
	What        string // what it is about, in a refusal: "file", "calendar"
	Largest     int    // bytes that one response may have; 0: 1 MiB
	Most        int64  // bytes that are read of the answer, and then it is ErrMost; 0: however many it has
}

const (
	maxResponse  = 1 << 20
	maxNesting   = 64
	maxPropstats = 16 // of one response: there is one for each status
)

// Ask puts a question and gives each response to a function, as they come. What
// that returns ends it. tail is the sync-token at the end (RFC 6578); "" for
// none.
func Ask[Prop any](ctx context.Context, client *http.Client, q Request, each func(*Response[Prop]) error) (tail string, err error) {
	r, err := http.NewRequestWithContext(ctx, q.Method, q.URL, strings.NewReader(q.Body))
	if err != nil {
		return "", integrations.Invalid("path", "cannot be asked for.")
	}
	r.Header.Set("Content-Type", "application/xml; charset=utf-8")
	if q.Depth != "" {
		r.Header.Set("Depth", q.Depth)
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", integrations.Lost(err)
	}
	defer resp.Body.Close()
	if p := integrations.Answered(resp, q.What); p != nil {
		if integrations.Peek(resp, "valid-sync-token") { // RFC 6578 §3.2
			p = &integrations.Problem{Status: http.StatusGone, Reason: integrations.ReasonCursor, Field: "cursor", Text: "The server no longer knows that cursor: begin again without one."}
		}
		return "", p
	}
	if resp.StatusCode != http.StatusMultiStatus {
		return "", &integrations.Problem{Status: http.StatusBadGateway, Reason: integrations.ReasonNotDAV, Text: "What answers in Nextcloud's place is no DAV server."}
	}
	return read(resp.Body, q.Largest, q.Most, each)
}

// metered ends when nobody has come by for too long: what is between two
// responses, or within one, is bounded; so is the whole, if that is said.
type metered struct {
	r           io.Reader
	left        int
	whole, most int64
}

var errLong = errors.New("a response of a multistatus is too long")

// ErrMost is within the refusal of an answer of which as much was read as was
// wanted.
var ErrMost = errors.New("there is more than is read")

// shortest is how many bytes a response has at least, on average over an answer
// whose length is bounded: to read none of use takes time, too.
const shortest = 256

func (m *metered) Read(p []byte) (int, error) {
	switch {
	case m.left <= 0:
		return 0, errLong
	case m.most > 0 && m.whole >= m.most:
		return 0, ErrMost
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	m.whole += int64(n)
	return n, err
}

func unusable(err error) error {
	if _, ok := integrations.ProblemOf(err); ok {
		return err
	}
	if syntax := (*xml.SyntaxError)(nil); errors.As(err, &syntax) { // its words quote what may be somebody's text
		err = fmt.Errorf("it is no XML at line %d", syntax.Line)
	}
	return integrations.Unusable("Nextcloud", fmt.Errorf("reading a multistatus: %w", err))
}

// Read takes a multistatus apart.
func Read[Prop any](body io.Reader, each func(*Response[Prop]) error) (tail string, err error) {
	return read(body, 0, 0, each)
}

func read[Prop any](body io.Reader, largest int, most int64, each func(*Response[Prop]) error) (tail string, err error) {
	if largest == 0 {
		largest = maxResponse
	}
	m := &metered{r: body, left: largest, most: most}
	d := xml.NewDecoder(m)
	depth, n := 0, int64(0)
	for {
		token, err := d.Token()
		if err != nil {
			return "", unusable(err)
		}
		switch t := token.(type) {
		case xml.Directive:
			return "", unusable(errors.New("it has a document type"))
		case xml.StartElement:
			done, err := element(d, &t, depth, &tail, each)
			if err != nil {
				return "", err
			}
			if done {
				m.left = largest
				if n++; most > 0 && n*shortest > most {
					return "", unusable(ErrMost)
				}
				continue
			}
			if depth++; depth > maxNesting {
				return "", unusable(errors.New("it nests too deep"))
			}
		case xml.EndElement:
			if depth--; depth == 0 {
				return tail, nil
			}
		}
	}
}

// element reads an element of the first levels; false for one to go into.
func element[Prop any](d *xml.Decoder, t *xml.StartElement, depth int, tail *string, each func(*Response[Prop]) error) (done bool, err error) {
	switch {
	case depth == 0 && t.Name != xml.Name{Space: "DAV:", Local: "multistatus"}:
		return false, unusable(errors.New("it is none"))
	case depth == 1 && t.Name == xml.Name{Space: "DAV:", Local: "sync-token"}:
		if err := d.DecodeElement(tail, t); err != nil {
			return false, unusable(err)
		}
		return true, nil
	case depth == 1 && t.Name == xml.Name{Space: "DAV:", Local: "response"}:
		var r Response[Prop]
		if err := d.DecodeElement(&r, t); err != nil {
			return false, unusable(err)
		}
		return true, each(&r)
	}
	return false, nil
}
