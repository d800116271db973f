//go:build real

package packagetest

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"anteroom/demo"
	"anteroom/test/loopback"
)

// mostImage is how large the image may be, as registries keep and send it.
const mostImage = 25 << 20

// TestImage builds the unchanged Dockerfile with buildah, on a builder image that
// is made here of the Go that runs this test, and runs the result as a
// container runtime would: as a user without rights, on a root that is read-only.
func TestImage(t *testing.T) {
	b := newBuilder(t)
	b.build(t, "localhost/anteroom")
	t.Run("configuration", func(t *testing.T) { b.checkConfiguration(t) })
	t.Run("size", func(t *testing.T) { b.checkSize(t) })
	rootfs := b.mount(t, "localhost/anteroom:"+release)
	t.Run("files", func(t *testing.T) { checkFiles(t, rootfs) })
	t.Run("reproducible", func(t *testing.T) { checkReproducible(t, rootfs) })
	c := newContainer(t, rootfs)
	t.Run("serves", func(t *testing.T) { c.checkServing(t) })
	t.Run("read-only", func(t *testing.T) { c.checkReadOnly(t) })
	t.Run("demo", func(t *testing.T) { c.checkDemo(t) })
}

// TestImageForArm64: the compiler crosses over where the target is another
// machine.
func TestImageForArm64(t *testing.T) {
	b := newBuilder(t)
	b.build(t, "localhost/anteroom-arm64", "--build-arg", "TARGETOS=linux", "--build-arg", "TARGETARCH=arm64")
	checkMachine(t, filepath.Join(b.mount(t, "localhost/anteroom-arm64:"+release), "anteroom"), elf.EM_AARCH64)
}

// TestImageWithoutBuilder: it is said what to install.
func TestImageWithoutBuilder(t *testing.T) {
	bin := t.TempDir()
	for _, tool := range []string{"bash", "dirname", "git", "date", "env"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := try([]string{"PATH=" + bin, "VERSION=" + release, "COMMIT=" + commit, "SOURCE_DATE_EPOCH=1"}, root, "deploy/packages/image")
	if err == nil || !strings.Contains(out, "apt-get install buildah") {
		t.Errorf("without docker and buildah = %v, %s; want a remedy", err, out)
	}
}

func checkMachine(t *testing.T, file string, want elf.Machine) {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Machine != want {
		t.Errorf("%s is for %v, want %v", file, f.Machine, want)
	}
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("%s needs %v (%v), want a static program", file, libs, err)
	}
}

// builder is buildah with a store of its own.
type builder struct{ command []string }

func newBuilder(t *testing.T) *builder {
	t.Helper()
	dir := t.TempDir()
	b := &builder{command: []string{"buildah", "--storage-driver", "overlay", "--root", filepath.Join(dir, "store"), "--runroot", filepath.Join(dir, "run")}}
	t.Cleanup(func() { b.run(t, "rm", "--all"); b.run(t, "rmi", "--all", "--force") })
	b.makeBase(t, filepath.Join(dir, "base"))
	return b
}

func (b *builder) run(t *testing.T, args ...string) string {
	t.Helper()
	return must(t, os.Environ(), root, append(slices.Clone(b.command), args...)...)
}

// makeBase makes what stands in for the image that the Dockerfile begins with:
// a shell, certificate authorities, and a place where Go is mounted.
func (b *builder) makeBase(t *testing.T, dir string) {
	t.Helper()
	bin := filepath.Join(dir, "root", "bin")
	write(t, filepath.Join(dir, "root/etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")
	write(t, filepath.Join(dir, "root/etc/ssl/certs/ca-certificates.crt"), read(t, "/etc/ssl/certs/ca-certificates.crt"))
	for _, d := range []string{"bin", "tmp", "usr/local/go", "go/pkg/mod", "root/.cache/go-build"} {
		if err := os.MkdirAll(filepath.Join(dir, "root", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	must(t, nil, "", "/bin/cp", "/bin/busybox", bin+"/busybox")
	must(t, nil, "", "/bin/busybox", "--install", "-s", bin)
	for _, applet := range strings.Fields(must(t, nil, "", "/bin/busybox", "--list")) {
		if link := filepath.Join(bin, applet); applet != "busybox" {
			os.Remove(link)
			if err := os.Symlink("busybox", link); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, filepath.Join(dir, "Dockerfile"), "FROM scratch\nCOPY root /\nENV PATH=/usr/local/go/bin:/bin HOME=/root GOPATH=/go\n")
	base := ""
	for _, line := range strings.Split(read(t, root+"/Dockerfile"), "\n") {
		if tag, ok := strings.CutPrefix(line, "ARG GO="); ok {
			base = "docker.io/library/golang:" + tag
		}
	}
	if base == "" {
		t.Fatal("the Dockerfile names no version of Go")
	}
	b.run(t, "bud", "--isolation", "chroot", "--pull-never", "-t", base, dir)
}

// build is "make image" with what a machine without a network for containers
// needs besides: Go, its modules and what it has compiled are this machine's.
func (b *builder) build(t *testing.T, name string, args ...string) {
	t.Helper()
	must(t, os.Environ(), root, "go", "mod", "download")
	dir := func(name string) string { return strings.TrimSpace(must(t, os.Environ(), root, "go", "env", name)) }
	args = append(args, "--isolation", "chroot", "--pull-never", "--build-arg", "GOPROXY=off", "--build-arg", "GOSUMDB=off",
		"-v", dir("GOROOT")+":/usr/local/go:ro", "-v", dir("GOMODCACHE")+":/go/pkg/mod", "-v", dir("GOCACHE")+":/root/.cache/go-build")
	env := append(published(), "IMAGE="+name, "IMAGE_BUILDER="+strings.Join(b.command, " "))
	must(t, env, root, append([]string{"make", "--no-print-directory", "image", "ARGS=" + strings.Join(args, " ")}, "-s")...)
}

func (b *builder) mount(t *testing.T, image string) string {
	t.Helper()
	container := strings.TrimSpace(b.run(t, "from", "--pull-never", image))
	return strings.TrimSpace(b.run(t, "mount", container))
}

func (b *builder) checkConfiguration(t *testing.T) {
	var image struct {
		Docker struct {
			Config struct {
				User         string
				ExposedPorts map[string]struct{}
				Entrypoint   []string
				Labels       map[string]string
				Healthcheck  struct{ Test []string }
			} `json:"config"`
		} `json:"Docker"`
	}
	if err := json.Unmarshal([]byte(b.run(t, "inspect", "--type", "image", "localhost/anteroom:"+release)), &image); err != nil {
		t.Fatal(err)
	}
	got := image.Docker.Config
	delete(got.Labels, "io.buildah.version")
	want := got
	want.User, want.Entrypoint, want.Healthcheck.Test = "65532:65532", []string{"/anteroom"}, []string{"CMD", "/anteroom", "healthcheck"}
	want.ExposedPorts = map[string]struct{}{"8000/tcp": {}, "9090/tcp": {}}
	want.Labels = map[string]string{
		"org.opencontainers.image.title": "Anteroom", "org.opencontainers.image.description": "Signs people in with Nextcloud in front of any application",
		"org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.version": release,
		"org.opencontainers.image.revision": commit, "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the image's configuration (-want +got):\n%s", diff)
	}
}

func (b *builder) checkSize(t *testing.T) {
	dir := t.TempDir()
	b.run(t, "push", "localhost/anteroom:"+release, "oci:"+dir)
	var size int64
	err := filepath.WalkDir(filepath.Join(dir, "blobs"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		size += info.Size()
		return err
	})
	if err != nil || size < 1<<20 || size > mostImage {
		t.Errorf("the image is of %d bytes (%v), want at most %d", size, err, mostImage)
	}
	t.Logf("the image, as a registry keeps it: %.1f MB", float64(size)/1e6)
}

// checkFiles: nothing is in it but what the Dockerfile says.
func checkFiles(t *testing.T, rootfs string) {
	var got []string
	err := filepath.WalkDir(rootfs, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			got = append(got, strings.TrimPrefix(path, rootfs))
		}
		return err
	})
	if diff := cmp.Diff([]string{"/LICENSE", "/anteroom", "/etc/ssl/certs/ca-certificates.crt"}, got); err != nil || diff != "" {
		t.Errorf("files of the image (-want +got): %v\n%s", err, diff)
	}
	info, err := os.Stat(filepath.Join(rootfs, "anteroom"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the program: %.1f MB", float64(info.Size())/1e6)
}

// checkReproducible: the same commit, compiled in another folder and outside of
// any container, is the same program.
func checkReproducible(t *testing.T, rootfs string) {
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	must(t, os.Environ(), "", "git", "clone", "--quiet", "--no-checkout", "--shared", root, elsewhere)
	files := must(t, os.Environ(), root, "git", "ls-files", "-z", "--", "go.mod", "go.sum", "*.go", "demo", "integrations", "proxy", "session", "deploy/packages/compile")
	for _, name := range strings.Split(strings.Trim(files, "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			continue // removed, and not committed yet
		}
		write(t, filepath.Join(elsewhere, name), read(t, filepath.Join(root, name)))
	}
	must(t, published(), elsewhere, "sh", "deploy/packages/compile", filepath.Join(elsewhere, "anteroom"))
	if read(t, filepath.Join(elsewhere, "anteroom")) != read(t, filepath.Join(rootfs, "anteroom")) {
		t.Error("two builds of the same files differ, want the same bytes")
	}
}

// container is the image's files with what every runtime adds to them.
type container struct{ rootfs string }

func newContainer(t *testing.T, rootfs string) container {
	t.Helper()
	write(t, filepath.Join(rootfs, "etc/hosts"), "127.0.0.1 localhost\n")
	write(t, filepath.Join(rootfs, "etc/resolv.conf"), "")
	write(t, filepath.Join(rootfs, "run/secrets/client_secret"), demo.DefaultClientSecret+"\n")
	return container{rootfs}
}

// line runs a program of the container on a read-only root, as the image's user
// and without any capability or way to get one.
func (c container) line(args ...string) []string {
	script := `mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+sys_chroot,+setuid,+setgid chroot --userspec=65532:65532 "$0" "$@"`
	return append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c", script, c.rootfs}, args...)
}

func (c container) checkServing(t *testing.T) {
	at := newPlace(t)
	env := []string{
		"PATH=" + os.Getenv("PATH"), "NEXTCLOUD_BASE_URL=" + at.nextcloud, "NEXTCLOUD_CLIENT_ID=" + demo.DefaultClientID, "NEXTCLOUD_CLIENT_SECRET_FILE=/run/secrets/client_secret",
		"NEXTCLOUD_REDIRECT_URI=" + at.url + "/auth/callback", "ANTEROOM_UPSTREAM=" + at.app,
		"ANTEROOM_SERVER_LISTEN=" + at.listen, "ANTEROOM_SERVER_ADMIN_LISTEN=" + at.admin,
	}
	if out, err := try(env, "", c.line("/anteroom", "healthcheck")...); err == nil || !strings.Contains(out, "connection refused") {
		t.Errorf("healthcheck before anything runs = %v, %s; want a failure", err, out)
	}
	p := launch(t, env, c.line("/anteroom")...)
	p.until(t, "healthcheck", func() error {
		out, err := try(env, "", c.line("/anteroom", "healthcheck")...)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	at.signsIn(t)
	status := read(t, fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for _, want := range []string{"Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(status, want) {
			t.Errorf("the process is not %q:\n%s", want, status)
		}
	}
}

// checkReadOnly: what it is told to write where nothing can be written is said.
func (c container) checkReadOnly(t *testing.T) {
	at := newPlace(t)
	out, err := try([]string{
		"PATH=" + os.Getenv("PATH"), "NEXTCLOUD_BASE_URL=" + at.nextcloud, "NEXTCLOUD_CLIENT_ID=" + demo.DefaultClientID, "NEXTCLOUD_REDIRECT_URI=" + at.url + "/auth/callback",
		"ANTEROOM_UPSTREAM=" + at.app, "ANTEROOM_SERVER_LISTEN=" + at.listen, "ANTEROOM_SERVER_ADMIN_LISTEN=" + at.admin, "ANTEROOM_AUDIT_OUTPUT=/audit.log",
	}, "", c.line("/anteroom")...)
	if err == nil || !strings.Contains(out, "read-only file system") {
		t.Errorf("an audit log on the read-only root = %v, %s; want it refused", err, out)
	}
}

func (c container) checkDemo(t *testing.T) {
	at := place{listen: loopback.Address(t)}
	at.url = "http://localhost:" + port(at.listen)
	p := launch(t, []string{"PATH=" + os.Getenv("PATH")}, c.line("/anteroom", "demo", "--listen", "localhost:"+port(at.listen),
		"--nextcloud-listen", "localhost:"+loopback.Port(t), "--app-listen", "localhost:"+loopback.Port(t))...)
	p.until(t, "starting", func() error {
		if !strings.Contains(p.printed(), at.url) {
			return fmt.Errorf("has not printed %s", at.url)
		}
		return nil
	})
	page, err := signInAtDemo(at.url)
	if err != nil || !strings.Contains(page, "testdoc@example.com") {
		t.Errorf("signing in at the demo = %v, %s", err, page)
	}
}
