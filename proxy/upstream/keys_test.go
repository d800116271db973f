package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"anteroom/session"
)

func kids(set jose.JSONWebKeySet) (out []string) {
	for _, k := range set.Keys {
		out = append(out, k.KeyID)
	}
	return out
}

// run runs a ring until the test is over.
func run(t *testing.T, k *Ring) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { k.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
}

func TestGeneratedKeysRotateDaily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.JWT.Algorithm, cfg.JWT.Lifetime = "ES256", time.Hour
		k, err := OpenKeys(cfg.JWT, time.Now, nil)
		if err != nil {
			t.Fatal(err)
		}
		run(t, k)
		a := NewAsserter(cfg, "https://site.example", k, time.Now)
		begun := kids(published(t, k))
		start := time.Now()
		for day := range 4 {
			time.Sleep(rotateEvery - time.Since(start)%rotateEvery - time.Second) // just before the keys change
			before := kids(published(t, k))
			token, _, err := a.Token(testWho(), "a")
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			set := published(t, k)
			if got := kids(set); got[0] != before[1] {
				t.Errorf("day %d: %s signs, want %s, which was published as next", day, got[0], before[1])
			}
			renewed, _, _ := a.Token(testWho(), "a")
			if renewed == token {
				t.Errorf("day %d: the token of the old key is still handed out", day)
			}
			time.Sleep(cfg.JWT.Lifetime + time.Hour)
			verified(t, token, "ES256", published(t, k))
			if len(set.Keys) > 2+keptKeys {
				t.Errorf("day %d: %d keys published, want %d at most", day, len(set.Keys), 2+keptKeys)
			}
		}
		if slices.Contains(kids(published(t, k)), begun[0]) {
			t.Error("the first key is published for ever")
		}
	})
}

func TestKeySets(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		first, err := NewKeySet(alg)
		if err != nil {
			t.Fatal(err)
		}
		set, err := parseKeySet(first)
		if err != nil || len(set.Keys) != 2 {
			t.Fatalf("NewKeySet(%s) = %d keys, %v, want 2", alg, len(set.Keys), err)
		}
		ids := kids(set)
		b := first
		for _, want := range [][]string{{ids[1], "", ids[0]}, {"", "", ids[1], ids[0]}, {"", "", "", ids[1]}} {
			if b, err = RotateKeySet(b); err != nil {
				t.Fatal(err)
			}
			set, _ := parseKeySet(b)
			got := kids(set)
			for i, w := range want {
				if len(got) != len(want) || w != "" && got[i] != w {
					t.Fatalf("RotateKeySet = %q, want %q", got, want)
				}
			}
		}
	}
	for _, alg := range []string{"HS256", "none", "", "ES512"} {
		if _, err := NewKeySet(alg); err == nil {
			t.Errorf("NewKeySet(%q) = nil, want an error", alg)
		}
	}
}

func TestRotateKeySetOfOne(t *testing.T) {
	key, err := newKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}})
	if b, err = RotateKeySet(b); err != nil {
		t.Fatal(err)
	}
	set, err := parseKeySet(b)
	if err != nil || len(set.Keys) != 2 || set.Keys[0].KeyID != key.KeyID {
		t.Errorf("RotateKeySet of one key = %q, %v, want it and a next", kids(set), err)
	}
}

func TestBadKeySets(t *testing.T) {
	key, err := newKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	set := func(change func(*jose.JSONWebKey), more ...jose.JSONWebKey) string {
		k := key
		change(&k)
		b, err := json.Marshal(jose.JSONWebKeySet{Keys: append([]jose.JSONWebKey{k}, more...)})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, c := range map[string]struct{ in, want string }{
		"empty":        {"", "not a JWK Set"},
		"no keys":      {`{"keys":[]}`, "holds no key"},
		"nonsense":     {`{"keys":[{"kty":"x"}]}`, "not a JWK Set"},
		"public":       {set(func(k *jose.JSONWebKey) { *k = k.Public() }), "key 1 is not a private"},
		"no kid":       {set(func(k *jose.JSONWebKey) { k.KeyID = "" }), "with a kid"},
		"no alg":       {set(func(k *jose.JSONWebKey) { k.Algorithm = "" }), "not of its alg"},
		"other alg":    {set(func(k *jose.JSONWebKey) { k.Algorithm = "RS256" }), "not of its alg"},
		"alg none":     {set(func(k *jose.JSONWebKey) { k.Algorithm = "none" }), "not of its alg"},
		"to encrypt":   {set(func(k *jose.JSONWebKey) { k.Use = "enc" }), "not a private signing key"},
		"symmetric":    {set(func(k *jose.JSONWebKey) { k.Key, k.Algorithm = []byte(testSecret), "HS256" }), "key 1 is not"},
		"same kid":     {set(func(*jose.JSONWebKey) {}, key), "key 2 has the kid"},
		"a lone key":   {`{"kty":"EC"}`, "holds no key"},
		"not even set": {`[]`, "not a JWK Set"},
	} {
		if _, err := parseKeySet([]byte(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: parseKeySet = %v, want %q", name, err, c.want)
		}
		if _, err := RotateKeySet([]byte(c.in)); err == nil {
			t.Errorf("%s: RotateKeySet = nil, want an error", name)
		}
	}
}

func TestOpenKeysRefuses(t *testing.T) {
	rsa, err := NewKeySet("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, rsa, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]JWTConfig{
		"identity.jwt.secret: has 5 bytes":          {Algorithm: "HS256", Secret: session.Secret("short")},
		"identity.jwt.keys_file: stat":              {Algorithm: "ES256", Keys: file + ".none"},
		"identity.jwt.keys_file: its first key is ": {Algorithm: "ES256", Keys: file},
		`"PS256" is no signature algorithm of ours`: {Algorithm: "PS256"},
	} {
		if _, err := OpenKeys(cfg, time.Now, nil); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("OpenKeys(%s) = %v, want %q", cfg.Algorithm, err, want)
		}
	}
}

// logBuffer is what was logged, safe for concurrent use.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// taken returns what was logged since it was last asked.
func (l *logBuffer) taken() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	l.b.Reset()
	return s
}

// TestKeysFile: a changed file is taken up within ten seconds, a bad one told
// of once and left alone.
func TestKeysFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "keys.json")
		changed := time.Now()
		write := func(b []byte) {
			t.Helper()
			changed = changed.Add(time.Second) // the file system's clock is not the test's
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, changed, changed); err != nil {
				t.Fatal(err)
			}
		}
		wait := func() {
			time.Sleep(recheckEvery)
			synctest.Wait()
		}
		first, err := NewKeySet("ES256")
		if err != nil {
			t.Fatal(err)
		}
		write(first)
		var logged logBuffer
		k, err := OpenKeys(JWTConfig{Algorithm: "ES256", Keys: file}, time.Now, slog.New(slog.NewTextHandler(&logged, nil)))
		if err != nil {
			t.Fatal(err)
		}
		run(t, k)
		was, _ := parseKeySet(first)
		for name, bad := range map[string]func(){
			"nonsense": func() { write([]byte("{")) },
			"empty":    func() { write(nil) },
			"missing":  func() { os.Remove(file) },
			"another algorithm": func() {
				b, _ := NewKeySet("EdDSA")
				write(b)
			},
		} {
			bad()
			wait()
			wait()
			wait()
			said := logged.taken()
			if n := strings.Count(said, "level=ERROR"); n != 1 {
				t.Errorf("%s: %d errors logged, want 1: %s", name, n, said)
			}
			if diff := cmp.Diff(kids(was), kids(published(t, k))); diff != "" {
				t.Errorf("%s: published keys (-want +got):\n%s", name, diff)
			}
		}
		second, err := RotateKeySet(first)
		if err != nil {
			t.Fatal(err)
		}
		write(second)
		wait()
		want, _ := parseKeySet(second)
		if diff := cmp.Diff(kids(want), kids(published(t, k))); diff != "" {
			t.Errorf("published keys after rotation (-want +got):\n%s", diff)
		}
		if said := logged.taken(); strings.Count(said, "taken up") != 1 {
			t.Errorf("logged %q, want that the keys were taken up", said)
		}
	})
}

func TestRunEnds(t *testing.T) {
	for _, alg := range []string{"none", "HS256", "EdDSA"} {
		k, err := OpenKeys(JWTConfig{Algorithm: alg, Secret: testSecret}, time.Now, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		k.Run(ctx) // returns
	}
}
