package session_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"anteroom/session"
	"anteroom/test/redistest"
)

// TestMarks: what one handle notes another finds, whoever may do no more than
// docs/sessions.md says; Redis sees no names.
func TestMarks(t *testing.T) {
	s := redistest.Start(t, redistest.Options{TLS: true, Users: map[string]string{"anteroom": "on >" + aclPassword + " " + redistest.ACL}})
	cfg := session.RedisConfig{URL: session.Secret(s.URL()), Username: "anteroom", Password: aclPassword, CAFile: s.CAFile}
	codec, err := session.NewCodec([]session.Secret{session.Secret(base64.StdEncoding.EncodeToString(make([]byte, session.KeyBytes)))})
	if err != nil {
		t.Fatal(err)
	}
	one, two := session.NewMarks(openRedis(t, cfg), codec), session.NewMarks(openRedis(t, cfg), codec)
	if found, err := one.Has(t.Context(), "canary"); err != nil || found {
		t.Errorf("Has(not noted) = %v, %v, want false", found, err)
	}
	if err := one.Set(t.Context(), "canary", time.Hour); err != nil {
		t.Fatal(err)
	}
	if found, err := two.Has(t.Context(), "canary"); err != nil || !found {
		t.Errorf("Has(noted by another) = %v, %v, want true", found, err)
	}
	admin := adminOf(s)
	defer admin.Close()
	if err := admin.Do(t.Context(), "auth", redistest.AdminPassword).Err(); err != nil {
		t.Fatal(err)
	}
	keys, err := admin.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 1 || strings.Contains(keys[0], "canary") {
		t.Fatalf("Redis holds %q, %v, want one name that says nothing", keys, err)
	}
	if ttl := admin.PTTL(t.Context(), keys[0]).Val(); ttl <= 0 || ttl > time.Hour {
		t.Errorf("it is kept for %v, want an hour", ttl)
	}
	if err := two.Drop(t.Context(), "canary"); err != nil {
		t.Fatal(err)
	}
	if found, err := one.Has(t.Context(), "canary"); err != nil || found {
		t.Errorf("Has(dropped) = %v, %v, want false", found, err)
	}
}
