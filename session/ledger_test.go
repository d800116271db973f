package session_test

import (
	"encoding/base64"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/session"
	"anteroom/test/redistest"
)

// TestLedger: of several handles that enter one name at once, one is the first,
// also in the middle of a rotation, and whoever may do no more than
// docs/sessions.md says; Redis sees neither names nor values.
func TestLedger(t *testing.T) {
	s := redistest.Start(t, redistest.Options{TLS: true, Users: map[string]string{"anteroom": "on >" + aclPassword + " " + redistest.ACL}})
	cfg := session.RedisConfig{URL: session.Secret(s.URL()), Username: "anteroom", Password: aclPassword, CAFile: s.CAFile}
	var keys []session.Secret
	for _, c := range []string{"a", "b"} {
		keys = append(keys, session.Secret(base64.StdEncoding.EncodeToString([]byte(strings.Repeat(c, session.KeyBytes)))))
	}
	var ledgers []*session.Ledger
	for _, ring := range [][]session.Secret{{keys[0], keys[1]}, {keys[1], keys[0]}, {keys[0], keys[1]}} {
		codec, err := session.NewCodec(ring)
		if err != nil {
			t.Fatal(err)
		}
		ledgers = append(ledgers, session.NewLedger(openRedis(t, cfg), codec, "canary"))
	}
	enter := func(l *session.Ledger, name, value string) (session.Entry, bool) {
		e, first, err := l.Enter(t.Context(), name, []byte(value), time.Hour)
		if err != nil {
			t.Error(err)
		}
		return e, first
	}

	for round := range 50 {
		name := "canary-name " + strconv.Itoa(round)
		won := make([]bool, len(ledgers))
		var wg sync.WaitGroup
		for i, l := range ledgers {
			wg.Go(func() { _, won[i] = enter(l, name, "canary-value") })
		}
		wg.Wait()
		if won[0] && won[1] || won[1] && won[2] || won[0] && won[2] {
			t.Fatalf("first = %v, want one at most", won)
		}
	}

	one, two := ledgers[0], ledgers[1]
	mine, first := enter(one, "x", "canary one")
	if !first || string(mine.Value) != "canary one" {
		t.Errorf("Enter = %q, %v, want to be the first", mine.Value, first)
	}
	there, first := enter(two, "x", "canary two")
	if first || string(there.Value) != "canary one" {
		t.Errorf("Enter(again) = %q, %v, want what is there", there.Value, first)
	}
	if err := one.Put(t.Context(), "x", []byte("canary three"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := two.Strike(t.Context(), there); err != nil {
		t.Fatal(err)
	}
	there, first = enter(two, "x", "canary two")
	if first || string(there.Value) != "canary three" {
		t.Errorf("Enter after a Put, and a Strike of what was there before = %q, %v, want what was put", there.Value, first)
	}
	if err := two.Strike(t.Context(), there); err != nil {
		t.Fatal(err)
	}
	if _, first := enter(two, "x", "canary two"); !first {
		t.Error("Enter after Strike is not the first")
	}

	admin := adminOf(s)
	defer admin.Close()
	if err := admin.Do(t.Context(), "auth", redistest.AdminPassword).Err(); err != nil {
		t.Fatal(err)
	}
	names, err := admin.Keys(t.Context(), "*").Result()
	if err != nil || len(names) == 0 {
		t.Fatalf("Redis holds %q, %v", names, err)
	}
	for _, k := range names {
		if v := admin.Get(t.Context(), k).Val(); v == "" || strings.Contains(k+v, "canary") {
			t.Errorf("%q is %q, want a hash and something sealed", k, v)
		}
		if ttl := admin.PTTL(t.Context(), k).Val(); ttl <= 0 || ttl > time.Hour {
			t.Errorf("%s is kept for %v", k, ttl)
		}
	}

	s.Stop()
	if _, _, err := one.Enter(t.Context(), "y", nil, time.Hour); err == nil {
		t.Error("Enter without Redis = nil, want an error")
	}
}
