package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"anteroom/integrations"
	"anteroom/proxy"
	"anteroom/proxy/audit"
	"anteroom/proxy/authn"
	"anteroom/proxy/trace"
	"anteroom/proxy/upstream"
	"anteroom/proxy/watch"
	"anteroom/session"
	"anteroom/session/signin"
)

// Config is everything the operator can say. It is loaded once and never
// changed; what loadConfig returns is checked, and holds final values: derived
// defaults are filled in.
//
// The struct tags are the whole reference of a key: its name in YAML (and so
// its environment variable), its default, the words it may be, what it is for.
type Config struct {
	Upstream     string                       `yaml:"upstream" doc:"the application: http://, https://, h2c:// or unix:/path/to/socket; alone it means one route for everything, for whoever is signed in; none: front proxies ask, and forward requests themselves"`
	Server       proxy.Config                 `yaml:"server"`
	Nextcloud    integrations.NextcloudConfig `yaml:"nextcloud"`
	SignIn       signin.Config                `yaml:"signin"`
	Session      session.Config               `yaml:"session"`
	Identity     upstream.Config              `yaml:"identity"`
	Routes       []proxy.Route                `yaml:"routes" doc:"parts of the site, in order; the first that matches is taken. What none matches goes to the top-level upstream, for whoever is signed in"`
	Clients      []authn.Client               `yaml:"clients" doc:"programs that call in, with secrets of their own"`
	Integrations integrations.Config          `yaml:"integrations"`
	Audit        audit.Config                 `yaml:"audit"`
	Watch        watch.Config                 `yaml:"watch"`
	Telemetry    TelemetryConfig              `yaml:"telemetry"`

	SecretFiles    map[string]secretFile `yaml:"-"` // the files that secrets were read from, by key
	AuthorityFiles map[string]secretFile `yaml:"-"` // and those of authorities
}

// secretFile is a file that is followed, and what was in it when it was read,
// without the white space around it.
type secretFile struct {
	Path string
	Text session.Secret
}

// TelemetryConfig is the section "telemetry": what the program says of itself.
type TelemetryConfig struct {
	LogLevel  string `yaml:"log_level" default:"info" oneof:"debug,info,warn,error" doc:"the least important line that is written"`
	LogFormat string `yaml:"log_format" default:"json" oneof:"json,text" doc:"json, or text for reading by eye"`

	OTLPEndpoint string         `yaml:"otlp_endpoint" doc:"base URL of a collector that takes OpenTelemetry traces (OTLP over HTTP), such as https://collector:4318; empty: nothing is traced"`
	OTLPHeaders  session.Secret `yaml:"otlp_headers" doc:"headers of the requests to it, name=value,name=value; a comma in a value is %2C"`
	OTLPCAFile   string         `yaml:"otlp_ca_file" doc:"PEM of the authorities that may vouch for it; empty: those of the system; read again when it changes"`
	TraceRatio   trace.Ratio    `yaml:"trace_ratio" default:"1" doc:"share of traces that are recorded, from 0 to 1, of those that begin here; what a trusted proxy began is recorded if it says so, with trust_traces"`
	TrustTraces  bool           `yaml:"trust_traces" doc:"whether the traceparent, tracestate and X-Request-Id of trusted proxies are believed: only if the front proxy sets them itself or removes the client's"`
	ServiceName  string         `yaml:"service_name" default:"anteroom" doc:"what traces call this deployment (service.name)"`
}

// Fault is one thing that is wrong with the configuration. It never holds a
// secret: values of secret keys are not shown, nor users in URLs.
type Fault struct {
	Source  string // file name or environment variable; empty: nothing was said
	Line    int    // in the file, from 1; 0: not in the file
	Key     string // session.idle_timeout, routes[0].path; empty: the file as a whole
	Problem string // what is wrong, and what would be right
}

// String is the line an operator reads: source:line: key: problem.
func (f Fault) String() string {
	where := f.Source
	if f.Line > 0 {
		where += ":" + strconv.Itoa(f.Line)
	}
	key := f.Key
	if strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) {
		key = strconv.Quote(key)
	}
	parts := slices.DeleteFunc([]string{where, key, f.Problem}, func(s string) bool { return s == "" })
	return strings.Join(parts, ": ")
}

// writeFaults writes one line for each fault.
func writeFaults(w io.Writer, faults []Fault) {
	for _, f := range faults {
		fmt.Fprintln(w, f)
	}
}

// maxConfigBytes bounds the configuration file and every file it names.
const maxConfigBytes = 1 << 20

// loadConfig reads the configuration: ANTEROOM_* variables over the guide's
// NEXTCLOUD_* ones, over the file at path, over the defaults. Without a path,
// or where the file is not there and was not asked for explicitly, the
// environment has to say it all. getenv finds one variable; environ lists all
// as NAME=value, so that misspelt ones are found.
//
// Everything that is wrong is reported at once, sorted by line and key; the
// configuration is nil if anything is.
func loadConfig(path string, explicit bool, getenv func(string) (string, bool), environ []string) (*Config, []Fault) {
	cfg, _, faults := loadPlaced(path, explicit, getenv, environ)
	return cfg, faults
}

// loadPlaced is loadConfig that tells, too, where each key was said.
func loadPlaced(path string, explicit bool, getenv func(string) (string, bool), environ []string) (*Config, map[string]place, []Fault) {
	l, faults := loadAll(path, explicit, getenv, environ)
	if len(faults) > 0 {
		return nil, l.places, faults
	}
	return l.cfg, l.places, nil
}

// loadAll is loadConfig that gives out, too, what is not faulty of a faulty one:
// the loader's configuration is settled only where there are no faults.
func loadAll(path string, explicit bool, getenv func(string) (string, bool), environ []string) (*loader, []Fault) {
	var data []byte
	if path != "" {
		var err error
		data, err = readConfig(path)
		if errors.Is(err, fs.ErrNotExist) && !explicit {
			path = ""
		} else if err != nil {
			return newLoader(path, getenv), []Fault{{Source: path, Problem: "cannot be read: " + err.Error()}}
		}
	}
	l := newLoader(path, getenv)
	_, faults := l.load(data, environ)
	return l, faults
}

// parseConfig is loadConfig with the file in hand; source is its name.
func parseConfig(source string, data []byte, getenv func(string) (string, bool), environ []string) (*Config, []Fault) {
	return newLoader(source, getenv).load(data, environ)
}

func newLoader(source string, getenv func(string) (string, bool)) *loader {
	return &loader{cfg: new(Config), getenv: getenv, source: source, places: map[string]place{}, spoilt: map[string]bool{}, holds: map[string]bool{}}
}

// load loads everything, the file from data.
func (l *loader) load(data []byte, environ []string) (*Config, []Fault) {
	setDefaults(reflect.ValueOf(l.cfg).Elem())
	readable := l.loadYAML(data)
	l.loadEnvironment(environ)
	if readable {
		l.checkRules()
	}
	if len(l.faults) > 0 {
		slices.SortStableFunc(l.faults, func(a, b Fault) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Source, b.Source))
		})
		return nil, slices.Compact(l.faults)
	}
	settle(l.cfg)
	return l.cfg, nil
}

// loader fills one Config from its sources and gathers what is wrong.
type loader struct {
	cfg    *Config
	getenv func(string) (string, bool)
	source string // of what is being read: the file, or an environment variable
	faults []Fault
	places map[string]place // where each key was said last
	spoilt map[string]bool  // keys with a fault already: no rule need look at them
	holds  map[string]bool  // keys with a spoilt one inside
}

// place is where a key was said.
type place struct {
	source string
	line   int
}

// fault notes something wrong with what key says at a line of the source.
func (l *loader) fault(key string, line int, format string, args ...any) {
	l.spoil(key)
	l.faults = append(l.faults, Fault{Source: l.source, Line: line, Key: key, Problem: fmt.Sprintf(format, args...)})
}

// breaks notes that a key breaks a rule, at the place where it, or the section
// it is missing from, was said. A key that is faulty anyway is passed over.
func (l *loader) breaks(key, format string, args ...any) {
	if l.isSpoilt(key) {
		return
	}
	p := l.placeOf(key)
	l.faults = append(l.faults, Fault{Source: p.source, Line: p.line, Key: key, Problem: fmt.Sprintf(format, args...)})
}

// isSpoilt reports whether the key, something around it or something in it
// could not be read.
func (l *loader) isSpoilt(key string) bool {
	if l.holds[key] {
		return true
	}
	for ; key != ""; key = outer(key) {
		if l.spoilt[key] {
			return true
		}
	}
	return false
}

func (l *loader) spoil(key string) {
	l.spoilt[key] = true
	for key = outer(key); key != ""; key = outer(key) {
		l.holds[key] = true
	}
}

func (l *loader) placeOf(key string) place {
	for ; key != ""; key = outer(key) {
		if p, ok := l.places[key]; ok {
			return p
		}
	}
	return place{}
}

// outer is the key around another: a of a.b and of a[0], nothing of a.
func outer(key string) string { return key[:max(0, strings.LastIndexAny(key, ".["))] }

// within reports whether key lies inside of outer: a.b and a[0] inside of a.
func within(key, outer string) bool {
	rest, ok := strings.CutPrefix(key, outer)
	return ok && rest != "" && (rest[0] == '.' || rest[0] == '[')
}

// readConfig reads the configuration file, which may be a pipe, of at most
// maxConfigBytes. The error leaves the name out.
func readConfig(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, session.WithoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfigBytes+1))
	if err != nil {
		return nil, session.WithoutPath(err)
	}
	if len(data) > maxConfigBytes {
		return nil, fmt.Errorf("is larger than %d KiB", maxConfigBytes>>10)
	}
	return data, nil
}
