// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tulle.dev/tulle/internal/cli/check"
)

// call runs the command line as a user would.
func call(t *testing.T, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Main(t.Context(), args, Streams{In: strings.NewReader(in), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

// TestCheckFit: a cluster recorded before Tulle was installed is fit, but this user may not install.
func TestCheckFit(t *testing.T) {
	config := api(t, "fit")
	code, out, errs := call(t, "", "check", "--kubeconfig", config)
	for _, want := range []string{
		"[ok] Kubernetes v1.36.3", "[ok] v1.7.0, experimental channel", "[ok] 3 Deployments are ready",
		"[problem] you may not create clusterroles.rbac.authorization.k8s.io", "-> let a cluster administrator", "1 problems",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if code != exitFound || errs != "" {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}

	code, out, _ = call(t, "", "check", "--kubeconfig", config, "-o", "json")
	var findings []check.Finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil || code != exitFound || check.Worst(findings) != check.Problem {
		t.Errorf("exit %d, %v\n%s", code, err, out)
	}
}

// TestMesh: a mesh recorded while the shop ran is healthy, and counted.
func TestMesh(t *testing.T) {
	config := api(t, "mesh")
	code, out, errs := call(t, "", "check", "--kubeconfig", config)
	for _, want := range []string{
		"[ok] the operator runs", "[ok] Mesh tulle runs 0.2.0", "[ok] tulle-controlplane-0-2-0: 2 of 2 replicas ready",
		"[ok] the webhook is served", "[ok] 9 pods carry a proxy, 9 ready", "[ok] all are connected", " 0 warnings, 0 problems\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if code != exitOK || errs != "" {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	code, out, _ = call(t, "", "status", "--kubeconfig", config)
	for _, want := range []string{
		"tulle  0.2.0   0.2.0    yes    Permissive  cluster.local", "tulle-controlplane-0-2-0  0-2-0     2/2",
		"gateway  0.2.0    2     2      2          0", "sidecar  0.2.0    7     7      7          0",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code != exitOK || strings.Contains(out, "attention") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if code, out, _ := call(t, "", "version", "--kubeconfig", config, "-o", "json"); code != exitOK || !strings.Contains(out, `"tulle": "0.2.0"`) {
		t.Errorf("exit %d\n%s", code, out)
	}
	// The Mesh, the labels of the namespace and the image all come from the cluster.
	if code, out, errs := call(t, workloads, "inject", "-f", "-", "--kubeconfig", config); code != exitFound || strings.Count(out, "tulle.local/tulle-proxy:dev") != 4 {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

// TestElsewhere: an installation in another namespace is found and healthy, without --system-namespace.
func TestElsewhere(t *testing.T) {
	config := api(t, "mesh", "tulle-system", "mesh-system")
	code, out, errs := call(t, "", "check", "--kubeconfig", config)
	if code != exitOK || errs != "" || !strings.Contains(out, "[ok] the operator runs") || !strings.Contains(out, " 0 warnings, 0 problems\n") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if _, out, errs := call(t, workloads, "inject", "-f", "-", "--kubeconfig", config); !strings.Contains(out, "tulle-controlplane.mesh-system") {
		t.Errorf("no address in mesh-system:\n%s%s", out, errs)
	}
	// What the flag says is not doubted.
	if _, out, _ := call(t, "", "check", "--kubeconfig", config, "--system-namespace", "nowhere"); !strings.Contains(out, "nowhere") {
		t.Error(out)
	}
}

// TestPorts: ports that are carried as bytes and what the API server calls in meshed pods are listed, and are
// no problem until the mode is Strict.
func TestPorts(t *testing.T) {
	spoil := []string{`"name": "http-cart"`, `"name": "cart-api"`, `"name": "policy"`, `"name": "web"`}
	config := api(t, "mesh", spoil...)
	code, out, errs := call(t, "", "check", "--kubeconfig", config)
	for _, want := range []string{
		"[notice] ValidatingWebhookConfiguration policy.example.com would be closed by mode Strict, and what it is asked about fails: " +
			"the API server, which has no proxy, calls Service shop/web, port 443, and with it port 9443 of shop/web-66ff9fbd4-4tqwv, shop/web-66ff9fbd4-qqz6x",
		`-> set the annotation tulle.dev/exclude-inbound-ports: "9443" in the pod template`,
		"[notice] namespace shop: 1 port is carried as bytes, because nothing declares a protocol: cart:80 (cart-api)",
		" 0 warnings, 0 problems, 2 notices\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	if code != exitOK || errs != "" {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if code, out, _ := call(t, "", "status", "--kubeconfig", config); code != exitOK || strings.Contains(out, "attention") ||
		!strings.Contains(out, "CARRIED AS BYTES  PORTS\nshop              1: cart:80 (cart-api)\n") {
		t.Errorf("exit %d\n%s", code, out)
	}
	config = api(t, "mesh", append(spoil, `"mode": "Permissive"`, `"mode": "Strict"`)...)
	for _, command := range []string{"check", "status"} {
		if code, out, _ := call(t, "", command, "--kubeconfig", config); code != exitFound || !strings.Contains(out, "policy.example.com is closed by mode Strict") {
			t.Errorf("%s: exit %d\n%s", command, code, out)
		}
	}
	if _, out, _ := call(t, "", "check", "--kubeconfig", api(t, "mesh", `"name": "metrics"`, `"name": "web"`)); !strings.Contains(out, "[notice] APIService v1beta1.metrics.example.com would be closed") {
		t.Errorf("%s", out)
	}
	if _, out, _ := call(t, "", "check", "--kubeconfig", api(t, "mesh")); !strings.Contains(out, "[ok] the API server calls no port that mode Strict closes") {
		t.Errorf("%s", out)
	}
}

// TestMeshIll: each illness shows in status, with the words of the cluster.
func TestMeshIll(t *testing.T) {
	for says, spoil := range map[string][]string{
		"refuses 1 resource":             {`"rejected": 0`, `"rejected": 1`},
		"0 of 2 replicas ready":          {`"readyReplicas": 2`, `"readyReplicas": 0`},
		"could not read the control pla": {`"proxies": [`, `"proxies": {`},
		"is False (WebhookOnFire)":       {`"reason": "Injecting",` + "\n" + `      "status": "True"`, `"reason": "WebhookOnFire", "status": "False"`, `"reason": "Ready",` + "\n" + `      "status": "True"`, `"reason": "WebhookOnFire", "status": "False"`},
	} {
		if _, out, errs := call(t, "", "status", "--kubeconfig", api(t, "mesh", spoil...)); !strings.Contains(out, says) {
			t.Errorf("no %q in\n%s%s", says, out, errs)
		}
	}
}

// TestEmpty: without a Mesh, status and version say so and find nothing.
func TestEmpty(t *testing.T) {
	config := api(t, "fit")
	if code, out, errs := call(t, "", "version", "--kubeconfig", config); code != exitOK || !strings.Contains(out, "no Mesh") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, out, _ := call(t, "", "status", "--kubeconfig", config); !strings.Contains(out, "no Mesh") || code != exitOK {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, _, errs := call(t, "", "inject", "-f", "-", "--kubeconfig", config); code != exitError || !strings.Contains(errs, "--mesh") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestErrors: what can't be done exits with 2, says why and prints no usage.
func TestErrors(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		says string
		args []string
	}{
		{"kubeconfig", []string{"check", "--kubeconfig", nowhere}},
		{"--client", []string{"version", "--kubeconfig", nowhere}},
		{"xml", []string{"check", "-o", "xml"}},
		{"unknown command", []string{"chekc"}},
		{"weather", []string{"proxy", "config", "a", "weather"}},
		{"filename", []string{"inject"}},
		{"not recorded", []string{"proxy", "config", "a", "--kubeconfig", api(t, "fit")}},
	} {
		code, out, errs := call(t, "", c.args...)
		if code != exitError || !strings.Contains(errs, c.says) || strings.Contains(errs+out, "Usage:") {
			t.Errorf("%v: exit %d: %s%s", c.args, code, out, errs)
		}
	}
}

// TestClientVersion needs no cluster.
func TestClientVersion(t *testing.T) {
	if code, out, errs := call(t, "", "version", "--client", "--kubeconfig", "none"); code != exitOK || !strings.HasPrefix(out, "tulle "+Version) {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// TestCompletion: every shell gets a script, and the parts of a proxy are offered.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, errs := call(t, "", "completion", shell); code != exitOK || len(out) < 1000 {
			t.Errorf("%s: exit %d: %s", shell, code, errs)
		}
	}
	if _, out, _ := call(t, "", "__complete", "proxy", "config", "pod", ""); !strings.Contains(out, "listeners\n") {
		t.Error(out)
	}
}

const mesh = `
apiVersion: tulle.dev/v1alpha1
kind: Mesh
metadata:
  name: default
spec:
  version: 0.2.0
`

const workloads = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {a: b}
---
apiVersion: v1
kind: Pod
metadata: {name: refused, namespace: shop, annotations: {tulle.dev/proxy-image: mine}}
spec: {containers: [{name: web, image: web}]}
---
apiVersion: v1
kind: List
items:
  - apiVersion: batch/v1
    kind: CronJob
    metadata: {name: nightly, namespace: shop}
    spec:
      schedule: "0 0 * * *"
      jobTemplate: {spec: {template: {metadata: {labels: {tulle.dev/inject: disabled}}, spec: {restartPolicy: Never, containers: [{name: j, image: j}]}}}}
`

// TestInject: each pod is injected, refused or left, as the webhook would do; the rest passes.
func TestInject(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mesh.yaml")
	if err := os.WriteFile(file, []byte(mesh), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := call(t, workloads, "inject", "-f", "-", "--mesh", file, "--image", "proxy:1")
	for _, want := range []string{
		"Deployment shop/web: injected\n", "Pod shop/refused: REFUSED: ", "tulle.dev/proxy-image", "CronJob shop/nightly: not injected\n",
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in %s", want, errs)
		}
	}
	if code != exitFound || strings.Count(out, "image: proxy:1") != 4 || !strings.Contains(out, "kind: ConfigMap") {
		t.Errorf("exit %d\n%s", code, out)
	}
	// Injecting twice changes nothing.
	_, again, _ := call(t, out, "inject", "-f", "-", "--mesh", file, "--image", "proxy:1")
	if again != out {
		t.Errorf("a second injection differs:\n%s", again)
	}

	// A probe's path is random; with a secret of the user's it is the same each time, and another with another.
	probed := strings.Replace(workloads, "image: web}", "image: web, livenessProbe: {tcpSocket: {port: 80}}}", 1)
	secret, other, short := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "o"), filepath.Join(t.TempDir(), "x")
	for name, text := range map[string]string{secret: "0123456789abcdef\n", other: "0123456789abcdeF\n", short: "short"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	with := func(in string, args ...string) string {
		_, out, errs := call(t, in, append([]string{"inject", "-f", "-", "--mesh", file}, args...)...)
		path := regexp.MustCompile("path: (/probe/[0-9a-f]{32}/web/liveness)").FindStringSubmatch(out)
		if path == nil {
			t.Fatalf("no path with a token in %s%s", out, errs)
		}
		return path[1]
	}
	if first := with(probed); first == with(probed) {
		t.Error("two injections gave the same token")
	}
	_, out, _ = call(t, probed, "inject", "-f", "-", "--mesh", file)
	if got := with(out, "--probe-secret", secret); got != with(out) {
		t.Errorf("a further injection changes the path to %s", got)
	}
	if first := with(probed, "--probe-secret", secret); first != with(probed, "--probe-secret", secret) || first == with(probed, "--probe-secret", other) {
		t.Error("the path does not follow from the secret")
	}
	if code, _, errs := call(t, probed, "inject", "-f", "-", "--mesh", file, "--probe-secret", short); code != exitError || !strings.Contains(errs, "has 5 bytes") {
		t.Errorf("a short secret: exit %d, %s", code, errs)
	}

	code, out, _ = call(t, workloads, "inject", "-f", "-", "--mesh", file, "-o", "json")
	var notes []struct {
		Injected bool
		Refused  string
	}
	if err := json.Unmarshal([]byte(out), &notes); err != nil || code != exitFound || len(notes) != 3 || !notes[0].Injected || notes[1].Refused == "" {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	if code, out, errs := call(t, "kind: [", "inject", "-f", "-", "--mesh", file); code != exitFound || out != "kind: [" || !strings.Contains(errs, "document 1 (line 1): printed as it is: ") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}
