package main

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"anteroom/session"
)

// maxSecretBytes bounds a file with a secret in it.
const maxSecretBytes = 64 << 10

// setText sets a value from one text, as a YAML scalar, an environment variable
// or a default tag gives it. The error is the problem in the operator's words.
func setText(v reflect.Value, f field, text string) error {
	var err error
	switch p := v.Addr().Interface().(type) {
	case *string:
		if *p = text; text != "" || f.def != "" { // else it is as if it were not said
			err = oneOf(text, f.oneof)
		}
	case *session.Secret:
		*p = session.Secret(text)
	case *bool:
		*p, err = parseBool(text)
	case *int:
		if *p, err = strconv.Atoi(text); err != nil {
			err = fmt.Errorf("is %s; write a whole number", quoted(text))
		}
	case *time.Duration:
		*p, err = parseDuration(text, f.def)
	case encoding.TextUnmarshaler:
		err = p.UnmarshalText([]byte(text))
	case *[]string:
		*p, err = splitList(text)
	case *[]session.Secret:
		*p, err = splitSecrets(text, ",")
	case *map[string]string:
		*p, err = splitMap(text)
	default:
		err = fmt.Errorf("cannot be set: the program has no way to read a %s", v.Type())
	}
	return err
}

// quoted shows a value in a fault, cut to a bearable length.
func quoted(text string) string {
	const most = 80
	if r := []rune(text); len(r) > most {
		return strconv.Quote(string(r[:most])) + "…"
	}
	return strconv.Quote(text)
}

func oneOf(text string, words []string) error {
	if len(words) == 0 || slices.Contains(words, text) {
		return nil
	}
	last := len(words) - 1
	return fmt.Errorf("is %s; write %s or %s", quoted(text), strings.Join(words[:last], ", "), words[last])
}

func parseBool(text string) (bool, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("is %s; write true or false", quoted(text))
}

// parseDuration wants more than zero, except of a key whose default is zero.
func parseDuration(text, def string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	zero, defErr := time.ParseDuration(def)
	switch {
	case err != nil:
		return 0, fmt.Errorf("is %s; write a duration such as 30m", quoted(text))
	case d < 0, d == 0 && (defErr != nil || zero != 0):
		return 0, fmt.Errorf("is %s; write a duration above zero, such as 30m", quoted(text))
	}
	return d, nil
}

func splitList(text string) ([]string, error) {
	items := strings.Split(text, ",")
	for i := range items {
		if items[i] = strings.TrimSpace(items[i]); items[i] == "" {
			return nil, errors.New("has an empty item; write a,b,c")
		}
	}
	return items, nil
}

// splitSecrets passes over empty pieces: a file of keys may have empty lines.
func splitSecrets(text, separator string) ([]session.Secret, error) {
	var secrets []session.Secret
	for s := range strings.SplitSeq(text, separator) {
		if s = strings.TrimSpace(s); s != "" {
			secrets = append(secrets, session.Secret(s))
		}
	}
	return secrets, nil
}

func splitMap(text string) (map[string]string, error) {
	m := map[string]string{}
	for item := range strings.SplitSeq(text, ",") {
		k, v, ok := strings.Cut(item, "=")
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		if !ok || k == "" {
			return nil, fmt.Errorf("is %s; write name=value,name=value", quoted(text))
		}
		if _, twice := m[k]; twice {
			return nil, fmt.Errorf("has %s twice; keep one", quoted(k))
		}
		m[k] = v
	}
	return m, nil
}

// setSecretFile sets a secret from a file's content, without the white space
// around it; a list of secrets from its lines. It notes which file a key's is.
func (l *loader) setSecretFile(v reflect.Value, key, name string) error {
	if l.cfg.SecretFiles == nil {
		l.cfg.SecretFiles = map[string]secretFile{}
	}
	l.cfg.SecretFiles[key] = secretFile{Path: name} // also where connect is to make it
	data, _, err := session.ReadFile(name, maxSecretBytes)
	if err != nil {
		return fmt.Errorf("names %s, which cannot be read: %w", quoted(name), err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return fmt.Errorf("names %s, which is empty", quoted(name))
	}
	switch p := v.Addr().Interface().(type) {
	case *session.Secret:
		*p = session.Secret(text)
	case *[]session.Secret:
		*p, err = splitSecrets(text, "\n")
	}
	l.cfg.SecretFiles[key] = secretFile{name, session.Secret(text)}
	return err
}
