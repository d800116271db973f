package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

const manualAbout = `print the manual page in the language of man, or with config.yaml that of the
configuration:

  anteroom man | man -l -`

// manual prints a manual page, made of the table of commands or the reference
// of the configuration.
func manual(_ context.Context, args []string, sys system) error {
	words, err := positional(unconfigured("man", manualAbout, sys), args)
	if err != nil {
		return err
	}
	p := &page{}
	if epoch, ok := sys.lookup("SOURCE_DATE_EPOCH"); ok { // as reproducible builds say when they are
		if sec, err := strconv.ParseInt(epoch, 10, 64); err == nil {
			p.date = time.Unix(sec, 0).UTC().Format(time.DateOnly)
		}
	}
	switch {
	case len(words) == 0:
		p.commands()
	case len(words) == 1 && words[0] == "config.yaml":
		p.configuration()
	default:
		return fmt.Errorf("man: there is no page %q; say config.yaml, or nothing", strings.Join(words, " "))
	}
	_, err = io.WriteString(sys.Out, p.String())
	return err
}

// page is a manual page being written, in man(7).
type page struct {
	strings.Builder
	date string // "": none is said
}

// line writes a request and its arguments, or a line of text.
func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// text writes a text that cannot be taken for requests.
func (p *page) text(s string) { p.line("%s", roff(s)) }

// verbatim writes lines as they stand.
func (p *page) verbatim(lines ...string) {
	p.line(".RS 4\n.nf")
	for _, l := range lines {
		p.text(l)
	}
	p.line(".fi\n.RE")
}

func (p *page) title(name, section string) {
	v, _ := builtFrom()
	p.line(`.TH "%s" %s "%s" "anteroom %s" "Anteroom"`, strings.ToUpper(roff(name)), section, p.date, roff(v))
	p.line(".ad l\n.nh") // names of keys and variables stay in one piece
}

// tagged writes a term and what it means.
func (p *page) tagged(term, text string) {
	p.line(".TP\n\\fB%s\\fR", roffInline(term))
	p.text(text)
}

func (p *page) commands() {
	p.title("anteroom", "1")
	p.line(".SH NAME\nanteroom \\- sign people in with Nextcloud in front of any application")
	p.line(".SH SYNOPSIS\n\\fBanteroom\\fR [\\fB\\-\\-config\\fR \\fIFILE\\fR] [\\fICOMMAND\\fR]")
	p.line(".SH DESCRIPTION")
	p.text("Anteroom stands in front of an application and signs people in with their Nextcloud. The application never sees a request from somebody unknown, never sees a Nextcloud password, and learns who is calling from headers and a signed JWT that it can verify.")
	p.line(".PP")
	p.text("Without a command it serves.")
	p.line(".SH COMMANDS")
	for _, i := range invocations() {
		p.line(".SS anteroom %s", roffInline(strings.TrimSpace(i.path+" "+i.args)))
		p.about(i)
	}
	p.line(".SH ENVIRONMENT")
	p.tagged("ANTEROOM_CONFIG", "The configuration file, where --config does not name it.")
	p.tagged("ANTEROOM_…", "Every key of the configuration: its path in capitals, joined with _. It beats the file. See anteroom.yaml(5).")
	p.tagged("NEXTCLOUD_…", "The names of the integration guide, which the smallest set-up needs alone:")
	p.verbatim("NEXTCLOUD_BASE_URL=https://cloud.example.com", "NEXTCLOUD_CLIENT_ID=...", "NEXTCLOUD_CLIENT_SECRET=...", "NEXTCLOUD_REDIRECT_URI=https://app.example.com/auth/callback", "ANTEROOM_UPSTREAM=http://localhost:8001")
	p.tagged("NOTIFY_SOCKET, WATCHDOG_USEC", "As systemd sets them: Anteroom says when it is ready, when it stops, and that it lives.")
	p.line(".SH SIGNALS")
	p.tagged("SIGTERM, SIGINT", "Stop: requests under way are finished first, within server.drain_timeout.")
	p.tagged("SIGHUP", "Open the audit file anew.")
	p.line(".SH FILES")
	p.tagged("config.yaml", "In the working directory: the configuration, unless another is named.")
	p.tagged("/etc/anteroom/config.yaml", "The configuration of the service that packages install.")
	p.line(".SH EXIT STATUS")
	p.tagged("0", "It did what it was asked to.")
	p.tagged("1", "It could not, or found something wrong.")
	p.tagged("78", "serve: the configuration cannot be used.")
	p.line(".SH SEE ALSO\n\\fBanteroom.yaml\\fR(5)")
}

// about writes what help says of a command.
func (p *page) about(i invoked) {
	var about string
	sys := system{Out: io.Discard, Err: io.Discard, looked: func(fs *flagSet) { about = fs.about }}
	_ = i.run(context.Background(), nil, sys)
	for n, block := range strings.Split(sentence(about), "\n\n") {
		if n > 0 {
			p.line(".PP")
		}
		p.paragraph(block)
	}
	for _, f := range i.flagsOf() {
		takes, text := flagText(f)
		p.line(".TP\n\\fB%s\\fR", strings.TrimSpace(roffInline("--"+f.Name)+" \\fI"+roffInline(takes)))
		p.text(text)
	}
}

// paragraph writes lines; those that are indented stay as they are.
func (p *page) paragraph(block string) {
	if strings.HasPrefix(block, "  ") {
		p.verbatim(strings.Split(strings.ReplaceAll(block, "\n  ", "\n")[2:], "\n")...)
		return
	}
	p.text(strings.Join(strings.Fields(block), " "))
}

func (p *page) configuration() {
	p.title("anteroom.yaml", "5")
	p.line(".SH NAME\nanteroom.yaml \\- the configuration of Anteroom, config.yaml")
	p.line(".SH DESCRIPTION")
	p.text("YAML, read strictly: a key that does not exist is a fault. A key stands below its section:")
	p.verbatim("session:", "  idle_timeout: 1h")
	p.text("Each key that is not in a list has an environment variable, which beats the file. A secret has a twin that names a file with it: signin.client_secret_file here, ANTEROOM_SIGNIN_CLIENT_SECRET_FILE there. Lists in the environment are separated by commas. Durations are written 90s, 30m, 12h. An empty variable counts as unset.")
	p.line(".PP")
	p.text("'anteroom check' says all that is wrong, with line and remedy.")
	section := ""
	for _, k := range configReference() {
		if s, _, below := strings.Cut(strings.ReplaceAll(k.Path, "[]", ""), "."); s != section && (below || section == "") {
			if section = s; !below {
				s = "the application"
			}
			p.line(".SH %s", roffInline(strings.ToUpper(s)))
		}
		p.line(".TP\n\\fB%s\\fR", roffInline(k.Path))
		p.text(k.described())
	}
	p.line(".SH SEE ALSO\n\\fBanteroom\\fR(1)")
}

// described is all there is to say of a key, in sentences.
func (k Key) described() string {
	said := []string{}
	if k.Doc != "" {
		said = append(said, strings.TrimSuffix(sentence(k.Doc), ".")+".")
	}
	if len(k.OneOf) > 0 {
		said = append(said, "One of "+strings.Join(k.OneOf, ", ")+".")
	}
	if k.Default != "" {
		said = append(said, "Default: "+strings.ReplaceAll(k.Default, ",", ", ")+".") // which lines can break at
	}
	if k.Env != "" {
		names := k.Env
		if k.Guide != "" {
			names += " or " + k.Guide
		}
		said = append(said, "Variable: "+names+".")
	}
	if k.Secret {
		said = append(said, "A secret: _file and _FILE name a file with it.")
	}
	return strings.Join(said, " ")
}

// roffInline keeps a text from being read as escapes of roff.
func roffInline(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...", "'", `\(aq`, "`", `\(ga`, "→", `\(->`, "^", `\(ha`, "~", `\(ti`).Replace(s)
}

// roff is roffInline for a line of its own, which is not to be read as a request.
func roff(s string) string {
	s = roffInline(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
