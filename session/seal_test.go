package session

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"testing"
)

// TestRenewedKeys: new keys open at once and seal once promoted, nothing sealed
// before is lost, and a list without the key in use is refused.
func TestRenewedKeys(t *testing.T) {
	key := func(i byte) Secret {
		return Secret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{i}, KeyBytes)))
	}
	codecs := make([]*Codec, 2) // two replicas
	for i := range codecs {
		var err error
		if codecs[i], err = NewCodec([]Secret{key(1)}); err != nil {
			t.Fatal(err)
		}
	}
	sealers := []*Sealer{codecs[0].For("x", 0), codecs[1].For("x", 0)}
	pass := func(step string) {
		t.Helper()
		for i, s := range sealers {
			text, err := s.Seal("hello")
			if err != nil {
				t.Fatal(err)
			}
			record := codecs[i].sealRecord(recordSecret{1}, []byte("r"))
			for j, other := range sealers {
				var got string
				if err := other.Open(text, &got); err != nil || got != "hello" {
					t.Errorf("%s: what %d sealed opens at %d as %q, %v", step, i, j, got, err)
				}
				if _, err := codecs[j].openRecord(recordSecret{1}, record); err != nil {
					t.Errorf("%s: the record %d sealed does not open at %d", step, i, j)
				}
			}
		}
	}
	before, err := sealers[0].Seal("hello")
	if err != nil {
		t.Fatal(err)
	}
	pass("at first")
	for i, step := range []func() error{
		func() error { return codecs[0].Renew([]Secret{key(2), key(1)}) },
		func() error { return codecs[1].Renew([]Secret{key(2), key(1)}) },
		func() error { codecs[0].Promote(); return nil },
		func() error { codecs[1].Promote(); return nil },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		pass("step " + strconv.Itoa(i+1))
	}
	var got string
	if err := sealers[1].Open(before, &got); err != nil || got != "hello" {
		t.Errorf("what was sealed before opens as %q, %v", got, err)
	}
	for _, bad := range [][]Secret{{key(1)}, {key(3)}, {}, {"x", key(2)}} {
		if err := codecs[0].Renew(bad); err == nil {
			t.Errorf("Renew(%d keys without the one in use) = nil, want an error", len(bad))
		}
		pass("after a bad list")
	}
	if err := codecs[0].Renew([]Secret{key(2)}); err != nil {
		t.Fatal(err)
	}
	codecs[0].Promote()
	if err := sealers[0].Open(before, &got); err == nil {
		t.Error("what a key sealed that is gone still opens")
	}
	pass("the old key gone at one")
}
