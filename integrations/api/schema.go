package api

import (
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// schemas are the JSON Schemas (draft 2020-12) of the types that are said or
// taken, by the name they have in the document.
type schemas map[string]any

// object is a JSON object in the making.
type object = map[string]any

// of is the schema of a type; that of a named struct stands by itself. strict
// is for what is taken: nothing may be in it that is not named.
func (s schemas) of(t reflect.Type, tag reflect.StructTag, strict bool) object {
	if t.Kind() == reflect.Pointer {
		return s.of(t.Elem(), tag, strict)
	}
	o := object{}
	switch {
	case t == typeTime:
		o["type"], o["format"] = "string", "date-time"
	case t.Kind() == reflect.String:
		o["type"] = "string"
		if f := tag.Get("format"); f != "" {
			o["format"] = f
		}
		if strict {
			limit(o, tag, "minLength", "maxLength", 0, maxString)
		}
	case t.Kind() == reflect.Bool:
		o["type"] = "boolean"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		o["type"], o["contentEncoding"] = "string", "base64"
	case t.Kind() == reflect.Slice:
		of := reflect.StructTag("")
		if t.Elem().Kind() == reflect.String {
			of = `max:"4096"`
		}
		o["type"], o["items"] = "array", s.of(t.Elem(), of, strict)
		if strict {
			limit(o, tag, "minItems", "maxItems", 0, maxEntries)
		}
	case t.Kind() == reflect.Struct && t.Name() == "":
		s.members(o, t, strict)
	case t.Kind() == reflect.Struct:
		s.named(t, strict)
		o["$ref"] = "#/components/schemas/" + nameOf(t, strict)
	default:
		o["type"] = "integer"
		if strict {
			limit(o, tag, "minimum", "maximum", 0, 1<<31)
		} else {
			o["format"] = "int64"
		}
	}
	if doc := tag.Get("doc"); doc != "" {
		o["description"] = doc
	}
	if enum := tag.Get("enum"); enum != "" && o["type"] == "string" {
		o["enum"] = strings.Split(enum, ",")
	}
	if d, ok := tag.Lookup("default"); ok {
		o["default"] = literal(t, d)
	}
	return o
}

// literal is a default as JSON has it.
func literal(t reflect.Type, s string) any {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && t.Kind() != reflect.String {
		return n
	}
	if t.Kind() == reflect.Bool {
		return s == "true"
	}
	return s
}

func limit(o object, tag reflect.StructTag, low, high string, least, most int64) {
	l, h := bounds(tag, least, most)
	if l != 0 || low == "minimum" {
		o[low] = l
	}
	o[high] = h
}

// named adds a struct's schema, if it is not there yet.
func (s schemas) named(t reflect.Type, strict bool) {
	name := nameOf(t, strict)
	if _, ok := s[name]; ok {
		return
	}
	o := object{}
	s[name] = o // before its members: it may be among them
	s.members(o, t, strict)
}

// members makes o the schema of a struct.
func (s schemas) members(o object, t reflect.Type, strict bool) {
	o["type"] = "object"
	properties, required := object{}, []string{}
	for _, f := range fields(t) {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || name == "" {
			continue
		}
		properties[name] = s.of(f.Type, f.Tag, strict)
		if strict && f.Tag.Get("required") == "true" || !strict && !strings.Contains(opts, "omit") {
			required = append(required, name)
		}
	}
	o["properties"] = properties
	if len(required) > 0 {
		slices.Sort(required)
		o["required"] = required
	}
	if strict {
		o["additionalProperties"] = false
	}
}

// nameOf is what a type is called in the document. What is taken is called after
// its package, too: it has bounds that what is said has not, and fields of
// contacts are others than those of events.
func nameOf(t reflect.Type, strict bool) string {
	name, rest, generic := strings.Cut(t.Name(), "[")
	if generic { // page[anteroom/integrations/files.Entry]
		rest = strings.TrimSuffix(rest, "]")
		rest = rest[strings.LastIndexByte(rest, '.')+1:]
		name = rest + capital(name)
	}
	if within := path.Base(t.PkgPath()); strict && within != "api" {
		return capital(within) + capital(name)
	}
	return capital(name)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
