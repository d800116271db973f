//go:build real

package packagetest

import (
	"debug/elf"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"anteroom/demo"
)

const dist = root + "/.cache/packages"

// TestPackages builds deb, rpm and tar.gz, signed with a key of its own, and
// uses each.
func TestPackages(t *testing.T) {
	key := newSigningKey(t)
	must(t, append(published(), "SIGNING_KEY_FILE="+key.private, "NFPM_PASSPHRASE="+key.passphrase), root, "deploy/packages/build")
	t.Run("signatures", key.checkSums)
	t.Run("archives", checkArchives)
	t.Run("deb signature", key.checkDeb)
	t.Run("rpm", key.checkRPM)
	t.Run("lintian", func(t *testing.T) {
		must(t, os.Environ(), root, "lintian", "--fail-on", "error,warning", "--allow-root", "--tag-display-limit", "0", deb())
	})
	t.Run("tar.gz as a service", checkArchiveAsService)
	t.Run("installed", checkInstalled)
}

func deb() string { return ".cache/packages/anteroom_" + release + "-1_amd64.deb" }

// signingKey is an OpenPGP key that is thrown away.
type signingKey struct{ private, public, passphrase, home string }

func newSigningKey(t *testing.T) signingKey {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "gpg") // the agent's socket has a short path
	if err != nil {
		t.Fatal(err)
	}
	k := signingKey{private: dir + "/private.asc", public: dir + "/public.asc", passphrase: "only for this test", home: dir + "/home"}
	if err := os.Mkdir(k.home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.gpg(t, "true")
		exec.Command("gpgconf", "--homedir", k.home, "--kill", "gpg-agent").Run()
		os.RemoveAll(dir)
	})
	secret := []string{"gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", k.passphrase}
	k.gpg(t, append(slices.Clone(secret), "--quick-gen-key", "Test <test@example.com>", "rsa2048", "sign", "never")...)
	k.gpg(t, append(slices.Clone(secret), "--armor", "--output", k.private, "--export-secret-keys")...)
	k.gpg(t, "gpg", "--armor", "--output", k.public, "--export")
	return k
}

func (k signingKey) gpg(t *testing.T, argv ...string) string {
	t.Helper()
	return must(t, append(os.Environ(), "GNUPGHOME="+k.home), root, argv...)
}

// checkSums: the sums are signed and hold; a changed file is found.
func (k signingKey) checkSums(t *testing.T) {
	k.gpg(t, "gpg", "--verify", ".cache/packages/SHA256SUMS.asc", ".cache/packages/SHA256SUMS")
	must(t, os.Environ(), dist, "sha256sum", "--check", "--strict", "SHA256SUMS")
	want := 8 // deb, rpm, tar.gz and SBOM, for two machines
	if got := strings.Count(read(t, dist+"/SHA256SUMS"), "\n"); got != want {
		t.Errorf("%d files have sums, want %d", got, want)
	}
	forged := filepath.Join(t.TempDir(), "SHA256SUMS")
	write(t, forged, strings.ToUpper(read(t, dist+"/SHA256SUMS")))
	if out, err := try(append(os.Environ(), "GNUPGHOME="+k.home), root, "gpg", "--verify", ".cache/packages/SHA256SUMS.asc", forged); err == nil {
		t.Errorf("sums that were changed verify: %s", out)
	}
}

// checkDeb: the signature within the deb covers its parts.
func (k signingKey) checkDeb(t *testing.T) {
	dir := t.TempDir()
	file, err := filepath.Abs(filepath.Join(root, deb()))
	if err != nil {
		t.Fatal(err)
	}
	must(t, os.Environ(), dir, "ar", "x", file)
	must(t, append(os.Environ(), "GNUPGHOME="+k.home), dir, "sh", "-c", "cat debian-binary control.tar.* data.tar.* | gpg --verify _gpgorigin -")
}

func (k signingKey) checkRPM(t *testing.T) {
	db := t.TempDir()
	must(t, nil, "", "/usr/bin/rpm", "--dbpath", db, "--import", k.public)
	for _, arch := range []string{"x86_64", "aarch64"} {
		file := ".cache/packages/anteroom-" + release + "-1." + arch + ".rpm"
		if out := must(t, os.Environ(), root, "rpm", "--dbpath", db, "--checksig", "--verbose", file); !strings.Contains(out, "Signature, key ID") || strings.Contains(out, "NOKEY") || strings.Contains(out, "BAD") {
			t.Errorf("the signature of %s:\n%s", file, out)
		}
		files := must(t, os.Environ(), root, "rpm", "--dbpath", db, "--query", "--list", "--package", file)
		for _, want := range []string{"/usr/bin/anteroom", "/etc/anteroom/config.yaml", "/usr/lib/systemd/system/anteroom.service", "/usr/lib/sysusers.d/anteroom.conf", "/usr/share/man/man1/anteroom.1.gz", "/usr/share/zsh/site-functions/_anteroom"} {
			if !slices.Contains(strings.Fields(files), want) {
				t.Errorf("%s lacks %s", file, want)
			}
		}
	}
}

// checkArchives: each has the program of its machine, and what belongs to it.
func checkArchives(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		dir, name := t.TempDir(), "anteroom-"+release+"-linux-"+arch
		must(t, os.Environ(), root, "tar", "-xzf", ".cache/packages/"+name+".tar.gz", "-C", dir)
		checkMachine(t, filepath.Join(dir, name, "anteroom"), machine)
		for _, want := range []string{"LICENSE", "config.yaml", "anteroom.1", "anteroom.yaml.5", "completions/anteroom.fish", "systemd/anteroom.service", "systemd/logrotate"} {
			if read(t, filepath.Join(dir, name, want)) == "" {
				t.Errorf("%s of %s is empty", want, name)
			}
		}
		sbom := read(t, filepath.Join(dir, name, "sbom.cdx.json"))
		for _, want := range []string{`"bomFormat": "CycloneDX"`, `"pkg:golang/anteroom@` + release, "pkg:golang/github.com/redis/go-redis/v9@"} {
			if !strings.Contains(sbom, want) {
				t.Errorf("the SBOM of %s lacks %s", arch, want)
			}
		}
	}
}

// checkArchiveAsService does what docs/install.md says of the tar.gz, where nobody
// else sees it: the unit is one that systemd takes, and starts a program that is
// there, as a user that is there and may read its configuration.
func checkArchiveAsService(t *testing.T) {
	const mark = "<!-- tested: tar.gz -->\n```sh\n"
	var commands strings.Builder
	for _, after := range strings.Split(read(t, root+"/docs/install.md"), mark)[1:] {
		block, _, _ := strings.Cut(after, "```")
		commands.WriteString(block)
	}
	if commands.Len() == 0 {
		t.Fatal("docs/install.md says nothing of the tar.gz")
	}
	dir := t.TempDir()
	must(t, os.Environ(), root, "tar", "-xzf", ".cache/packages/anteroom-"+release+"-linux-amd64.tar.gz", "-C", dir)
	const check = `
systemd-analyze verify /etc/systemd/system/anteroom.service
man -l /usr/local/share/man/man1/anteroom.1.gz >/dev/null
man -l /usr/local/share/man/man5/anteroom.yaml.5.gz >/dev/null
for folder in /var/lib/anteroom /var/log/anteroom; do setpriv "$@" test -w $folder; done
code=0
setpriv "$@" $(sed -n 's/^ExecStart=//p' /etc/systemd/system/anteroom.service) || code=$?
echo "ended with $code"
`
	script := "set -eu\nd=$1 folder=$2\nshift 2\nmount -t tmpfs tmpfs $d\n" +
		"for x in etc usr var; do mkdir -p $d/$x/upper $d/$x/work; mount -t overlay overlay -o lowerdir=/$x,upperdir=$d/$x/upper,workdir=$d/$x/work /$x; done\n" +
		"cd $folder\ninstall -m 0755 anteroom /usr/bin/anteroom\n" + commands.String() + check
	argv := []string{"unshare", "--mount", "--propagation", "private", "bash", "-c", script, "bash", t.TempDir(), filepath.Join(dir, "anteroom-"+release+"-linux-amd64")}
	out := must(t, append(os.Environ(), "PATH=/usr/bin:/bin:/usr/sbin:/sbin"), "", append(argv, asService(t)...)...)
	if !strings.Contains(out, "nextcloud.url") || !strings.HasSuffix(out, "ended with 78\n") {
		t.Errorf("the service of the tar.gz, without a configuration:\n%s\nwant 78 and the keys", out)
	}
}

// checkInstalled installs the deb, sets it up, runs it as its unit does, and
// removes it again.
func checkInstalled(t *testing.T) {
	if out, err := try(os.Environ(), "", "dpkg-query", "-W", "anteroom"); err == nil {
		t.Fatalf("anteroom is installed here already, and would be removed: %s", out)
	}
	t.Cleanup(func() {
		try(os.Environ(), "", "dpkg", "--purge", "anteroom")
		try(os.Environ(), "", "userdel", "anteroom")
	})
	out := must(t, os.Environ(), root, "dpkg", "--install", deb())
	if !strings.Contains(out, "anteroom check --config /etc/anteroom/config.yaml") {
		t.Errorf("installing says nothing of what to do next:\n%s", out)
	}
	if out := must(t, nil, "", "/usr/bin/anteroom", "version"); !strings.Contains(out, "anteroom "+release+" (commit "+commit) {
		t.Errorf("version = %s", out)
	}
	t.Run("unit", checkUnit)
	t.Run("manual", checkManual)
	t.Run("completions", checkCompletions)
	t.Run("unconfigured", checkUnconfigured)
	t.Run("serves", checkServing)
	t.Run("reinstalled", func(t *testing.T) { // as an upgrade does: what was changed stays
		before := read(t, "/etc/anteroom/config.yaml")
		must(t, os.Environ(), root, "dpkg", "--install", deb())
		if read(t, "/etc/anteroom/config.yaml") != before {
			t.Error("installing again changes the configuration")
		}
	})
	t.Run("reinstalled without a configuration", checkNoConfiguration)
	t.Run("removed", checkRemoved)
}

// checkNoConfiguration: an administrator who removed config.yaml has it stay so,
// and no upgrade fails.
func checkNoConfiguration(t *testing.T) {
	const file, aside = "/etc/anteroom/config.yaml", "/etc/anteroom/aside"
	if err := os.Rename(file, aside); err != nil {
		t.Fatal(err)
	}
	must(t, os.Environ(), root, "dpkg", "--install", deb())
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("after installing again: %v, want no %s", err, file)
	}
	if state := must(t, os.Environ(), "", "dpkg-query", "-W", "-f", "${db:Status-Abbrev}", "anteroom"); strings.TrimSpace(state) != "ii" {
		t.Errorf("the package is %q, want it configured", state)
	}
	if err := os.Rename(aside, file); err != nil {
		t.Fatal(err)
	}
}

// checkUnit holds the installed unit against systemd's own judgement.
func checkUnit(t *testing.T) {
	const unit = "/lib/systemd/system/anteroom.service"
	if out := must(t, os.Environ(), "", "systemd-analyze", "verify", unit); strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	out := must(t, os.Environ(), "", "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit)
	exposure := regexp.MustCompile(`Overall exposure level for anteroom.service: ([0-9.]+)`).FindStringSubmatch(out)
	if exposure == nil {
		t.Fatalf("systemd-analyze security:\n%s", out)
	}
	if level, err := strconv.ParseFloat(exposure[1], 64); err != nil || level >= 2 {
		t.Errorf("exposure = %s, want below 2.0", exposure[1])
	}
	t.Logf("exposure %s", exposure[1])

	// The example of credentials is a drop-in that systemd takes.
	dir := t.TempDir()
	write(t, dir+"/anteroom.service", read(t, unit))
	write(t, dir+"/anteroom.service.d/credentials.conf", read(t, "/usr/share/doc/anteroom/credentials.conf"))
	if out := must(t, os.Environ(), "", "systemd-analyze", "verify", dir+"/anteroom.service"); strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify with credentials.conf: %s", out)
	}
}

func checkManual(t *testing.T) {
	for _, page := range []string{"/usr/share/man/man1/anteroom.1.gz", "/usr/share/man/man5/anteroom.yaml.5.gz"} {
		cmd := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", page)
		cmd.Env = append(os.Environ(), "MANWIDTH=80", "LC_ALL=C.UTF-8", "MANPAGER=cat")
		var warnings strings.Builder
		cmd.Stderr = &warnings
		if out, err := cmd.Output(); err != nil || warnings.String() != "" || len(out) < 4000 {
			t.Errorf("man %s = %v, %d bytes, and warns:\n%s", page, err, len(out), warnings.String())
		}
		if out, err := try(os.Environ(), "", "sh", "-c", "gzip -dc "+page+" | mandoc -T lint -W warning"); err != nil || out != "" {
			t.Errorf("mandoc finds in %s: %v\n%s", page, err, out)
		}
	}
}

// checkCompletions asks the shells themselves.
func checkCompletions(t *testing.T) {
	for shell, line := range map[string][]string{
		"bash": {"bash", "--norc", "-c", `. /usr/share/bash-completion/completions/anteroom; COMP_WORDS=(anteroom sess); COMP_CWORD=1; _anteroom; echo "${COMPREPLY[@]}"
COMP_WORDS=(anteroom sessions revoke --us); COMP_CWORD=3; _anteroom; echo "${COMPREPLY[@]}"`},
		"fish": {"fish", "--no-config", "-c", "source /usr/share/fish/vendor_completions.d/anteroom.fish; complete -C 'anteroom sess'; complete -C 'anteroom sessions revoke --us'"},
		"zsh":  {"zsh", "-f", "-c", zshAsks},
	} {
		cmd := exec.Command(line[0], line[1:]...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "TERM=xterm")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "sessions") || !strings.Contains(string(out), "--user") {
			t.Errorf("%s completes with %v:\n%s", shell, err, out)
		}
	}
}

// zshAsks types into a zsh on a terminal of its own, for zsh completes nowhere else.
const zshAsks = `
zmodload zsh/zpty
zpty -b z zsh -f
ask() { zpty -w z "$1"; local text deadline=$((SECONDS + 10)); while ((SECONDS < deadline)); do zpty -r -t z text && print -rn -- "$text"; [[ $text == *"$2"* ]] && break; sleep 0.05; done; }
ask "PS1=; fpath=(/usr/share/zsh/vendor-completions \$fpath); autoload -Uz compinit && compinit -u -D; print rea''dy" ready
zpty -w -n z $'anteroom sess\t revoke --us\t'
ask "" --user
zpty -d z
`

// checkUnconfigured: the service, as it is installed, says what it lacks and
// ends with the code that keeps systemd from trying again.
func checkUnconfigured(t *testing.T) {
	cmd := exec.Command("setpriv", asService(t, execStart(t)...)...)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 78 || !strings.Contains(string(out), "nextcloud.url") || !strings.Contains(string(out), "signin.client_id") {
		t.Errorf("the service without a configuration ends with %d:\n%s\nwant 78 and the keys", code, out)
	}
	if unit := read(t, "/lib/systemd/system/anteroom.service"); !strings.Contains(unit, "RestartPreventExitStatus=78") {
		t.Error("the unit restarts what a restart does not mend")
	}
}

// execStart is what the unit starts.
func execStart(t *testing.T) []string {
	t.Helper()
	for _, line := range strings.Split(read(t, "/lib/systemd/system/anteroom.service"), "\n") {
		if command, ok := strings.CutPrefix(line, "ExecStart="); ok {
			return strings.Fields(command)
		}
	}
	t.Fatal("the unit starts nothing")
	return nil
}

// asService are setpriv's arguments for what systemd does before it starts.
func asService(t *testing.T, argv ...string) []string {
	t.Helper()
	return append([]string{"--reuid=anteroom", "--regid=anteroom", "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"}, argv...)
}

// checkServing fills in the obvious, as the file's comments say, and starts the
// unit's command under strace: what it asks of the kernel has to be within the
// unit's SystemCallFilter.
func checkServing(t *testing.T) {
	at := newPlace(t)
	config := read(t, "/etc/anteroom/config.yaml")
	for from, to := range map[string]string{
		"#upstream: http://localhost:8001":                     "upstream: " + at.app,
		"#url: https://cloud.example.com":                      "url: " + at.nextcloud,
		"#client_id: s8dh2k3j4h5k6j7h8k9j0":                    "client_id: " + demo.DefaultClientID,
		"#client_secret_file:":                                 "client_secret_file:",
		"#redirect_uri: https://app.example.com/auth/callback": "redirect_uri: " + at.url + "/auth/callback",
		`listen: ":8000"`:                                      "listen: " + at.listen,
		"admin_listen: 127.0.0.1:9090":                         "admin_listen: " + at.admin,
	} {
		if !strings.Contains(config, from) {
			t.Errorf("/etc/anteroom/config.yaml has no line %s", from)
		}
		config = strings.Replace(config, from, to, 1)
	}
	file, err := os.OpenFile("/etc/anteroom/config.yaml", os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file.WriteString(config)
	file.Close()
	secret := exec.Command("install", "-o", "root", "-g", "anteroom", "-m", "0640", "/dev/stdin", "/etc/anteroom/secrets/client_secret") // as the file says
	secret.Stdin = strings.NewReader(demo.DefaultClientSecret + "\n")
	if out, err := secret.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, nil, "", "/usr/bin/anteroom", "check", "--config", "/etc/anteroom/config.yaml")

	trace := filepath.Join(t.TempDir(), "trace")
	p := launch(t, []string{"PATH=/usr/bin:/bin"}, append([]string{"strace", "-D", "-f", "-qq", "-o", trace, "setpriv"}, asService(t, execStart(t)...)...)...)
	p.until(t, "healthcheck", func() error {
		if out, err := try(nil, "", "/usr/bin/anteroom", "healthcheck", "--config", "/etc/anteroom/config.yaml"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	at.signsIn(t)
	if resp, err := http.Get("http://" + at.admin + "/metrics"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("/metrics = %v, %v", resp, err)
	}
	p.stop(t)
	owner, err := user.Lookup("anteroom")
	if err != nil {
		t.Fatal(err)
	}
	if out := must(t, nil, "", "/usr/bin/stat", "-c", "%u %a", "/var/log/anteroom/audit.log"); strings.TrimSpace(out) != owner.Uid+" 600" {
		t.Errorf("the audit log is %s, want %s 600", out, owner.Uid)
	}
	must(t, nil, "", "/usr/bin/anteroom", "audit", "verify", "--unsigned", "/var/log/anteroom/audit.log")
	checkSystemCalls(t, read(t, trace))
}

// checkSystemCalls: what the program asked of the kernel since it was started is
// in systemd's group for services, and in none of those that the unit takes out.
func checkSystemCalls(t *testing.T, trace string) {
	_, ours, found := strings.Cut(trace, `execve("/usr/bin/anteroom"`)
	if !found {
		t.Fatalf("strace saw no start:\n%.2000s", trace)
	}
	allowed := systemCalls(t, "@system-service")
	for _, group := range []string{"@privileged", "@resources", "@obsolete"} {
		for call := range systemCalls(t, group) {
			delete(allowed, call)
		}
	}
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\d+ +([a-z0-9_]+)\(`).FindAllStringSubmatch(ours, -1) {
		used[m[1]] = true
	}
	if len(used) < 15 {
		t.Errorf("strace saw only %v", used)
	}
	for call := range used {
		if !allowed[call] {
			t.Errorf("the program uses %s, which the unit forbids", call)
		}
	}
}

// systemCalls are those of a group of systemd's, with the groups in it.
func systemCalls(t *testing.T, group string) map[string]bool {
	t.Helper()
	calls := map[string]bool{}
	for _, word := range strings.Fields(must(t, os.Environ(), "", "systemd-analyze", "syscall-filter", group)) {
		switch {
		case word == group || strings.HasPrefix(word, "#"):
		case strings.HasPrefix(word, "@"):
			for call := range systemCalls(t, word) {
				calls[call] = true
			}
		default:
			calls[word] = true
		}
	}
	return calls
}

// checkRemoved: removal leaves the configuration and what was written, purging
// nothing but the user.
func checkRemoved(t *testing.T) {
	must(t, os.Environ(), "", "dpkg", "--remove", "anteroom")
	for _, name := range []string{"/etc/anteroom/config.yaml", "/etc/anteroom/secrets/client_secret", "/var/log/anteroom/audit.log"} {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("after removal: %v, want it kept", err)
		}
	}
	if _, err := os.Stat("/usr/bin/anteroom"); !os.IsNotExist(err) {
		t.Errorf("after removal /usr/bin/anteroom: %v, want it gone", err)
	}
	must(t, os.Environ(), "", "dpkg", "--purge", "anteroom")
	left := must(t, os.Environ(), "", "find", "/etc", "/usr/bin", "/usr/lib", "/usr/share", "/lib/systemd", "/var", "-xdev", "-iname", "*anteroom*", "-not", "-path", "/var/cache/man/*")
	if left != "" {
		t.Errorf("after purging there is:\n%s", left)
	}
	if _, err := user.Lookup("anteroom"); err != nil {
		t.Errorf("after purging: %v; the user stays, for files may be theirs", err)
	}
}
