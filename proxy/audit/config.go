package audit

import (
	"time"

	"anteroom/session"
)

// Config is the section "audit".
type Config struct {
	Output    string         `yaml:"output" default:"stdout" doc:"where audit lines go: stdout, stderr, off, the path of a file that is appended to (reopened on SIGHUP), syslog+tcp://host:601, syslog+tls://host:6514, syslog+udp://host:514, syslog+unix:///dev/log (RFC 5424), or an https:// URL that lines are posted to"`
	Copies    []string       `yaml:"copies" doc:"further places of the same kinds, which get the same lines as far as they take them"`
	Requests  bool           `yaml:"requests" default:"true" doc:"a line for each request to the application, too, and for each yes to a front proxy"`
	Required  bool           `yaml:"required" doc:"no line, no answer: a request is let go on, and a sign-in is finished, only once output has a line of it; 503 while it takes none"`
	Window    time.Duration  `yaml:"window" default:"50ms" doc:"lines are written, and a file is synced, together: this long after they came up at the latest. Sign-ins, refusals and what is required are waited for"`
	Key       session.Secret `yaml:"key" doc:"base64 of 32 bytes, made by 'anteroom keys new': signs checkpoints of the chain, and hashes names"`
	HashPaths bool           `yaml:"hash_paths" doc:"names in paths are hashed with the key; 'anteroom audit find' finds them"`
	Token     session.Secret `yaml:"token" doc:"Bearer token for those of output and copies that are https:// URLs"`
	CAFile    string         `yaml:"ca_file" doc:"PEM file of authorities to trust for syslog+tls:// and https://, instead of the system's; read again when it changes"`
}

const (
	mostQueued      = 32 << 10         // events that wait for output to take them
	mostQueuedBytes = 64 << 20         // and their bytes
	mostCopied      = 16 << 20         // bytes that wait for a copy
	patience        = 5 * time.Second  // how long an event that is waited for may take
	checkpointAfter = 10 * time.Second // at most between a line and a signature over it
	checkpointLines = 256              // and lines: of who makes lines up after a kill, no more are believed
	headLines       = 5000             // after which where the chain has got to is noted, if checkpointAfter is not over before
	retryFirst      = 100 * time.Millisecond
	retryMost       = 3 * time.Second
	closeTime       = 5 * time.Second // for what is left when the program stops
)
