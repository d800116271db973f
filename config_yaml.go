package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// loadYAML sets what the file says. It reports false where the file cannot be
// read at all, so that what it would have said is not missed key by key.
func (l *loader) loadYAML(data []byte) bool {
	root, ok := l.parseYAML(data)
	if ok && !isNull(root) {
		l.setSection(reflect.ValueOf(l.cfg).Elem(), "", root)
		ok = root.Kind == yaml.MappingNode
	}
	return ok
}

// setNode sets one key from its YAML value; line is the key's. A key without a
// value is as if it were not there.
func (l *loader) setNode(v reflect.Value, f field, path string, n *yaml.Node, line int) {
	if isNull(n) {
		return
	}
	l.say(path, line)
	switch {
	case isSection(f.typ):
		l.setSection(v, path, n)
	case f.typ.Kind() == reflect.Struct && n.Kind != yaml.ScalarNode && len(fieldsOf(f.typ)) > 0:
		l.setWordOrSection(v, path, n, line)
	case isStructList(f.typ):
		l.setEntries(v, path, n)
	case f.typ.Kind() == reflect.Slice:
		l.setItems(v, f, path, n)
	case f.typ.Kind() == reflect.Map:
		l.setMap(v, path, n)
	default:
		l.setScalar(v, f, path, n, line)
	}
}

// setWordOrSection sets by keys what a single word could set, too. Keys that
// list nothing are refused: they would mean the same as a word nobody wrote.
func (l *loader) setWordOrSection(v reflect.Value, path string, n *yaml.Node, line int) {
	if n.Kind != yaml.MappingNode {
		l.fault(path, line, "is %s; write a word, or keys under it, such as %s:", kindOf(n), fieldsOf(v.Type())[0].name)
		return
	}
	v.SetZero()
	l.setSection(v, path, n)
	for _, f := range fieldsOf(v.Type()) {
		if v.Field(f.index).Len() > 0 {
			return
		}
	}
	if !l.isSpoilt(path) {
		l.fault(path, line, "names nobody; name somebody, or leave it out for everybody who is signed in")
	}
}

func (l *loader) setScalar(v reflect.Value, f field, path string, n *yaml.Node, line int) {
	if n.Kind != yaml.ScalarNode {
		l.fault(path, line, "is %s; write a single value", kindOf(n))
		return
	}
	if err := setText(v, f, n.Value); err != nil {
		l.fault(path, line, "%v", err)
	}
}

// setSection sets the keys of a mapping, each at most once.
func (l *loader) setSection(v reflect.Value, path string, n *yaml.Node) {
	if isNull(n) {
		return
	}
	fields := fieldsOf(v.Type())
	if n.Kind != yaml.MappingNode {
		l.fault(path, n.Line, "is %s; write keys under it, such as %s:", kindOf(n), fields[0].name)
		return
	}
	for k, value := range l.pairs(path, n) {
		key := join(path, k.Value)
		if i := slices.IndexFunc(fields, func(f field) bool { return f.name == k.Value }); i >= 0 {
			l.setNode(v.Field(fields[i].index), fields[i], key, value, k.Line)
		} else if i := slices.IndexFunc(fields, func(f field) bool { return isSecret(f.typ) && f.name+"_file" == k.Value }); i >= 0 {
			l.setFromFile(v.Field(fields[i].index), fields[i], path, n, k, value)
		} else {
			l.unknownKey(path, k, fields)
		}
	}
}

// setFromFile sets a secret from the file that its *_file twin names, unless
// the environment says the secret and the file is of no interest.
func (l *loader) setFromFile(v reflect.Value, f field, section string, n, k, value *yaml.Node) {
	key, secret := join(section, k.Value), join(section, f.name)
	switch {
	case isNull(value):
	case value.Kind != yaml.ScalarNode:
		l.fault(key, k.Line, "is %s; write the name of a file", kindOf(value))
		l.spoil(secret)
	case !isNull(lookup(n, f.name)):
		l.fault(key, k.Line, "stands beside %s; keep one of the two", f.name)
	case l.saidInEnvironment(secret):
	default:
		l.say(secret, k.Line)
		if err := l.setSecretFile(v, secret, value.Value); err != nil {
			l.fault(key, k.Line, "%v", err)
			l.spoil(secret)
		}
	}
}

// pairs yields the keys and values of a mapping, leaving out with a fault what
// is said twice and what is no key.
func (l *loader) pairs(path string, n *yaml.Node) func(func(k, v *yaml.Node) bool) {
	return func(yield func(k, v *yaml.Node) bool) {
		seen := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			first, twice := seen[k.Value]
			switch {
			case k.Kind != yaml.ScalarNode:
				l.fault(path, k.Line, "has %s for a key; write a name", kindOf(k))
			case twice && first > 0:
				l.fault(join(path, k.Value), k.Line, "is said a second time; the first is on line %d", first)
			case twice:
				l.fault(join(path, k.Value), 0, "is said twice; keep one")
			default:
				seen[k.Value] = k.Line
				if !yield(k, n.Content[i+1]) {
					return
				}
			}
		}
	}
}

// maxSuggestions is how many faults there may be before unknown keys are only
// counted: a file with more is no configuration.
const maxSuggestions = 200

// unknownKey says what was probably meant, and spares the operator the fault
// that this very key is missing.
func (l *loader) unknownKey(path string, k *yaml.Node, fields []field) {
	key := join(path, k.Value)
	if len(l.faults) > maxSuggestions {
		l.fault(key, k.Line, "is not a key")
		return
	}
	var names []string
	of := map[string]string{} // the key that a name sets
	for _, f := range fields {
		for _, name := range twins(f.name, isSecret(f.typ)) {
			names = append(names, name)
			of[name] = join(path, f.name)
		}
	}
	if k.Value == "<<" {
		l.fault(key, k.Line, "is a merge key; write the keys out")
	} else if near := nearest(k.Value, names); near != "" {
		l.fault(key, k.Line, "is not a key; did you mean %s?", near)
		l.spoil(of[near])
	} else if home, sets := homeOf(k.Value); home != "" {
		l.fault(key, k.Line, "is not a key here; did you mean %s?", home)
		l.spoil(sets)
	} else {
		l.fault(key, k.Line, "is not a key; here may be: %s", strings.Join(names, ", "))
	}
}

func (l *loader) setItems(v reflect.Value, f field, path string, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		l.fault(path, n.Line, "is %s; write a list, such as [a, b]", kindOf(n))
		return
	}
	list := reflect.MakeSlice(f.typ, 0, len(n.Content))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		l.say(at, item.Line)
		value := reflect.New(f.typ.Elem()).Elem()
		if isNull(item) || item.Kind == yaml.ScalarNode && item.Value == "" {
			l.fault(at, item.Line, "is empty; fill it in or take it out")
		} else {
			l.setScalar(value, field{typ: f.typ.Elem(), oneof: f.oneof}, at, item, item.Line)
		}
		list = reflect.Append(list, value)
	}
	v.Set(list)
}

// setEntries sets a list of structs, each with its own defaults.
func (l *loader) setEntries(v reflect.Value, path string, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		l.fault(path, n.Line, "is %s; write a list: one entry after each '- '", kindOf(n))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		l.say(at, item.Line)
		setDefaults(list.Index(i))
		if isNull(item) {
			l.fault(at, item.Line, "is empty; fill it in or take it out")
			continue
		}
		l.setSection(list.Index(i), at, item)
	}
	v.Set(list)
}

func (l *loader) setMap(v reflect.Value, path string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		l.fault(path, n.Line, "is %s; write name: value under it", kindOf(n))
		return
	}
	m := map[string]string{}
	for k, value := range l.pairs(path, n) {
		at := join(path, k.Value)
		l.say(at, k.Line)
		if isNull(value) || value.Kind != yaml.ScalarNode {
			l.fault(at, k.Line, "is %s; write a single value", kindOf(value))
			continue
		}
		m[k.Value] = value.Value
	}
	v.Set(reflect.ValueOf(m))
}

// say notes where a key is said, now the only place that counts for it.
func (l *loader) say(path string, line int) {
	l.places[path] = place{l.source, line}
}
