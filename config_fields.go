package main

import (
	"encoding"
	"reflect"
	"strings"

	"anteroom/session"
)

// Key is one line of the configuration's reference.
type Key struct {
	Path    string   // session.idle_timeout; routes[].path for a key of each list entry
	Env     string   // ANTEROOM_SESSION_IDLE_TIMEOUT; empty inside a list
	Guide   string   // the guide's own variable for it, or empty
	Default string   // as it would be written; empty: none, or derived (Doc says so)
	OneOf   []string // the words it may be; empty: any
	Doc     string
	Secret  bool // has _file and _FILE twins, and is never shown
}

// configReference lists every key there is, in the order of the structs.
func configReference() []Key {
	guide := map[string]string{}
	for _, g := range guideNames() {
		guide[g.key] = g.name
	}
	keys := keysOf(reflect.TypeFor[Config](), "")
	for i := range keys {
		keys[i].Guide = guide[keys[i].Path]
	}
	return keys
}

func keysOf(t reflect.Type, path string) []Key {
	var keys []Key
	for _, f := range fieldsOf(t) {
		key := Key{Path: join(path, f.name), Default: f.def, OneOf: f.oneof, Doc: f.doc, Secret: isSecret(f.typ)}
		if !strings.Contains(key.Path, "[]") {
			key.Env = envName(key.Path)
		}
		if !isSection(f.typ) {
			keys = append(keys, key)
		}
		switch {
		case isStructList(f.typ):
			keys = append(keys, keysOf(f.typ.Elem(), key.Path+"[]")...)
		case f.typ.Kind() == reflect.Struct:
			keys = append(keys, keysOf(f.typ, key.Path)...)
		}
	}
	return keys
}

// field is a field of a configuration struct, as its tags describe it.
type field struct {
	name, def, doc string
	oneof          []string
	index          int
	typ            reflect.Type
}

func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		sf := t.Field(i)
		f := field{name: sf.Tag.Get("yaml"), def: sf.Tag.Get("default"), doc: sf.Tag.Get("doc"), index: i, typ: sf.Type}
		if f.name == "" || f.name == "-" {
			continue
		}
		if words := sf.Tag.Get("oneof"); words != "" {
			f.oneof = strings.Split(words, ",")
		}
		fields = append(fields, f)
	}
	return fields
}

// leaf is a key that can be set from one text, with the place of its value.
type leaf struct {
	field
	path  string
	value reflect.Value
}

// leaves lists the keys of a configuration struct, through all its sections. What
// has a word or members of its own (allow) comes before its members.
func leaves(v reflect.Value, path string) []leaf {
	var all []leaf
	for _, f := range fieldsOf(v.Type()) {
		at := join(path, f.name)
		if isSection(f.typ) {
			all = append(all, leaves(v.Field(f.index), at)...)
		} else {
			all = append(all, leaf{f, at, v.Field(f.index)})
			if f.typ.Kind() == reflect.Struct {
				all = append(all, leaves(v.Field(f.index), at)...)
			}
		}
	}
	return all
}

// setDefaults gives every key its default. That each default can be read is
// not the operator's business, so one that cannot is a panic; a test sees to it.
func setDefaults(v reflect.Value) {
	for _, l := range leaves(v, "") {
		if l.def == "" {
			continue
		}
		if err := setText(l.value, l.field, l.def); err != nil {
			panic("default of " + l.path + " " + err.Error())
		}
	}
}

// isSection reports whether a type is a section: keys in it, no value of its own.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !readsText(t)
}

func isStructList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
}

func isSecret(t reflect.Type) bool {
	return t == reflect.TypeFor[session.Secret]() || t == reflect.TypeFor[[]session.Secret]()
}

func readsText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// envName is the environment variable of a key.
func envName(path string) string {
	return "ANTEROOM_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
