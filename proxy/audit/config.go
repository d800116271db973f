package audit

// Config is the section "audit".
type Config struct {
	Output string `yaml:"output" default:"stdout" doc:"where audit lines go: stdout, stderr, off, or the path of a file that is appended to"`
}
