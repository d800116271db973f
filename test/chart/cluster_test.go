//go:build real

package charttest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"anteroom/test/loopback"
)

// cluster is a kube-apiserver over an etcd, on loopback. It takes objects in, or
// does not; nothing runs pods.
type cluster struct {
	kubeconfig string
}

// TestCluster has a real apiserver take in what the chart renders.
func TestCluster(t *testing.T) {
	c := startCluster(t)
	c.apply(t, "testdata/crds")
	c.mustKubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
	c.mustKubectl(t, "create", "namespace", namespace)
	for _, mode := range []string{"enforce", "warn"} {
		c.mustKubectl(t, "label", "namespace", namespace, "pod-security.kubernetes.io/"+mode+"=restricted")
	}
	t.Run("schemas", c.testSchemas)
	t.Run("refuses", c.testRefuses)
	t.Run("takes", c.testTakes)
	t.Run("notes", c.testNotes)
	t.Run("life", c.testLife)
}

// testRefuses sees that the apiserver would say no.
func (c *cluster) testRefuses(t *testing.T) {
	const pod = `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}`
	if _, err := c.dryRun(pod); err == nil || !strings.Contains(err.Error(), "violates PodSecurity") {
		t.Errorf("a pod that may become root is answered %v, want a refusal by PodSecurity", err)
	}
	const rule = `{"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": "m"}, "spec": {"selector": {}, "endpoints": [], "endpoint": []}}`
	if _, err := c.dryRun(rule); err == nil || !strings.Contains(err.Error(), "spec.endpoint:") && !strings.Contains(err.Error(), `"spec.endpoint"`) {
		t.Errorf("an unknown field is answered %v, want a refusal that names it", err)
	}
}

// testTakes has every object of every set accepted, and the pods of its Deployments
// and StatefulSets, which Pod Security judges.
func (c *cluster) testTakes(t *testing.T) {
	eachSet(t, func(t *testing.T, _, rendered string) {
		said, err := c.dryRun(rendered)
		if err != nil {
			t.Fatal(err)
		}
		list := objects(t, rendered)
		if got := strings.Count(said, "serverside-applied (server dry run)"); got != len(list) {
			t.Errorf("%d objects were taken in of %d:\n%s", got, len(list), said)
		}
		var pods []string
		for _, o := range list {
			if o.kind() == "Pod" {
				continue
			}
			if spec, _ := podSpec(o); spec != nil {
				pods = append(pods, podOf(t, o))
			}
		}
		if len(pods) == 0 {
			return
		}
		if _, err := c.dryRun(strings.Join(pods, "\n---\n")); err != nil {
			t.Errorf("the pods: %v", err)
		}
	})
}

// podOf is the pod that a Deployment or StatefulSet would make. Its claims of
// volumes are of the StatefulSet's making, and become empty ones.
func podOf(t *testing.T, o object) string {
	t.Helper()
	pod := object(o.at("spec", "template").(map[string]any))
	pod["apiVersion"], pod["kind"] = "v1", "Pod"
	pod["metadata"].(map[string]any)["name"] = strings.ToLower(o.kind()) + "-" + o.name()
	spec := pod["spec"].(map[string]any)
	if claims, ok := o.at("spec", "volumeClaimTemplates").([]any); ok {
		for _, claim := range claims {
			name := object(claim.(map[string]any)).name()
			spec["volumes"] = append(spec["volumes"].([]any), map[string]any{"name": name, "emptyDir": map[string]any{}})
		}
	}
	out, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// testLife installs, changes, takes back and removes a release.
func (c *cluster) testLife(t *testing.T) {
	helm := func(argv ...string) string {
		t.Helper()
		out, err := c.run("", append([]string{tool("helm"), "--namespace", namespace}, argv...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	values := []string{release, chart, "--values", "testdata/values/production.yaml"}
	helm(append([]string{"install"}, values...)...)
	secrets, first := c.secrets(t), c.checksum(t)
	if len(secrets) != 4 {
		t.Fatalf("%d secrets were made, want 4", len(secrets))
	}

	helm(append([]string{"upgrade"}, values...)...)
	if got := c.checksum(t); got != first {
		t.Error("an upgrade that changes nothing would replace pods")
	}
	helm(append([]string{"upgrade", "--set", "config.telemetry.log_level=debug"}, values...)...)
	if got := c.checksum(t); got == first {
		t.Error("a changed configuration would replace no pod")
	}
	if diff := differenceOf(secrets, c.secrets(t)); diff != "" {
		t.Errorf("an upgrade exchanges secrets: %s", diff)
	}

	helm("rollback", release, "1")
	if got := c.checksum(t); got != first {
		t.Error("a rollback leaves the configuration changed")
	}
	if diff := differenceOf(secrets, c.secrets(t)); diff != "" {
		t.Errorf("a rollback exchanges secrets: %s", diff)
	}
	c.testExchanged(t, helm, values)

	helm("uninstall", release)
	left := c.mustKubectl(t, "get", "all,ingress,networkpolicy,pdb,configmap,secret,serviceaccount,servicemonitor,prometheusrule", "-n", namespace, "-l", "app.kubernetes.io/instance="+release, "-o", "name")
	if strings.TrimSpace(left) != "" {
		t.Errorf("an uninstall leaves\n%s", left)
	}
}

// testExchanged exchanges a key in the chart's own Secret: an upgrade keeps the new
// one, and a rollback brings the old one back, as docs/kubernetes.md warns.
func (c *cluster) testExchanged(t *testing.T, helm func(...string) string, values []string) {
	t.Helper()
	const key = release + "/session-keys"
	old, exchanged := c.secrets(t)[key], base64.StdEncoding.EncodeToString([]byte("exchanged"))
	c.mustKubectl(t, "patch", "secret", release, "-n", namespace, "--patch", `{"data":{"session-keys":"`+exchanged+`"}}`)
	helm(append([]string{"upgrade"}, values...)...)
	if c.secrets(t)[key] != exchanged {
		t.Error("an upgrade takes back a key that was exchanged")
	}
	helm("rollback", release, "1")
	if c.secrets(t)[key] != old {
		t.Error("a rollback leaves a key that was exchanged since; docs/kubernetes.md says otherwise")
	}
}

// testNotes looks at what an install says is next.
func (c *cluster) testNotes(t *testing.T) {
	for values, want := range map[string][]string{
		"minimal":              {"https://voiceassist.example.com/auth/callback", "helm test anteroom --namespace web", "Sessions are in the pod's memory", "secrets.values are kept in Helm's release", "networkPolicy.application"},
		"forward-auth-traefik": {"web-anteroom-clean@kubernetescrd,web-anteroom@kubernetescrd"},
		"forward-auth-nginx":   {"auth-url: http://anteroom.web.svc.cluster.local:8000/auth/verify/nginx", "X-Forwarded-Groups-Truncated,Authorization,Cookie,X-Request-Id"},
		"forward-auth-envoy":   {"backendRefs: [{name: anteroom, namespace: web, port: 9191}]"},
		"gateway":              {"3. Open https://voiceassist.example.com and sign in."},
		"sidecar":              {"helm test anteroom --namespace web", `--selector app=notes --output name | head -n 1)" -- /anteroom doctor`, "3. Open https://notes.example.com and sign in."},
	} {
		notes := c.notes(t, "--values", "testdata/values/"+values+".yaml")
		for _, w := range want {
			if !strings.Contains(notes, w) {
				t.Errorf("%s: the notes lack %q:\n%s", values, w, notes)
			}
		}
	}
	holdAnnotations(t, "the notes", "wiki.example.com", c.notes(t, "--values", "testdata/values/forward-auth-nginx.yaml"))
	c.testNotesOfTLS(t)
}

// testNotesOfTLS has the notes say what a front proxy needs to speak TLS to the pods,
// as long as it is not there.
func (c *cluster) testNotesOfTLS(t *testing.T) {
	const transport = "service.annotations.traefik\\.ingress\\.kubernetes\\.io/service\\.serverstransport=web-anteroom@kubernetescrd"
	for _, n := range []struct {
		flags []string
		want  string
		said  bool
	}{
		{[]string{"--set", "ingress.controller=traefik"}, "a ServersTransport of yours: serverName anteroom.web.svc.cluster.local", true},
		{[]string{"--set", "ingress.controller=traefik", "--set", transport}, "ServersTransport", false},
		{[]string{"--set", "httpRoute.enabled=true,httpRoute.parentRefs[0].name=public"}, "a BackendTLSPolicy of yours to speak TLS to the Service anteroom", true},
		{nil, "of yours", false},
	} {
		notes := c.notes(t, append([]string{"--values", "testdata/values/tls.yaml"}, n.flags...)...)
		if strings.Contains(notes, n.want) != n.said {
			t.Errorf("%v: the notes say %q: %t, want %t:\n%s", n.flags, n.want, !n.said, n.said, notes)
		}
	}
}

// notes are what an install prints.
func (c *cluster) notes(t *testing.T, flags ...string) string {
	t.Helper()
	out, err := c.run("", append([]string{tool("helm"), "install", release, chart, "--namespace", namespace, "--dry-run=server"}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	_, notes, _ := strings.Cut(out, "NOTES:")
	return notes
}

// secrets are those that the chart made, by name and key.
func (c *cluster) secrets(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{"anteroom", bundledRedis} {
		var s struct{ Data map[string]string }
		if err := json.Unmarshal([]byte(c.mustKubectl(t, "get", "secret", name, "-n", namespace, "-o", "json")), &s); err != nil {
			t.Fatal(err)
		}
		for key, value := range s.Data {
			all[name+"/"+key] = value
		}
	}
	return all
}

// differenceOf names the keys whose values differ, without the values.
func differenceOf(a, b map[string]string) string {
	var differ []string
	for key := range a {
		if a[key] != b[key] {
			differ = append(differ, key)
		}
	}
	if len(a) != len(b) {
		differ = append(differ, fmt.Sprintf("%d keys became %d", len(a), len(b)))
	}
	return strings.Join(differ, ", ")
}

// checksum is what has the Deployment replace its pods.
func (c *cluster) checksum(t *testing.T) string {
	t.Helper()
	sum := c.mustKubectl(t, "get", "deployment", release, "-n", namespace, "-o", `jsonpath={.spec.template.metadata.annotations.checksum/anteroom}`)
	if len(sum) != 64 {
		t.Fatalf("the checksum is %q, want 64 digits", sum)
	}
	return sum
}

// dryRun asks the apiserver to take in a manifest, strictly, without keeping it. A
// warning is an error.
func (c *cluster) dryRun(manifest string) (string, error) {
	out, err := c.run(manifest, tool("kubectl"), "apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-n", namespace, "-f", "-")
	return out, err
}

func (c *cluster) apply(t *testing.T, path string) {
	t.Helper()
	c.mustKubectl(t, "apply", "--server-side", "-f", path)
}

func (c *cluster) mustKubectl(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := c.run("", append([]string{tool("kubectl")}, argv...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *cluster) run(stdin string, argv ...string) (string, error) {
	return run(strings.NewReader(stdin), append([]string{"/usr/bin/env", "KUBECONFIG=" + c.kubeconfig, "HOME=" + filepath.Dir(c.kubeconfig)}, argv...)...)
}

// startCluster starts etcd, then the apiserver, and ends them the other way round:
// an apiserver without its etcd does not end.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	dir := t.TempDir()
	store, peers, api := loopback.Address(t), loopback.Address(t), loopback.Address(t)
	daemon(t, dir, "etcd", "/usr/bin/etcd", "--data-dir", dir+"/etcd", "--unsafe-no-fsync",
		"--listen-client-urls", "http://"+store, "--advertise-client-urls", "http://"+store,
		"--listen-peer-urls", "http://"+peers, "--initial-advertise-peer-urls", "http://"+peers, "--initial-cluster", "default=http://"+peers)
	answers(t, "http://"+store+"/health")

	write(t, dir+"/tokens.csv", "test-token,admin,admin,system:masters\n")
	write(t, dir+"/sa.key", rsaKey(t))
	_, port, _ := net.SplitHostPort(api)
	daemon(t, dir, "kube-apiserver", tool("kube-apiserver"), "--etcd-servers=http://"+store,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+dir+"/certs",
		"--token-auth-file="+dir+"/tokens.csv", "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none",
		"--service-account-key-file="+dir+"/sa.key", "--service-account-signing-key-file="+dir+"/sa.key", "--service-account-issuer=https://"+api,
		"--disable-admission-plugins=ServiceAccount") // nothing makes a namespace's default one
	c := &cluster{kubeconfig: dir + "/kubeconfig"}
	write(t, c.kubeconfig, fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://%s", insecure-skip-tls-verify: true}}]
users: [{name: test, user: {token: test-token}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
`, api))
	var err error
	for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		if _, err = c.run("", tool("kubectl"), "get", "--raw", "/readyz"); err == nil {
			return c
		}
	}
	t.Fatalf("kube-apiserver is not ready: %v", err)
	return nil
}

// daemon starts a server and ends it with the test, before those started earlier.
func daemon(t *testing.T, dir, name string, argv ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		log.Close()
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("the end of what %s said:\n%s", name, said[max(0, len(said)-4000):])
		}
	})
}

func rsaKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}
