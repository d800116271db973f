package main

import (
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// guideName is a variable of the integration guide and the key it stands for.
type guideName struct{ name, key string }

// guideNames are the variables that installations set up by the guide have
// already. Secret ones have _FILE twins. Every other NEXTCLOUD_* variable is
// passed over in silence, unless it is nearly one of these: it belongs to
// Nextcloud's own container.
func guideNames() []guideName {
	return []guideName{
		{"NEXTCLOUD_BASE_URL", "nextcloud.url"},
		{"NEXTCLOUD_OIDC_ISSUER", "signin.issuer"},
		{"NEXTCLOUD_CLIENT_ID", "signin.client_id"},
		{"NEXTCLOUD_CLIENT_SECRET", "signin.client_secret"},
		{"NEXTCLOUD_REDIRECT_URI", "signin.redirect_uri"},
		{"NEXTCLOUD_WEBDAV_URL", "integrations.webdav.url"},
		{"NEXTCLOUD_WEBDAV_USERNAME", "integrations.webdav.username"},
		{"NEXTCLOUD_WEBDAV_PASSWORD", "integrations.webdav.password"},
		{"NEXTCLOUD_CALDAV_URL", "integrations.caldav.url"},
		{"NEXTCLOUD_CALDAV_USERNAME", "integrations.caldav.username"},
		{"NEXTCLOUD_CALDAV_PASSWORD", "integrations.caldav.password"},
		{"NEXTCLOUD_CARDDAV_URL", "integrations.carddav.url"},
		{"NEXTCLOUD_CARDDAV_USERNAME", "integrations.carddav.username"},
		{"NEXTCLOUD_CARDDAV_PASSWORD", "integrations.carddav.password"},
		{"NEXTCLOUD_ADMIN_USER", "integrations.directory.username"},
		{"NEXTCLOUD_ADMIN_PASSWORD", "integrations.directory.password"},
		{"NEXTCLOUD_IMAP_URL", "integrations.mail.imap_url"},
		{"NEXTCLOUD_SMTP_URL", "integrations.mail.smtp_url"},
		{"NEXTCLOUD_EMAIL_USERNAME", "integrations.mail.username"},
		{"NEXTCLOUD_EMAIL_PASSWORD", "integrations.mail.password"},
	}
}

// guideNameOf is the guide's variable for a key, or empty.
func guideNameOf(key string) string {
	for _, g := range guideNames() {
		if g.key == key {
			return g.name
		}
	}
	return ""
}

// loadEnvironment sets what the environment says: for each key its ANTEROOM_*
// variable, else the guide's.
func (l *loader) loadEnvironment(environ []string) {
	all := leaves(reflect.ValueOf(l.cfg).Elem(), "")
	for _, leaf := range all {
		if name := envName(leaf.path); l.isSet(name, leaf) {
			l.setVariable(leaf, name)
		} else if guide := guideNameOf(leaf.path); guide != "" && l.isSet(guide, leaf) {
			l.setVariable(leaf, guide)
		}
	}
	l.unknownVariables(environ, all)
}

// variable finds an environment variable; an empty one counts as unset.
func (l *loader) variable(name string) (string, bool) {
	text, ok := l.getenv(name)
	return text, ok && text != ""
}

// isSet reports whether a variable, or the _FILE twin of a secret's, is set.
func (l *loader) isSet(name string, of leaf) bool {
	_, ok := l.variable(name)
	_, twin := l.variable(name + "_FILE")
	return ok || twin && isSecret(of.typ)
}

// saidInEnvironment reports whether the environment overrides a secret's key.
func (l *loader) saidInEnvironment(secret string) bool {
	for _, name := range []string{envName(secret), guideNameOf(secret)} {
		if _, ok := l.variable(name); ok {
			return true
		}
		if _, ok := l.variable(name + "_FILE"); ok {
			return true
		}
	}
	return false
}

func (l *loader) setVariable(leaf leaf, name string) {
	l.source = name
	delete(l.cfg.SecretFiles, leaf.path)
	for path := range l.places {
		if within(path, leaf.path) {
			delete(l.places, path)
		}
	}
	l.say(leaf.path, 0)
	text, ok := l.variable(name)
	file, twin := l.variable(name + "_FILE")
	switch {
	case isSecret(leaf.typ) && twin:
		l.source += "_FILE"
		l.say(leaf.path, 0)
		if ok {
			l.fault(leaf.path, 0, "stands beside %s; keep one of the two", name)
		} else if err := l.setSecretFile(leaf.value, leaf.path, file); err != nil {
			l.fault(leaf.path, 0, "%v", err)
		}
	case inYAML(leaf, text):
		l.setInYAML(leaf, text)
	default:
		if err := setText(leaf.value, leaf.field, text); err != nil {
			l.fault(leaf.path, 0, "%v", err)
		}
	}
}

// setInYAML sets a key from YAML in a variable. Faults are the key's, without
// line: that would be one of the variable's text, not of the file.
func (l *loader) setInYAML(leaf leaf, text string) {
	before := len(l.faults)
	n, ok := l.parseYAML([]byte(text))
	if ok {
		unline(n)
		l.setNode(leaf.value, leaf.field, leaf.path, n, 0)
		return
	}
	l.spoil(leaf.path)
	for i := before; i < len(l.faults); i++ {
		l.faults[i].Key, l.faults[i].Line = leaf.path, 0
	}
}

// inYAML reports whether a variable's text is YAML: always for a list of
// structs, and for mappings where it begins with a brace.
func inYAML(leaf leaf, text string) bool {
	if isStructList(leaf.typ) {
		return true
	}
	mapping := leaf.typ.Kind() == reflect.Map || leaf.typ.Kind() == reflect.Struct
	return mapping && strings.HasPrefix(strings.TrimSpace(text), "{")
}

// unline takes the line numbers away.
func unline(n *yaml.Node) {
	if n == nil {
		return
	}
	n.Line = 0
	for _, c := range n.Content {
		unline(c)
	}
}

// unknownVariables finds ANTEROOM_* variables that set nothing, and NEXTCLOUD_*
// ones that are nearly the guide's.
func (l *loader) unknownVariables(environ []string, all []leaf) {
	known := []string{"ANTEROOM_CONFIG"} // the command line's --config
	var guide []string
	paths := map[string]string{}
	add := func(names []string, name string, of leaf) []string {
		paths[name] = of.path
		if !isSecret(of.typ) {
			return append(names, name)
		}
		paths[name+"_FILE"] = of.path
		return append(names, name, name+"_FILE")
	}
	for _, leaf := range all {
		known = add(known, envName(leaf.path), leaf)
		if name := guideNameOf(leaf.path); name != "" {
			guide = add(guide, name, leaf)
		}
	}
	service := regexp.MustCompile(serviceLink)
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if value == "" || slices.Contains(known, name) || slices.Contains(guide, name) || service.MatchString(kv) {
			continue
		}
		near := ""
		if strings.HasPrefix(name, "ANTEROOM_") {
			near = nearest(name, known)
		} else if near = slipOf(name, guide); near == "" {
			continue
		}
		l.source = name
		if near != "" {
			l.fault("", 0, "is not a variable; did you mean %s?", near)
			l.spoil(paths[near])
		} else {
			l.fault("", 0, "is not a variable; it is ANTEROOM_ and a key of the configuration, such as ANTEROOM_UPSTREAM")
		}
	}
}

// serviceLink matches the variables that Kubernetes gives to every pod beside
// a Service whose name begins with "anteroom". Nobody wrote them for us.
const serviceLink = `^ANTEROOM_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|^ANTEROOM_(\w+_)?PORT=(tcp|udp|sctp)://`
