package audit

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anteroom/session"
)

// TestEncoding: a line's members are what the struct tags say, every one.
func TestEncoding(t *testing.T) {
	full := Event{Time: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)}
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x" + v.Type().Field(i).Name)
		case reflect.Int, reflect.Int64:
			f.SetInt(int64(i + 1))
		}
	}
	for _, e := range []Event{full, {Kind: SignIn}, {}, {Kind: Access, Path: "/\"\\<>&\x00\xff\u2028é", Means: session.ByOIDC, Sent: -1}} {
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(e.appendTo(nil))+"}"); diff != "" {
			t.Error(diff)
		}
	}
	for _, name := range []string{"chain", "seq", "hash", "sig", "prev", "torn", "key"} {
		for i := range v.NumField() {
			if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); tag == name {
				t.Errorf("an event has the member %q, which is the chain's", name)
			}
		}
	}
}
