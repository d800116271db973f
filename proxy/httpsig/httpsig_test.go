package httpsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// The messages, keys and signatures of RFC 9421, Appendix B.
func vectorRequest() *Message {
	return &Message{Method: "POST", Scheme: "https", Authority: "example.com", Path: "/foo", Query: "param=Value&Pet=dog", Header: http.Header{
		"Date": {"Tue, 20 Apr 2021 02:07:55 GMT"}, "Content-Type": {"application/json"}, "Content-Length": {"18"},
		"Content-Digest": {"sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"},
	}}
}

func vectorResponse() *Message {
	return &Message{Status: 200, Header: http.Header{
		"Date": {"Tue, 20 Apr 2021 02:07:56 GMT"}, "Content-Type": {"application/json"}, "Content-Length": {"23"},
		"Content-Digest": {"sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:"},
	}}
}

func vector(t testing.TB, name string) any {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	var key any
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestVectors: what is signed is what RFC 9421 Appendix B.2 signs, byte for
// byte, and where a signature is the same each time, so is ours.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/signatures.txt")
	if err != nil {
		t.Fatal(err)
	}
	signatures := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if signatures[name], err = base64.StdEncoding.DecodeString(strings.Trim(value, ":")); err != nil {
			t.Fatal(err)
		}
	}
	created := Param{"created", int64(1618884473)}
	keyid := func(s string) Param { return Param{"keyid", s} }
	for _, tt := range []struct {
		name, key string
		m         *Message
		in        Input
	}{
		{"sig-b21", "test-key-rsa-pss-public.pem", vectorRequest(), Input{nil, []Param{created, keyid("test-key-rsa-pss"), {"nonce", "b3k2pp5k7z-50gnwp.yemd"}}}},
		{"sig-b22", "test-key-rsa-pss-public.pem", vectorRequest(), Input{[]string{"@authority", "content-digest", QueryParam("Pet")}, []Param{created, keyid("test-key-rsa-pss"), {"tag", "header-example"}}}},
		{"sig-b23", "test-key-rsa-pss-public.pem", vectorRequest(), Input{[]string{"date", "@method", "@path", "@query", "@authority", "content-type", "content-digest", "content-length"}, []Param{created, keyid("test-key-rsa-pss")}}},
		{"sig-b24", "test-key-ecc-p256-public.pem", vectorResponse(), Input{[]string{"@status", "content-type", "content-digest", "content-length"}, []Param{created, keyid("test-key-ecc-p256")}}},
		{"sig-b25", "test-shared-secret", vectorRequest(), Input{[]string{"date", "@authority", "content-type"}, []Param{created, keyid("test-shared-secret")}}},
		{"sig-b26", "test-key-ed25519-private.pem", vectorRequest(), Input{[]string{"date", "@method", "@path", "@authority", "content-type", "content-length"}, []Param{created, keyid("test-key-ed25519")}}},
	} {
		base, err := tt.m.Base(tt.in)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		key := vector(t, tt.key)
		if !verifies(key, []byte(base), signatures[tt.name]) {
			t.Errorf("%s: the RFC's signature does not hold over\n%s", tt.name, base)
		}
		if verifies(key, []byte(base+"x"), signatures[tt.name]) {
			t.Errorf("%s: the RFC's signature holds over anything", tt.name)
		}
		switch key.(type) {
		case []byte, ed25519.PrivateKey:
			if err := tt.m.Sign(tt.name, tt.in, Key{Secret: key}); err != nil {
				t.Fatal(err)
			}
			want := tt.name + "=:" + base64.StdEncoding.EncodeToString(signatures[tt.name]) + ":"
			if got := tt.m.Header.Get("Signature"); got != want {
				t.Errorf("%s: Signature = %s, want %s", tt.name, got, want)
			}
		}
	}
	in := Input{[]string{QueryParam("Pet"), "@authority"}, []Param{{"created", int64(1618884473)}, {"keyid", "test-key-rsa-pss"}}}
	if got, want := in.String(), `("@query-param";name="Pet" "@authority");created=1618884473;keyid="test-key-rsa-pss"`; got != want {
		t.Errorf("Signature-Input = %s, want %s", got, want)
	}
}

// verifies reports whether a signature holds; rsa keys are for PSS with
// SHA-512, as the RFC's are.
func verifies(key any, base, sig []byte) bool {
	sum := sha256.Sum256(base)
	switch k := key.(type) {
	case *rsa.PublicKey:
		long := sha512.Sum512(base)
		return rsa.VerifyPSS(k, crypto.SHA512, long[:], sig, nil) == nil
	case *rsa.PrivateKey:
		return rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, sum[:], sig) == nil
	case *ecdsa.PrivateKey:
		return verifies(&k.PublicKey, base, sig)
	case *ecdsa.PublicKey:
		return len(sig) == 64 && ecdsa.Verify(k, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	case ed25519.PrivateKey:
		return ed25519.Verify(k.Public().(ed25519.PublicKey), base, sig)
	case []byte:
		want, err := Key{Secret: k}.sign(base)
		return err == nil && string(want) == string(sig)
	}
	return false
}

// TestSign: what each kind of key signs, it verifies.
func TestSign(t *testing.T) {
	for name, alg := range map[string]string{
		"test-key-ecc-p256-private.pem": "ecdsa-p256-sha256", "test-key-ed25519-private.pem": "ed25519",
		"test-key-rsa-private.pem": "rsa-v1_5-sha256", "test-shared-secret": "hmac-sha256",
	} {
		k := Key{ID: "k1", Secret: vector(t, name)}
		m := vectorRequest()
		in := Input{[]string{"@method", "@target-uri", "@request-target", "@scheme", "content-digest"}, Params(time.Unix(1e9, 0), time.Minute, "n", "t", k)}
		if err := m.Sign("x", in, k); err != nil {
			t.Fatal(err)
		}
		if want := `;created=1000000000;expires=1000000060;nonce="n";alg="` + alg + `";keyid="k1";tag="t"`; !strings.HasSuffix(m.Header.Get("Signature-Input"), want) {
			t.Errorf("Signature-Input = %s, want it to end in %s", m.Header.Get("Signature-Input"), want)
		}
		base, err := m.Base(in)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(strings.TrimPrefix(m.Header.Get("Signature"), "x=:"), ":"))
		if err != nil || !verifies(k.Secret, []byte(base), sig) {
			t.Errorf("%s: the signature does not hold, %v", name, err)
		}
	}
	if err := vectorRequest().Sign("x", Input{}, Key{}); err == nil {
		t.Error("Sign(no key) = nil, want an error")
	}
}

// TestComponents: the forms of RFC 9421 §2.1 and §2.2, and what cannot be covered.
func TestComponents(t *testing.T) {
	m := &Message{Method: "GET", Scheme: "HTTPS", Authority: "Example.COM:443", Query: "a=1&b=%20x+y&b2=%C3%A4&twice=1&twice=2&q=", Header: http.Header{
		"X-Two": {" a ", "b\t"}, "X-Empty": {""}, "X-Folded": {"a\r\n b"},
	}}
	for name, want := range map[string]string{
		"@method": "GET", "@authority": "example.com", "@scheme": "https", "@path": "/", "@query": "?a=1&b=%20x+y&b2=%C3%A4&twice=1&twice=2&q=",
		"@request-target": "/?a=1&b=%20x+y&b2=%C3%A4&twice=1&twice=2&q=", "@target-uri": "https://example.com/?a=1&b=%20x+y&b2=%C3%A4&twice=1&twice=2&q=",
		QueryParam("b"): "%20x%20y", QueryParam("b2"): "%C3%A4", QueryParam("q"): "", "x-two": "a, b", "x-empty": "",
	} {
		if got, err := m.component(name); err != nil || got != want {
			t.Errorf("component(%s) = %q, %v, want %q", name, got, err, want)
		}
	}
	if got, _ := (&Message{}).component("@query"); got != "?" {
		t.Errorf("component(@query) of none = %q, want ?", got)
	}
	for _, name := range []string{"", "@", "@unknown", "X-Two", "x-gone", "x-folded", QueryParam("twice"), QueryParam("gone"), QueryParam("%zz")} {
		if got, err := m.component(name); err == nil {
			t.Errorf("component(%q) = %q, want an error", name, got)
		}
	}
	for _, in := range []Input{{[]string{"@method", "@method"}, nil}, {nil, []Param{{"nonce", "a\n"}}}} {
		if _, err := m.Base(in); err == nil {
			t.Errorf("Base(%v) = nil, want an error", in)
		}
	}
	if got := (Input{nil, []Param{{"tag", `a"b\`}}}).String(); got != `();tag="a\"b\\"` {
		t.Errorf("quoted: %s", got)
	}
}

func TestContentDigest(t *testing.T) {
	// RFC 9530 Appendix D
	if got, want := ContentDigest([]byte(`{"hello": "world"}`+"\n")), "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"; got != want {
		t.Errorf("ContentDigest = %s, want %s", got, want)
	}
}

func BenchmarkSign(b *testing.B) {
	for name, key := range map[string]any{"ES256": vector(b, "test-key-ecc-p256-private.pem"), "EdDSA": vector(b, "test-key-ed25519-private.pem")} {
		b.Run(name, func(b *testing.B) {
			k := Key{ID: "k", Secret: key}
			for b.Loop() {
				m := vectorRequest()
				if err := m.Sign("x", Input{[]string{"@method", "@authority", "@path", "@query", "content-digest", "content-type"}, Params(time.Now(), time.Minute, rand.Text(), "t", k)}, k); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
