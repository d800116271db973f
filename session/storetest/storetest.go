// Package storetest is the suite every session.Store must pass. It trusts
// nothing but the contract stated there.
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/session"
)

// Harness is one store under test.
type Harness struct {
	Store session.Store
	// Context returns the context for the next call. Nil means the test's own.
	Context func() context.Context
	// Advance moves the store's clock on.
	Advance func(time.Duration)
	// Single says that the store holds one record at a time (a browser does).
	Single bool
}

func (h *Harness) ctx(t *testing.T) context.Context {
	if h.Context == nil {
		return t.Context()
	}
	return h.Context()
}

// Run holds the stores that open makes, a new one for each case, to the contract.
func Run(t *testing.T, open func(t *testing.T) *Harness) {
	cases := map[string]func(*testing.T, *Harness){
		"absent is no error":        absent,
		"put then get":              putGet,
		"put replaces":              replaces,
		"values are copied":         copied,
		"delete":                    deletes,
		"delete absent":             deleteAbsent,
		"put after delete":          putAfterDelete,
		"take finds once":           takeOnce,
		"take among many finds one": takeRace,
		"expiry":                    expires,
		"put renews the expiry":     renews,
		"large values":              large,
		"keys are apart":            keysApart,
	}
	for name, f := range cases {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

func absent(t *testing.T, h *Harness) { h.want(t, "nobody", nil) }

func putGet(t *testing.T, h *Harness) {
	h.put(t, "k", []byte("value\x00\xff"), time.Hour)
	h.want(t, "k", []byte("value\x00\xff"))
	h.want(t, "k", []byte("value\x00\xff"))
}

func replaces(t *testing.T, h *Harness) {
	h.put(t, "k", []byte("one"), time.Hour)
	h.put(t, "k", []byte("two"), time.Hour)
	h.want(t, "k", []byte("two"))
}

func copied(t *testing.T, h *Harness) {
	v := []byte("before")
	h.put(t, "k", v, time.Hour)
	copy(v, "AFTER!")
	h.want(t, "k", []byte("before"))
	got, _, _ := h.Store.Get(h.ctx(t), "k")
	copy(got, "AFTER!")
	h.want(t, "k", []byte("before"))
}

func deletes(t *testing.T, h *Harness) {
	h.put(t, "k", []byte("v"), time.Hour)
	h.delete(t, "k")
	h.want(t, "k", nil)
}

func deleteAbsent(t *testing.T, h *Harness) { h.delete(t, "nobody") }

func putAfterDelete(t *testing.T, h *Harness) {
	h.put(t, "k", []byte("v"), time.Hour)
	h.delete(t, "k")
	h.put(t, "k", []byte("w"), time.Hour)
	h.want(t, "k", []byte("w"))
}

func takeOnce(t *testing.T, h *Harness) {
	h.put(t, "k", []byte("v"), time.Hour)
	for i, want := range []bool{true, false} {
		v, found, err := h.Store.Take(h.ctx(t), "k")
		if err != nil || found != want || want && string(v) != "v" {
			t.Fatalf("Take #%d = %q, %v, %v, want found %v", i+1, v, found, err, want)
		}
	}
	h.want(t, "k", nil)
}

func takeRace(t *testing.T, h *Harness) {
	h.put(t, "k", []byte("v"), time.Hour)
	var won atomic.Int32
	var wg sync.WaitGroup
	var callers []context.Context
	for range 16 {
		callers = append(callers, h.ctx(t))
	}
	for _, ctx := range callers {
		wg.Go(func() {
			if _, found, err := h.Store.Take(ctx, "k"); err == nil && found {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("Take by 16 at once found it %d times, want 1", won.Load())
	}
}

func expires(t *testing.T, h *Harness) {
	h.put(t, "k", []byte("v"), 10*time.Second)
	h.Advance(9 * time.Second)
	h.want(t, "k", []byte("v"))
	h.Advance(2 * time.Second)
	h.want(t, "k", nil)
	if _, found, err := h.Store.Take(h.ctx(t), "k"); found || err != nil {
		t.Errorf("Take(expired) = %v, %v, want absent", found, err)
	}
}

func renews(t *testing.T, h *Harness) {
	h.put(t, "k", []byte("v"), 10*time.Second)
	h.Advance(8 * time.Second)
	h.put(t, "k", []byte("v"), 10*time.Second)
	h.Advance(8 * time.Second)
	h.want(t, "k", []byte("v"))
}

func large(t *testing.T, h *Harness) {
	for _, n := range []int{0, 1, 2000, 2816, 2817, 5000, 9000} {
		v := make([]byte, n)
		rand.Read(v)
		h.put(t, "k", v, time.Hour)
		h.want(t, "k", v)
	}
}

func keysApart(t *testing.T, h *Harness) {
	if h.Single {
		h.put(t, "a", []byte("1"), time.Hour)
		h.want(t, "b", nil)
		return
	}
	for i := range 50 {
		h.put(t, fmt.Sprint("k", i), []byte(fmt.Sprint("v", i)), time.Hour)
	}
	h.delete(t, "k7")
	for i := range 50 {
		if i != 7 {
			h.want(t, fmt.Sprint("k", i), []byte(fmt.Sprint("v", i)))
		}
	}
}

func (h *Harness) put(t *testing.T, key string, v []byte, ttl time.Duration) {
	t.Helper()
	if err := h.Store.Put(h.ctx(t), key, v, ttl); err != nil {
		t.Fatalf("Put(%q, %d bytes) = %v", key, len(v), err)
	}
}

func (h *Harness) delete(t *testing.T, key string) {
	t.Helper()
	if err := h.Store.Delete(h.ctx(t), key); err != nil {
		t.Fatalf("Delete(%q) = %v", key, err)
	}
}

// want checks that key holds v, or is absent if v is nil.
func (h *Harness) want(t *testing.T, key string, v []byte) {
	t.Helper()
	got, found, err := h.Store.Get(h.ctx(t), key)
	if err != nil || found != (v != nil) || !bytes.Equal(got, v) {
		t.Fatalf("Get(%q) = %d bytes, found %v, %v, want %d bytes, found %v", key, len(got), found, err, len(v), v != nil)
	}
}
