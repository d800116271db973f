// Package httpsig signs HTTP messages (RFC 9421) and says what is in their
// bodies (RFC 9530). It only signs: whoever receives a message verifies it. It
// trusts its caller to have made the message as it will be sent.
package httpsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Message is what of a message a signature can cover. Of a request Method is
// set, of a response Status.
type Message struct {
	Method    string
	Scheme    string // http or https
	Authority string // host, with its port if it has one
	Path      string // as it stands in the request line; "" for "/"
	Query     string // without its question mark
	Status    int
	Header    http.Header
}

// Param is a parameter of a signature: an int64 or a string (RFC 9421 §2.3).
type Param struct {
	Name  string
	Value any
}

// Input is what a signature covers, in order, and its parameters, in order.
type Input struct {
	Covered []string // "@method", "content-type"; of a query parameter `@query-param";name="Pet`
	Params  []Param
}

// String is the value of the signature in Signature-Input, and the last line of
// what is signed (RFC 9421 §2.3): an inner list of RFC 9651.
func (in Input) String() string {
	b := []byte{'('}
	for i, name := range in.Covered {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, identifier(name)...)
	}
	b = append(b, ')')
	for _, p := range in.Params {
		b = append(append(append(b, ';'), p.Name...), '=')
		switch v := p.Value.(type) {
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case string:
			b = append(b, quoted(v)...)
		}
	}
	return string(b)
}

// identifier is a component's name as it is written: in quotes, its parameter
// after them.
func identifier(name string) string {
	if param, ok := strings.CutPrefix(name, queryParam); ok {
		return `"@query-param";name="` + param + `"`
	}
	return `"` + name + `"`
}

// QueryParam is the component of one query parameter, by its encoded name
// (RFC 9421 §2.2.8).
func QueryParam(name string) string { return queryParam + name }

const queryParam = "@query-param "

// quoted is a string of RFC 9651 §3.3.3.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Base is what is signed (RFC 9421 §2.5). The error names a component that the
// message does not have, or that cannot be covered.
func (m *Message) Base(in Input) (string, error) {
	var b strings.Builder
	for i, name := range in.Covered {
		for _, before := range in.Covered[:i] {
			if before == name {
				return "", fmt.Errorf("%s is covered twice", name)
			}
		}
		value, err := m.component(name)
		if err != nil {
			return "", err
		}
		b.WriteString(identifier(name) + ": " + value + "\n")
	}
	for _, p := range in.Params {
		if s, ok := p.Value.(string); ok && !printable(s) {
			return "", fmt.Errorf("the parameter %s has characters that cannot be written", p.Name)
		}
	}
	b.WriteString(`"@signature-params": ` + in.String())
	return b.String(), nil
}

// component is the value of one (RFC 9421 §2.1, §2.2).
func (m *Message) component(name string) (string, error) {
	if param, ok := strings.CutPrefix(name, queryParam); ok {
		return m.queryParam(param)
	}
	switch name {
	case "@method":
		return m.Method, nil
	case "@authority":
		return m.authority(), nil
	case "@scheme":
		return strings.ToLower(m.Scheme), nil
	case "@path":
		return m.path(), nil
	case "@query":
		return "?" + m.Query, nil
	case "@target-uri":
		return strings.ToLower(m.Scheme) + "://" + m.authority() + m.target(), nil
	case "@request-target":
		return m.target(), nil
	case "@status":
		return strconv.Itoa(m.Status), nil
	}
	if name == "" || name[0] == '@' || name != strings.ToLower(name) {
		return "", fmt.Errorf("%q is no component", name)
	}
	values, ok := m.Header[http.CanonicalHeaderKey(name)]
	if !ok {
		return "", fmt.Errorf("the message has no %s", name)
	}
	return field(name, values)
}

// field is a field's value: its lines without the white space around them, put
// together.
func field(name string, values []string) (string, error) {
	lines := make([]string, len(values))
	for i, v := range values {
		if lines[i] = strings.Trim(v, " \t"); strings.ContainsAny(v, "\r\n") {
			return "", fmt.Errorf("%s is of several lines", name)
		}
	}
	return strings.Join(lines, ", "), nil
}

func (m *Message) path() string {
	if m.Path == "" {
		return "/"
	}
	return m.Path
}

func (m *Message) target() string {
	if m.Query == "" {
		return m.path()
	}
	return m.path() + "?" + m.Query
}

// authority is in lower case and without the scheme's own port.
func (m *Message) authority() string {
	a := strings.ToLower(m.Authority)
	return strings.TrimSuffix(a, map[string]string{"http": ":80", "https": ":443"}[strings.ToLower(m.Scheme)])
}

// queryParam is one parameter that is there once, encoded anew.
func (m *Message) queryParam(name string) (string, error) {
	plain, err := url.QueryUnescape(name)
	if err != nil {
		return "", fmt.Errorf("%q is no name of a query parameter", name)
	}
	all, err := url.ParseQuery(m.Query)
	if err != nil || len(all[plain]) != 1 {
		return "", fmt.Errorf("the query has not one parameter %q", name)
	}
	return strings.ReplaceAll(url.QueryEscape(all[plain][0]), "+", "%20"), nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// Key is what signs.
type Key struct {
	ID     string // keyid
	Secret any    // *ecdsa.PrivateKey on P-256, ed25519.PrivateKey, *rsa.PrivateKey, or []byte
}

// Algorithm is the key's, as alg names it (RFC 9421 §3.3); "" for a kind that
// does not sign here.
func (k Key) Algorithm() string {
	switch key := k.Secret.(type) {
	case *ecdsa.PrivateKey:
		if key.Curve.Params().BitSize == 256 {
			return "ecdsa-p256-sha256"
		}
	case ed25519.PrivateKey:
		return "ed25519"
	case *rsa.PrivateKey:
		return "rsa-v1_5-sha256"
	case []byte:
		return "hmac-sha256"
	}
	return ""
}

// sign signs a base (RFC 9421 §3.3).
func (k Key) sign(base []byte) ([]byte, error) {
	sum := sha256.Sum256(base)
	switch key := k.Secret.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(key, base), nil
	case []byte:
		h := hmac.New(sha256.New, key)
		h.Write(base)
		return h.Sum(nil), nil
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		if k.Algorithm() == "" {
			break
		}
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			return nil, err
		}
		out := make([]byte, 64) // r and s as they are, not as ASN.1 has them
		r.FillBytes(out[:32])
		s.FillBytes(out[32:])
		return out, nil
	}
	return nil, errors.New("there is no key that signs messages")
}

// Sign signs a message and puts the signature into its header, in place of any
// that is there.
func (m *Message) Sign(label string, in Input, k Key) error {
	base, err := m.Base(in)
	if err != nil {
		return fmt.Errorf("signing a message: %w", err)
	}
	sig, err := k.sign([]byte(base))
	if err != nil {
		return fmt.Errorf("signing a message: %w", err)
	}
	m.Header.Set("Signature-Input", label+"="+in.String())
	m.Header.Set("Signature", label+"=:"+base64.StdEncoding.EncodeToString(sig)+":")
	return nil
}

// ContentDigest is the value of Content-Digest (RFC 9530 §2) for a body.
func ContentDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// Params are those of a signature that is made now and is good for a while.
// nonce is never used twice; tag says what the signature is for.
func Params(now time.Time, good time.Duration, nonce, tag string, k Key) []Param {
	return []Param{
		{"created", now.Unix()}, {"expires", now.Add(good).Unix()}, {"nonce", nonce},
		{"alg", k.Algorithm()}, {"keyid", k.ID}, {"tag", tag},
	}
}
