package api

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"anteroom/integrations"
	"anteroom/session/semaphore"
)

// What an operation takes is a struct with a field for each parameter, tagged
//
//	query:"name", header:"Name" or path:"name"  where it comes from
//	body:"json" or body:"stream"                 for the body: a struct, or media to read from the request
//	doc:"..."                                    for people
//	required:"true", default:"..."               without either it may be left out
//	min:"1" max:"100"                            of a number; of the length of a string, in characters; of a list
//	enum:"a,b"                                   the only values
//	lines:"true"                                 a text that may have several lines
//
// The members of a JSON body are tagged in the same way, with json:"name".
// Fields are strings, bools, ints, time.Time (RFC 3339), structs, slices of
// these, and pointers where leaving out means another thing than zero.

const (
	maxJSON    = 1 << 20 // of a body that says nothing else, by max
	maxString  = 4096    // of a string that says nothing else
	maxEntries = 1000    // of a list that says nothing else
	bodyTime   = 30 * time.Second
	largeJSON  = 2 << 20 // of a body that waits for a place
	manyLarge  = 8       // of these at a time, a quarter of them one caller's: each is several times as large in memory
	largeWait  = 10 * time.Second
)

var (
	typeTime = reflect.TypeFor[time.Time]()
	sources  = []string{"path", "query", "header"}
)

// origin is where a field comes from and by which name.
func origin(f reflect.StructField) (from, name string) {
	for _, from := range sources {
		if name, ok := f.Tag.Lookup(from); ok {
			return from, name
		}
	}
	return "", ""
}

// fields are a struct's, with those of the structs that it embeds.
func fields(t reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return f.Anonymous || !f.IsExported() })
}

// decode reads the request into what an operation takes.
func (x *exchange) decode(in reflect.Value) error {
	query, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return &integrations.Problem{Status: http.StatusBadRequest, Reason: integrations.ReasonInvalid, Text: "The query cannot be read."}
	}
	known := map[string]bool{}
	for _, f := range fields(in.Type()) {
		v := in.FieldByIndex(f.Index)
		from, name := origin(f)
		var said []string
		switch from {
		case "path":
			said = []string{x.params[name]}
		case "query":
			known[name] = true
			said = query[name]
		case "header":
			said = x.r.Header.Values(name)
		default:
			if f.Tag.Get("body") == "json" {
				_, most := bounds(f.Tag, 0, maxJSON)
				if err := x.decodeBody(v, most); err != nil {
					return err
				}
			}
			continue
		}
		if err := assign(v, f.Tag, name, said); err != nil {
			return err
		}
	}
	for name := range query {
		if !known[name] {
			return integrations.Invalid(printable(name), "is no parameter of this operation.")
		}
	}
	return nil
}

// printable is a name as it may be repeated to whoever sent it.
func printable(s string) string { return strings.Trim(strconv.QuoteToASCII(s[:min(len(s), 64)]), `"`) }

// assign reads one parameter.
func assign(v reflect.Value, tag reflect.StructTag, name string, said []string) error {
	if len(said) == 0 {
		d, ok := tag.Lookup("default")
		switch {
		case ok:
			said = []string{d}
		case tag.Get("required") == "true":
			return integrations.Invalid(name, "is missing.")
		default:
			return nil
		}
	}
	if v.Kind() == reflect.Slice {
		for _, s := range said {
			one := reflect.New(v.Type().Elem()).Elem()
			if err := parse(one, name, s); err != nil {
				return err
			}
			v.Set(reflect.Append(v, one))
		}
		return check(v, tag, name)
	}
	if len(said) > 1 {
		return integrations.Invalid(name, "is there more than once.")
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
	}
	if err := parse(reflect.Indirect(v), name, said[0]); err != nil {
		return err
	}
	return check(v, tag, name)
}

// parse reads one value.
func parse(v reflect.Value, name, s string) error {
	var err error
	switch {
	case v.Type() == typeTime:
		var t time.Time
		if t, err = time.Parse(time.RFC3339, s); err != nil {
			return integrations.Invalid(name, "is no time with a zone, such as 2026-03-01T09:30:00+01:00.")
		}
		v.Set(reflect.ValueOf(t))
	case v.Kind() == reflect.String:
		v.SetString(s)
	case v.Kind() == reflect.Bool:
		var b bool
		if b, err = strconv.ParseBool(s); err != nil || s != "true" && s != "false" {
			return integrations.Invalid(name, "is neither true nor false.")
		}
		v.SetBool(b)
	case v.CanInt():
		var n int64
		if n, err = strconv.ParseInt(s, 10, 64); err != nil {
			return integrations.Invalid(name, "is no whole number.")
		}
		v.SetInt(n)
	}
	return nil
}

// decodeBody reads a JSON body.
func (x *exchange) decodeBody(v reflect.Value, most int64) error {
	if err := uncoded(x.r); err != nil {
		return err
	}
	if m, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type")); err != nil || m != "application/json" {
		return &integrations.Problem{Status: http.StatusUnsupportedMediaType, Reason: integrations.ReasonMediaType, Text: "The body has to be application/json."}
	}
	if x.r.ContentLength > largeJSON || x.r.ContentLength < 0 && most > largeJSON {
		by := x.c.Who.Subject
		switch err := x.a.large.Acquire(x.ctx(), by, largeWait); {
		case err == nil:
			x.release = func() { x.a.large.Release(by) }
		case !errors.Is(err, semaphore.ErrBusy):
			return err
		default:
			return &integrations.Problem{Status: http.StatusServiceUnavailable, Reason: integrations.ReasonBusy, Text: "There are many large requests at the moment.", RetryAfter: 2 * time.Second}
		}
	}
	_ = http.NewResponseController(x.w).SetReadDeadline(x.a.o.Now().Add(bodyTime))
	defer http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	b, err := io.ReadAll(io.LimitReader(x.r.Body, most+1))
	switch {
	case err != nil:
		return &integrations.Problem{Status: http.StatusBadRequest, Reason: integrations.ReasonInvalid, Text: "The body broke off.", Err: err}
	case int64(len(b)) > most:
		return &integrations.Problem{Status: http.StatusRequestEntityTooLarge, Reason: integrations.ReasonTooLarge, Text: "The body is too large."}
	case !utf8.Valid(b):
		return badBody("The body is not UTF-8.")
	}
	if err := readMembers(b, v.Type()); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v.Addr().Interface()); err != nil {
		return noJSON()
	}
	return checkStruct(v, "")
}

// uncoded refuses a body in a content coding: nothing here undoes any (RFC 9110
// §15.5.16).
func uncoded(r *http.Request) error {
	for _, line := range r.Header.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
				return &integrations.Problem{Status: http.StatusUnsupportedMediaType, Reason: integrations.ReasonMediaType, Field: "Content-Encoding", Text: "Content-Encoding is not undone here: send the body as it is to be."}
			}
		}
	}
	return nil
}

// checkStruct checks the members of a decoded struct.
func checkStruct(v reflect.Value, within string) error {
	for _, f := range fields(v.Type()) {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || name == "" {
			continue
		}
		m := v.FieldByIndex(f.Index)
		if m.IsZero() {
			if f.Tag.Get("required") == "true" {
				return integrations.Invalid(within+name, "is missing.")
			}
			if d, ok := f.Tag.Lookup("default"); ok {
				if err := parse(m, within+name, d); err != nil {
					return err
				}
			}
			if strings.Contains(opts, "omit") || m.Kind() != reflect.Slice {
				continue
			}
		}
		if err := check(m, f.Tag, within+name); err != nil {
			return err
		}
	}
	return nil
}

// check holds a value against its tag.
func check(v reflect.Value, tag reflect.StructTag, name string) error {
	switch {
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return check(v.Elem(), tag, name)
	case v.Type() == typeTime, v.Kind() == reflect.Bool:
		return nil
	case v.Kind() == reflect.String:
		return checkString(v.String(), tag, name)
	case v.Kind() == reflect.Struct:
		return checkStruct(v, name+".")
	case v.Kind() == reflect.Slice:
		low, high := bounds(tag, 0, maxEntries)
		if n := int64(v.Len()); n < low || n > high {
			return integrations.Invalid(name, "has %d entries, want %d to %d.", n, low, high)
		}
		for i := range v.Len() {
			if v.Type().Elem().Kind() == reflect.Uint8 { // bytes, in base64
				break
			}
			of := tag
			if v.Index(i).Kind() == reflect.String {
				of = `max:"4096"`
			}
			if err := check(v.Index(i), of, name+"["+strconv.Itoa(i)+"]"); err != nil {
				return err
			}
		}
	case v.CanInt():
		low, high := bounds(tag, 0, 1<<31)
		if n := v.Int(); n < low || n > high {
			return integrations.Invalid(name, "is %d, want %d to %d.", n, low, high)
		}
	}
	return nil
}

// bounds are a tag's min and max.
func bounds(tag reflect.StructTag, low, high int64) (int64, int64) {
	if n, err := strconv.ParseInt(tag.Get("min"), 10, 64); err == nil {
		low = n
	}
	if n, err := strconv.ParseInt(tag.Get("max"), 10, 64); err == nil {
		high = n
	}
	return low, high
}

func checkString(s string, tag reflect.StructTag, name string) error {
	low, high := bounds(tag, 0, maxString)
	switch n := int64(utf8.RuneCountInString(s)); { // as JSON Schema counts (validation, §6.3.1)
	case n > high:
		return integrations.Invalid(name, "is longer than %d characters.", high)
	case n < low:
		return integrations.Invalid(name, "is shorter than %d characters.", low)
	case !utf8.ValidString(s):
		return integrations.Invalid(name, "is not UTF-8.")
	}
	if enum := tag.Get("enum"); enum != "" && !slices.Contains(strings.Split(enum, ","), s) {
		return integrations.Invalid(name, "has to be one of %s.", strings.ReplaceAll(enum, ",", ", "))
	}
	lines := tag.Get("lines") == "true"
	if strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) && !(lines && (c == '\n' || c == '\r' || c == '\t')) }) {
		return integrations.Invalid(name, "has control characters.")
	}
	return nil
}
