package trace

import (
	"encoding/hex"
	"strings"
)

// Context is where in which trace something happens: W3C Trace Context
// (https://www.w3.org/TR/trace-context/). The zero value is none.
type Context struct {
	Trace   [16]byte
	Span    [8]byte
	Sampled bool
	State   string // tracestate, whole and sound; "" for none
}

// Valid reports whether it is one.
func (c Context) Valid() bool { return c.Trace != [16]byte{} && c.Span != [8]byte{} }

// Traceparent writes it as the header of that name (§3.2).
func (c Context) Traceparent() string {
	var b [55]byte
	copy(b[:], "00-")
	hex.Encode(b[3:], c.Trace[:])
	b[35] = '-'
	hex.Encode(b[36:], c.Span[:])
	copy(b[52:], "-00")
	if c.Sampled {
		b[54] = '1'
	}
	return string(b[:])
}

// Parse reads a traceparent of version 00. It reports false for anything else,
// ids of zeros among it, and for capitals, which the form does not have.
func Parse(traceparent string) (c Context, ok bool) {
	p := traceparent
	if len(p) != 55 || p[:3] != "00-" || p[35] != '-' || p[52] != '-' || strings.ToLower(p) != p {
		return c, false
	}
	var flags [1]byte
	_, err1 := hex.Decode(c.Trace[:], []byte(p[3:35]))
	_, err2 := hex.Decode(c.Span[:], []byte(p[36:52]))
	_, err3 := hex.Decode(flags[:], []byte(p[53:]))
	if err1 != nil || err2 != nil || err3 != nil || !c.Valid() {
		return Context{}, false
	}
	c.Sampled = flags[0]&1 == 1
	return c, true
}

const (
	stateBytes   = 512 // that are passed on at least (§3.3.1.5); more are not
	stateMembers = 32
)

// State is a tracestate (§3.3) as it can be passed on, made of the values of
// all headers of the name; "" if any of it is not as it has to be.
func State(values []string) string {
	s := strings.Join(values, ",")
	if s == "" || len(s) > stateBytes {
		return ""
	}
	members := 0
	for m := range strings.SplitSeq(s, ",") {
		if m = strings.Trim(m, " \t"); m == "" {
			continue
		}
		key, value, ok := strings.Cut(m, "=")
		if members++; !ok || members > stateMembers || !soundKey(key) || !soundValue(value) {
			return ""
		}
	}
	if members == 0 {
		return ""
	}
	return s
}

// soundKey: lower case letters, digits and _ - * /, or such a name at a vendor.
func soundKey(key string) bool {
	tenant, vendor, at := strings.Cut(key, "@")
	if at && (vendor == "" || len(vendor) > 14 || len(tenant) > 241 || !within(vendor, keyBytes)) {
		return false
	}
	return tenant != "" && len(key) <= 256 && within(tenant, keyBytes)
}

const keyBytes = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"

func within(s, set string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return !strings.ContainsRune(set, c) }) < 0
}

func soundValue(v string) bool {
	if v == "" || len(v) > 256 || strings.HasSuffix(v, " ") {
		return false
	}
	for i := 0; i < len(v); i++ {
		if v[i] < ' ' || v[i] > '~' || v[i] == '=' {
			return false
		}
	}
	return true
}
