package session

import (
	"testing"
	"time"

	"anteroom/test/redistest"
)

// TestRedisPasswordExchange: a new password is used once Redis lets one in with
// it; one that it does not leaves all as it was.
func TestRedisPasswordExchange(t *testing.T) {
	const acl = " " + redistest.ACL
	s := redistest.Start(t, redistest.Options{Users: map[string]string{"anteroom": "on >one" + acl}})
	r, err := OpenRedis(RedisConfig{URL: Secret("redis://" + s.Addr), Username: "anteroom", Password: "one"}, RedisOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	works := func(what string) {
		t.Helper()
		if err := r.Put(t.Context(), "k", []byte(what), time.Minute); err != nil {
			t.Errorf("%s: Put = %v", what, err)
		}
	}
	works("at first")
	if err := r.RenewPassword(t.Context(), "wrong"); err == nil {
		t.Error("RenewPassword(wrong) = nil, want an error")
	}
	works("after a wrong one")
	s.CLI("ACL", "SETUSER", "anteroom", ">two")
	if err := r.RenewPassword(t.Context(), "two"); err != nil {
		t.Errorf("RenewPassword(good) = %v", err)
	}
	s.CLI("ACL", "SETUSER", "anteroom", "<one")
	s.CLI("CLIENT", "KILL", "USER", "anteroom") // so that connections are new
	for range 3 {
		r.Put(t.Context(), "k", nil, time.Minute) // each may meet one that was killed
	}
	works("after the exchange")
}
