// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/internal/cli"
	"tulle.dev/tulle/internal/cli/check"
	"tulle.dev/tulle/internal/cli/dump"
	"tulle.dev/tulle/internal/cli/status"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/testing/cluster"
)

const meshed = names.LabelInject + "=" + names.InjectEnabled

// tulle runs the command line.
func tulle(t *testing.T, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = cli.Main(t.Context(), args, cli.Streams{In: strings.NewReader(in), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

// TestCheck: a cluster with a working mesh has no problem, and nothing that could not be read.
func TestCheck(t *testing.T) {
	cluster.Connect(t)
	code, out, errs := tulle(t, "", "check", "-o", "json")
	var findings []check.Finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	for _, f := range findings {
		if f.Level == check.Problem || f.Level == check.Unknown {
			t.Errorf("%+v", f)
		}
	}
	if code != 0 || len(findings) < 8 {
		t.Errorf("exit %d, %d findings", code, len(findings))
	}
}

// TestStatus: the proxies are counted as they are, and all of them are connected.
func TestStatus(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "cli", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: 2})
	c.Ready(t, ns, "server")
	cluster.Eventually(t, time.Minute, "status shows every proxy connected", func() error {
		var pods corev1.PodList
		if err := c.List(t.Context(), &pods, client.MatchingLabels{names.LabelProxy: names.KindSidecar}); err != nil {
			return err
		}
		live := 0
		for _, p := range pods.Items {
			if p.DeletionTimestamp == nil && (p.Status.Phase == corev1.PodPending || p.Status.Phase == corev1.PodRunning) {
				live++
			}
		}
		code, out, errs := tulle(t, "", "status", "-o", "json")
		var r status.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			return fmt.Errorf("exit %d, %w: %s%s", code, err, out, errs)
		}
		for _, g := range r.Proxies {
			if g.Kind == names.KindSidecar && g.Pods == live && g.Connected != nil && *g.Connected == live && r.Mesh != nil && r.Mesh.Ready {
				return nil
			}
		}
		return fmt.Errorf("%d pods have a proxy, status says: %s", live, out)
	})
}

// TestProxyConfig: what Envoy really runs with is shown, over the API server's exec.
func TestProxyConfig(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "cli", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")
	pod := c.Pods(t, ns, "app=server")[0]
	name := "out/" + ns + "/server/80"
	cluster.Eventually(t, time.Minute, "the proxy knows the Service", func() error {
		code, out, errs := tulle(t, "", "proxy", "config", "-n", ns, pod.Name, "-o", "json", "--name", ns)
		var got dump.Config
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
			return fmt.Errorf("exit %d, %w: %s%s", code, err, out, errs)
		}
		for _, e := range got.Endpoints {
			if e.Cluster == name && e.Address == pod.Status.PodIP+":8080" && e.MTLS && len(got.Listeners) > 0 && len(got.Routes) > 0 {
				return nil
			}
		}
		return fmt.Errorf("%+v", got)
	})
	if code, out, errs := tulle(t, "", "proxy", "config", ns+"/"+pod.Name, "clusters"); code != 0 || !strings.Contains(out, name) || strings.Contains(out, "LISTENER") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, _, errs := tulle(t, "", "proxy", "config", ns+"/nobody"); code != 2 || !strings.Contains(errs, "not found") {
		t.Errorf("exit %d: %s", code, errs)
	}
	bare := c.Namespace(t, "cli-bare")
	c.Deploy(t, bare, cluster.Echo{Name: "server"})
	c.Ready(t, bare, "server")
	if code, _, errs := tulle(t, "", "proxy", "config", bare+"/"+c.Pods(t, bare, "app=server")[0].Name); code != 2 || !strings.Contains(errs, "carries no proxy") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestInject: "tulle inject" says exactly what the webhook does to the same pod.
func TestInject(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "cli", meshed)
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "web", Namespace: ns, Labels: map[string]string{"app": "web"},
			Annotations: map[string]string{names.AnnotationExcludeOutboundPorts: "3306"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "web", Image: "web",
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}},
		}}},
	}
	pod.Spec.Containers[0].ReadinessProbe.TCPSocket.Port.IntVal = 8080
	// The webhook sees a pod with the API server's defaults; so must the command.
	plain := pod.DeepCopy()
	plain.Labels[names.LabelInject] = names.InjectDisabled
	if err := c.Create(t.Context(), plain, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	plain.TypeMeta = pod.TypeMeta
	plain.ObjectMeta = pod.ObjectMeta
	text, err := yaml.Marshal(plain)
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs := tulle(t, string(text), "inject", "-f", "-")
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	said := new(corev1.Pod)
	if err := yaml.UnmarshalStrict([]byte(strings.TrimPrefix(out, "---\n")), said); err != nil {
		t.Fatal(err)
	}

	// Both go through the API server without being kept.
	done := pod.DeepCopy()
	if err := c.Create(t.Context(), done, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), said, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if len(done.Spec.InitContainers) != 4 {
		t.Fatalf("the webhook did not inject: %+v", done.Spec.InitContainers)
	}
	random := cmp.Options{
		cmpopts.IgnoreFields(metav1.ObjectMeta{}, "UID", "CreationTimestamp", "ManagedFields", "ResourceVersion"),
		cmpopts.IgnoreFields(corev1.Pod{}, "Status"),
	}
	if d := cmp.Diff(untoken(t, rename(done)), untoken(t, rename(said)), random); d != "" {
		t.Error(d)
	}
}

// untoken gives the random part of the paths of moved probes a fixed value.
func untoken(t *testing.T, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	text, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	out := new(corev1.Pod)
	text = regexp.MustCompile(protocol.ProbePrefix+"[0-9a-f]{32}/").ReplaceAll(text, []byte(protocol.ProbePrefix+"TOKEN/"))
	if err := yaml.UnmarshalStrict(text, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// rename gives the API server's token volume, whose name is random, a fixed one.
func rename(p *corev1.Pod) *corev1.Pod {
	const prefix = "kube-api-access-"
	for i := range p.Spec.Volumes {
		if strings.HasPrefix(p.Spec.Volumes[i].Name, prefix) {
			p.Spec.Volumes[i].Name = prefix
		}
	}
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			for j := range list[i].VolumeMounts {
				if m := &list[i].VolumeMounts[j]; strings.HasPrefix(m.Name, prefix) {
					m.Name = prefix
				}
			}
		}
	}
	return p
}

// TestPorts: what the API server calls in meshed pods is a notice while the mode is Permissive, with the
// annotation that keeps it open in Strict; so are ports that nothing declares a protocol of. A pod with the
// annotation is in neither list.
func TestPorts(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "cli-ports", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Ports: "[{name: web, port: 81, targetPort: 8080}]"})
	c.Deploy(t, ns, cluster.Echo{
		Name: "excluded", Ports: "[{name: web, port: 81, targetPort: 8080}]",
		Annotations: []string{names.AnnotationExcludeInboundPorts + `: "8080"`},
	})
	c.Ready(t, ns, "server")
	c.Ready(t, ns, "excluded")
	for _, service := range []string{"server", "excluded"} {
		// It is about a kind that does not exist: nobody waits for it.
		hook := &admissionv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: ns + "-" + service},
			Webhooks: []admissionv1.ValidatingWebhook{{
				Name: "test.tulle.dev", AdmissionReviewVersions: []string{"v1"},
				SideEffects:   ptr.To(admissionv1.SideEffectClassNone),
				FailurePolicy: ptr.To(admissionv1.Ignore),
				ClientConfig:  admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: ns, Name: service, Port: ptr.To[int32](81)}},
				Rules: []admissionv1.RuleWithOperations{{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{"nothing.tulle.dev"}, APIVersions: []string{"v1"}, Resources: []string{"nothings"}},
				}},
			}},
		}
		if err := c.Create(t.Context(), hook); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := client.IgnoreNotFound(c.Delete(context.Background(), hook)); err != nil { // the test's own has ended
				t.Error(err)
			}
		})
	}
	code, out, errs := tulle(t, "", "check", "-o", "json")
	var findings []check.Finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	var bytesOf, closed []string
	for _, f := range findings {
		switch {
		case f.Level != check.Notice:
		case strings.Contains(f.Message, "namespace "+ns+":"):
			bytesOf = append(bytesOf, f.Message)
		case strings.Contains(f.Message, ns+"-"):
			closed = append(closed, f.Message+" -> "+f.Fix)
		}
	}
	if len(bytesOf) != 1 || !strings.Contains(bytesOf[0], "1 port is carried as bytes") || !strings.Contains(bytesOf[0], "server:81 (web)") {
		t.Errorf("carried as bytes: %q", bytesOf)
	}
	if len(closed) != 1 || !strings.Contains(closed[0], ns+"-server would be closed") || !strings.Contains(closed[0], `exclude-inbound-ports: "8080"`) {
		t.Errorf("closed in Strict: %q", closed)
	}
}
