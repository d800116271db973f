package api

import (
	"reflect"
	"testing"

	"anteroom/integrations"
)

// TestSchemaNames: no two types have one name in the document.
func TestSchemaNames(t *testing.T) {
	a := &API{o: Options{Access: &integrations.Access{}}}
	for _, family := range a.families() {
		a.ops = append(a.ops, family.ops...)
	}
	a.ops = append(append(a.ops, a.me()...), a.describing()...)
	if _, err := a.describe(); err != nil {
		t.Fatal(err)
	}
	type use struct {
		of     reflect.Type
		strict bool
	}
	names := map[string]use{}
	var look func(reflect.Type, bool)
	look = func(of reflect.Type, strict bool) {
		switch {
		case of.Kind() == reflect.Pointer, of.Kind() == reflect.Slice:
			look(of.Elem(), strict)
			return
		case of.Kind() != reflect.Struct || of == typeTime:
			return
		}
		if of.Name() != "" {
			u, name := use{of, strict}, nameOf(of, strict)
			if was, ok := names[name]; ok && was != u {
				t.Errorf("%s is both %v and %v", name, was, u)
			} else if ok {
				return
			}
			names[name] = u
		}
		for _, f := range fields(of) {
			look(f.Type, strict)
		}
	}
	for _, op := range a.ops {
		for _, f := range fields(op.in) {
			if f.Tag.Get("body") == "json" {
				look(f.Type, true)
			}
		}
		for _, answer := range op.answers {
			if answer.body != nil {
				look(answer.body, false)
			}
		}
	}
}
