package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"anteroom/integrations"
)

// members reads a JSON body before it is decoded: encoding/json takes a name in
// any case, the last of two alike, null for anything, and U+FFFD for half of a
// character, of which the document says nothing. It goes no deeper than the
// type does.
type members struct {
	d   *json.Decoder
	raw []byte
}

// readMembers holds a body against the type that it is decoded into.
func readMembers(raw []byte, into reflect.Type) error {
	m := &members{json.NewDecoder(bytes.NewReader(raw)), raw}
	m.d.UseNumber()
	if err := m.value(into, "", ""); err != nil {
		return err
	}
	if _, err := m.d.Token(); !errors.Is(err, io.EOF) {
		return badBody("The body is more than one JSON value.")
	}
	return nil
}

// badBody refuses a body of which no member is at fault.
func badBody(text string) *integrations.Problem {
	return &integrations.Problem{Status: http.StatusBadRequest, Reason: integrations.ReasonInvalid, Text: text}
}

func noJSON() *integrations.Problem { return badBody("The body is no JSON that is understood.") }

// token is the next one. half: it is a text of which a part is no character.
func (m *members) token() (t json.Token, half bool, err error) {
	from := m.d.InputOffset()
	if t, err = m.d.Token(); err != nil {
		return nil, false, noJSON()
	}
	s, ok := t.(string)
	return t, ok && strings.ContainsRune(s, '\uFFFD') && halved(m.raw[from:m.d.InputOffset()]), nil
}

// value reads a value that a member of some name, "" for the body, has.
func (m *members) value(of reflect.Type, tag reflect.StructTag, name string) error {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	t, half, err := m.token()
	if err != nil {
		return err
	}
	if half {
		return integrations.Invalid(name, "has one half of a surrogate pair, which is no character.")
	}
	text, isText := t.(string)
	inBase64 := of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Uint8
	switch {
	case name == "" && t != json.Delim('{'):
		return badBody("The body has to be a JSON object.")
	case of == typeTime:
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			return integrations.Invalid(name, "is no time with a zone, such as 2026-03-01T09:30:00+01:00.")
		}
	case inBase64:
		if _, err := io.Copy(io.Discard, base64.NewDecoder(base64.StdEncoding, strings.NewReader(text))); err != nil || !isText {
			return integrations.Invalid(name, "has to be a string in base64.")
		}
	case of.Kind() == reflect.String && !isText:
		return integrations.Invalid(name, "has to be a string.")
	case of.Kind() == reflect.Bool && t != true && t != false:
		return integrations.Invalid(name, "has to be true or false.")
	case of.Kind() == reflect.Int, of.Kind() == reflect.Int64:
		n, _ := t.(json.Number)
		if _, err := strconv.ParseInt(string(n), 10, 64); err != nil {
			return integrations.Invalid(name, "has to be a whole number.")
		}
	case of.Kind() == reflect.Struct:
		if t != json.Delim('{') {
			return integrations.Invalid(name, "has to be an object.")
		}
		return m.object(of, name)
	case of.Kind() == reflect.Slice:
		if t != json.Delim('[') {
			return integrations.Invalid(name, "has to be a list.")
		}
		return m.list(of.Elem(), tag, name)
	}
	return nil
}

// object reads the members of an object, each of which has a name of its own.
func (m *members) object(of reflect.Type, within string) error {
	if within != "" {
		within += "."
	}
	known, seen := map[string]reflect.StructField{}, map[string]bool{}
	for _, f := range fields(of) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			known[name] = f
		}
	}
	for m.d.More() {
		t, _, err := m.token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		f, ok := known[name]
		switch {
		case !ok:
			return integrations.Invalid(within+printable(name), "is no member of this body.")
		case seen[name]:
			return integrations.Invalid(within+name, "is there more than once.")
		}
		seen[name] = true
		if err := m.value(f.Type, f.Tag, within+name); err != nil {
			return err
		}
	}
	_, _, err := m.token()
	return err
}

// list reads the entries of a list, as many as it may have.
func (m *members) list(of reflect.Type, tag reflect.StructTag, name string) error {
	_, high := bounds(tag, 0, maxEntries)
	for i := 0; m.d.More(); i++ {
		if int64(i) == high {
			return integrations.Invalid(name, "has more than %d entries.", high)
		}
		if err := m.value(of, "", name+"["+strconv.Itoa(i)+"]"); err != nil {
			return err
		}
	}
	_, _, err := m.token()
	return err
}

// halved reports whether a JSON string, as it is written, has half of a
// surrogate pair without the other (RFC 8259 §8.2).
func halved(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		first := escape(raw[i:])
		switch {
		case first < 0xd800 || first > 0xdfff:
			i++
		case utf16.DecodeRune(first, escape(raw[i+6:])) == '\uFFFD':
			return true
		default:
			i += 11
		}
	}
	return false
}

// escape is the UTF-16 code unit that a text begins with as an escape; 0 for
// none.
func escape(raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0
	}
	n, _ := strconv.ParseUint(string(raw[2:6]), 16, 16)
	return rune(n)
}
