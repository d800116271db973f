package upstream

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"anteroom/session"
)

// remade is a JWT of claims that a change was made to, signed anew.
func remade(t *testing.T, token string, alg jose.SignatureAlgorithm, key any, change func(map[string]any)) string {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	change(claims)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	out, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestVerify(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256", "HS256"} {
		t.Run(alg, func(t *testing.T) {
			c := newClock()
			cfg := testConfig()
			cfg.JWT.Algorithm = alg
			a := newAsserter(t, cfg, c.now)
			token, _, err := a.Fresh(testWho(), "app")
			if err != nil {
				t.Fatal(err)
			}
			key := a.keys.held.Load().set.Keys[0]
			var signing any = key
			if alg == "HS256" {
				signing = key.Key
			}
			mine := func(change func(map[string]any)) string {
				return remade(t, token, jose.SignatureAlgorithm(alg), signing, change)
			}
			got, err := a.Verify(token, []string{"other", "app"})
			want := *testWho()
			want.Method = session.ByAssertion
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Fatalf("Verify = %v (-want +got):\n%s", err, diff)
			}
			if !a.Issued(token) || a.Issued("junk") || a.Issued(mine(func(c map[string]any) { c["iss"] = "https://else.example" })) {
				t.Error("Issued does not tell a JWT of ours from others")
			}
			published, _ := json.Marshal(key.Public().Key)
			for name, bad := range map[string]string{
				"another issuer":              mine(func(c map[string]any) { c["iss"] = "https://else.example" }),
				"another audience":            mine(func(c map[string]any) { c["aud"] = "third" }),
				"no audience":                 mine(func(c map[string]any) { delete(c, "aud") }),
				"no session":                  mine(func(c map[string]any) { delete(c, "sid") }),
				"nobody":                      mine(func(c map[string]any) { delete(c, "sub") }),
				"no expiry":                   mine(func(c map[string]any) { delete(c, "exp") }),
				"expired":                     mine(func(m map[string]any) { m["exp"] = c.now().Unix() }),
				"not yet":                     mine(func(m map[string]any) { m["nbf"] = c.now().Add(time.Minute).Unix() }),
				"a key nobody knows":          remade(t, token, jose.HS256, []byte(strings.Repeat("k", 32)), func(map[string]any) {}),
				"the public key for a secret": remade(t, token, jose.HS256, append(published, make([]byte, 32)...), func(map[string]any) {}),
				"unsigned":                    base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(token, ".")[1] + ".",
				"cut":                         token[:len(token)-1],
				"too long":                    token + strings.Repeat("A", maxToken),
				"nothing":                     "",
			} {
				if who, err := a.Verify(bad, []string{"app"}); !errors.Is(err, ErrToken) {
					t.Errorf("Verify(%s) = %v, %v, want ErrToken", name, who, err)
				}
			}
			if who, err := a.Verify(mine(func(c map[string]any) { c["aud"] = []string{"x", "app"} }), []string{"app"}); err != nil {
				t.Errorf("Verify(one audience of two) = %v, %v", who, err)
			}
			c.add(cfg.JWT.Lifetime)
			if _, err := a.Verify(token, []string{"app"}); !errors.Is(err, ErrToken) {
				t.Errorf("Verify after its lifetime = %v, want ErrToken", err)
			}
		})
	}
}
