package session_test

import (
	"encoding/base64"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/session"
	"anteroom/test/redistest"
)

// TestBuckets: two handles draw from one bucket, whoever may do no more than
// docs/sessions.md says; Redis sees no names.
func TestBuckets(t *testing.T) {
	s := redistest.Start(t, redistest.Options{TLS: true, Users: map[string]string{"anteroom": "on >" + aclPassword + " " + redistest.ACL}})
	cfg := session.RedisConfig{URL: session.Secret(s.URL()), Username: "anteroom", Password: aclPassword, CAFile: s.CAFile}
	codec, err := session.NewCodec([]session.Secret{session.Secret(base64.StdEncoding.EncodeToString(make([]byte, session.KeyBytes)))})
	if err != nil {
		t.Fatal(err)
	}
	one, two := session.NewBuckets(openRedis(t, cfg), codec), session.NewBuckets(openRedis(t, cfg), codec)

	var wg sync.WaitGroup
	var taken atomic.Int64
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				wait, err := []*session.Buckets{one, two}[i%2].Draw(t.Context(), "sign-in 192.0.2.7", 10, time.Hour, false)
				switch {
				case err != nil:
					t.Error(err)
				case wait == 0:
					taken.Add(1)
				case wait > time.Hour || wait < 59*time.Minute:
					t.Errorf("Draw of an empty bucket = %v, want the time until its next token", wait)
				}
			}
		})
	}
	wg.Wait()
	if taken.Load() != 10 {
		t.Errorf("%d tokens were taken of 10", taken.Load())
	}

	for i, want := range []time.Duration{0, time.Hour, 2 * time.Hour} { // two are there, the third is owed
		got, err := one.Draw(t.Context(), "password ada", 2, time.Hour, true)
		if err != nil || (got-want).Abs() > time.Minute && !(i == 0 && got == 0) {
			t.Errorf("Draw %d in debt = %v, %v, want about %v", i, got, err, want)
		}
	}

	admin := adminOf(s)
	defer admin.Close()
	if err := admin.Do(t.Context(), "auth", redistest.AdminPassword).Err(); err != nil {
		t.Fatal(err)
	}
	keys, err := admin.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatalf("Redis holds %q, %v, want two buckets", keys, err)
	}
	for _, k := range keys {
		if strings.Contains(k, "192.0.2") || strings.Contains(k, "ada") {
			t.Errorf("a key names whom it is about: %q", k)
		}
		if ttl := admin.PTTL(t.Context(), k).Val(); ttl <= 0 || ttl > 11*time.Hour {
			t.Errorf("%s is kept for %v", k, ttl)
		}
	}
}
