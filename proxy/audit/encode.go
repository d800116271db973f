package audit

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// How much of a member a line holds, in bytes as they are written: a client may
// make us write so much. All of them are less than lineLimit.
const (
	wordMost   = 64 // from closed sets, mostly
	methodMost = 32
	nameMost   = 255      // of hosts, services and devices
	idMost     = 128      // of sessions and requests
	personMost = 1024     // OpenID Connect allows 255 characters
	pathMost   = 4 << 10  // of each of three
	lineLimit  = 16 << 10 // of a whole line, with its end
)

// appendTo appends an event's JSON, as its struct tags have it, without the last
// brace. There is a line for each request: by reflection it would cost three
// times as much (BenchmarkWrite).
func (e *Event) appendTo(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = e.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	b = appendText(b, "event", bounded(string(e.Kind), wordMost), true)
	b = appendText(b, "sub", bounded(e.Subject, personMost), false)
	b = appendText(b, "sid", bounded(e.Session, idMost), false)
	b = appendText(b, "by", bounded(string(e.Means), wordMost), false)
	b = appendText(b, "client", bounded(e.Client, wordMost), false)
	b = appendText(b, "method", bounded(e.Method, methodMost), false)
	b = appendText(b, "host", bounded(e.Host, nameMost), false)
	b = appendText(b, "path", bounded(e.Path, pathMost), false)
	b = appendText(b, "operation", bounded(e.Operation, wordMost), false)
	b = appendText(b, "object", bounded(e.Object, pathMost), false)
	b = appendText(b, "to", bounded(e.To, pathMost), false)
	b = appendText(b, "as", bounded(e.As, nameMost), false)
	b = appendNumber(b, "status", int64(e.Status))
	b = appendNumber(b, "received", e.Received)
	b = appendNumber(b, "sent", e.Sent)
	b = appendText(b, "reason", bounded(e.Reason, idMost), false)
	b = appendText(b, "request_id", bounded(e.RequestID, idMost), false)
	b = appendText(b, "alert", bounded(e.Alert, wordMost), false)
	b = appendText(b, "device", bounded(e.Device, nameMost), false)
	return appendNumber(b, "count", int64(e.Count))
}

func appendText(b []byte, name, value string, always bool) []byte {
	if value == "" && !always {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":`...)
	if !plain(value) {
		return append(b, quoted(value)...)
	}
	return append(append(append(b, '"'), value...), '"')
}

// plain reports whether a string is written as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// quoted is a string in JSON. What only HTML minds stays as it is.
func quoted(value string) []byte {
	var out bytes.Buffer
	to := json.NewEncoder(&out)
	to.SetEscapeHTML(false)
	if err := to.Encode(value); err != nil {
		panic(err) // of a string
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// bounded is as much of a string as is written in most bytes; an ellipsis says
// that there is more.
func bounded(s string, most int) string {
	if len(s)*escapeMost <= most || len(s) <= most && plain(s) {
		return s
	}
	n := 0
	for i, r := range s {
		if n += written(s[i:], r); n > most {
			return s[:i] + "…"
		}
	}
	return s
}

// escapeMost is how many bytes one byte of a string becomes at most: \u001f.
const escapeMost = len(`\u001f`)

// written is how many bytes the first rune of s becomes at most.
func written(s string, r rune) int {
	switch {
	case r == '"', r == '\\', r == '\n', r == '\r', r == '\t':
		return 2
	case r < ' ', r == '\u2028', r == '\u2029':
		return escapeMost
	case r != utf8.RuneError:
		return utf8.RuneLen(r)
	}
	if _, size := utf8.DecodeRuneInString(s); size > 1 {
		return size
	}
	return escapeMost // no UTF-8
}

func appendNumber(b []byte, name string, value int64) []byte {
	if value == 0 {
		return b
	}
	return strconv.AppendInt(append(append(append(b, `,"`...), name...), `":`...), value, 10)
}
