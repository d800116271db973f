package upstream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// fileOf writes a key set of one key.
func fileOf(t *testing.T, key any, alg string) string {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key, KeyID: "k", Algorithm: alg}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestKeysOfOthers: a file made by another tool serves, if its key is strong
// enough for its algorithm.
func TestKeysOfOthers(t *testing.T) {
	good, err := rsa.GenerateKey(rand.Reader, minRSABits)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	cfg.JWT.Algorithm, cfg.JWT.Keys = "RS256", fileOf(t, good, "RS256")
	a := newAsserter(t, cfg, time.Now)
	token, _, err := a.Token(testWho(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if sub := verified(t, token, "RS256", published(t, a.keys))["sub"]; sub != "testdoc" {
		t.Errorf("sub = %v, want testdoc", sub)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	wide, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for alg, key := range map[string]any{"RS256": weak, "ES256": wide} {
		cfg := JWTConfig{Algorithm: alg, Keys: fileOf(t, key, alg)}
		if _, err := OpenKeys(cfg, time.Now, nil); err == nil || !strings.Contains(err.Error(), "key 1 is not of its alg") {
			t.Errorf("OpenKeys(%s) of a key unfit for it = %v, want it refused", alg, err)
		}
	}
}
