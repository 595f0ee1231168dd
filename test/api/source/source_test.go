// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package source watches a real API server with the rights that the control plane is given, and no others.
package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/referenced"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/testing/apiserver"
)

const user = "control-plane"

// cluster is an API server, an administrator of it and what the source has delivered.
type cluster struct {
	t     *testing.T
	admin client.Client

	heard heard

	mu      sync.Mutex
	changed chan struct{}
	batches int
	now     map[source.Kind]map[string]any
}

// TestSource goes through the life of a cluster: without any custom resource, then with, through
// changes of every kind, and without Gateway API again.
func TestSource(t *testing.T) {
	ctx := t.Context()
	server, err := apiserver.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, rbacv1.AddToScheme, gwapiv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	admin, err := client.New(server.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, admin: admin, changed: make(chan struct{}), now: map[source.Kind]map[string]any{}}
	c.grant("read", render.ClusterRules())
	c.grant("secrets", []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets", "configmaps"}, Verbs: []string{"get", "list", "watch"}}})
	c.grant("bundles", []rbacv1.PolicyRule{{APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"clustertrustbundles"}, Verbs: []string{"get", "list", "watch"}}}) // as service accounts may
	c.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}`)

	cfg := rest.CopyConfig(server.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	cfg.Wrap(c.listen)
	stage := referenced.New(logr.Discard())
	s, err := source.New(cfg, source.Options{SystemNamespace: "tulle-system", Referenced: stage.Referenced(), Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	c.unrelated()
	running, stop := context.WithCancel(ctx)
	done, batches := make(chan error, 1), make(chan []source.Event)
	go stage.Run(running, batches, s.Read, c.deliver)
	go func() {
		done <- s.Run(running, func(b []source.Event) {
			select {
			case batches <- b:
			case <-running.Done():
			}
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})

	c.until("the first batch, without custom resources", func() bool { return c.batches > 0 })
	if _, ok := c.objects(source.Namespace)["/shop"]; !ok || !s.Synced() && len(s.Waiting()) > 0 {
		t.Errorf("the first batch holds namespaces %v, and kinds are waited for: %v", c.objects(source.Namespace), s.Waiting())
	}
	c.install("config/crd/bases")
	c.installModule("sigs.k8s.io/gateway-api", "config/crd/experimental")
	t.Run("every kind", c.everyKind)
	t.Run("changes", c.changes)
	t.Run("what is referred to", c.referred)
	t.Run("the rights withdrawn", c.withdrawn)
	t.Run("Gateway API removed", c.removed)
}

func (c *cluster) everyKind(t *testing.T) {
	c.t = t
	c.apply(
		`{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: web}, spec: {ports: [{name: http, port: 80}]}}`,
		`{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {namespace: shop, name: web-1, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, endpoints: [{addresses: [10.9.9.9]}], ports: [{name: http, port: 8080}]}`,
		`{apiVersion: v1, kind: ServiceAccount, metadata: {namespace: shop, name: default}}`,
		`{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web-0}, spec: {containers: [{name: c, image: i}]}}`,
		`{apiVersion: v1, kind: Secret, metadata: {namespace: shop, name: cert}, type: kubernetes.io/tls, stringData: {tls.crt: x, tls.key: "y"}}`,
		`{apiVersion: v1, kind: Secret, metadata: {namespace: shop, name: password}, stringData: {password: x}}`,
		`{apiVersion: tulle.dev/v1alpha1, kind: Mesh, metadata: {name: mesh}, spec: {version: 0.2.0, injection: {namespaceSelector: {matchLabels: {team: a}}}}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: tulle}, spec: {controllerName: tulle.dev/mesh-controller}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {namespace: shop, name: edge}, spec: {gatewayClassName: tulle, listeners: [{name: http, port: 80, protocol: HTTP}, {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}, {name: password}]}}]}}`,
		route("1s"),
		`{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {namespace: shop, name: rpc}, spec: {parentRefs: [{name: edge}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: TLSRoute, metadata: {namespace: shop, name: tls}, spec: {parentRefs: [{name: edge}], hostnames: [a.example], rules: [{backendRefs: [{name: web, port: 80}]}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: TCPRoute, metadata: {namespace: shop, name: tcp}, spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: web, port: 80}]}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: UDPRoute, metadata: {namespace: shop, name: udp}, spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: web, port: 80}]}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, metadata: {namespace: shop, name: more}, spec: {parentRef: {name: edge}, listeners: [{name: more, port: 81, protocol: HTTP}]}}`,
		`{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {namespace: shop, name: ca}, data: {ca.crt: x}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: BackendTLSPolicy, metadata: {namespace: shop, name: web}, spec: {targetRefs: [{group: "", kind: Service, name: web}], validation: {hostname: web.example, caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]}}}`,
		`{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {namespace: shop, name: grant}, spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: a}], to: [{group: "", kind: Service}]}}`,
	)
	c.until("an object of every kind", func() bool {
		for _, k := range append(source.Kinds(), source.TLSSecret, source.CAConfigMap) {
			if len(c.now[k]) == 0 {
				return false
			}
		}
		ns, _ := c.now[source.Namespace]["/shop"].(model.Namespace)
		svc, _ := c.now[source.Service]["shop/web"].(model.Service)
		return ns.Meshed && len(svc.VIPs) == 1
	})
	secrets := c.objects(source.TLSSecret)
	cert, _ := secrets["shop/cert"].(source.TLS)
	if other, _ := secrets["shop/password"].(source.TLS); len(secrets) != 2 || cert.OtherType || !other.OtherType || !strings.Contains(other.Problem, `"Opaque"`) {
		t.Errorf("Secrets %+v, want the one for TLS, and of the other one its type", secrets)
	}
	if w := c.objects(source.Pod)["shop/web-0"].(model.Workload); w.UID == "" || w.ServiceAccount != "default" {
		t.Errorf("pod %+v", w)
	}
	if n := c.objects(source.Node)["/n1"]; n != (model.NodeZone{Name: "n1", Zone: "z1"}) {
		t.Errorf("node %+v", n)
	}
}

func route(timeout string) string {
	return `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {namespace: shop, name: web}, spec: {parentRefs: [{group: "", kind: Service, name: web}], rules: [{timeouts: {request: ` + timeout + `}, backendRefs: [{name: web, port: 80}]}]}}`
}

func (c *cluster) changes(t *testing.T) {
	c.t = t
	before := c.objects("HTTPRoute")["shop/web"]
	// A status is no change; the timeout behind it on the same watch is.
	r := &gwapiv1.HTTPRoute{}
	if err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, r); err != nil {
		t.Fatal(err)
	}
	r.Status.Parents = []gwapiv1.RouteParentStatus{}
	if err := c.admin.Status().Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	c.apply(`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {namespace: shop, name: later}, spec: {parentRefs: [{name: edge}]}}`)
	c.until("a later route", func() bool { return c.now["HTTPRoute"]["shop/later"] != nil })
	if c.objects("HTTPRoute")["shop/web"] != before {
		t.Error("a status was delivered as a change")
	}
	c.apply(route("2s"))
	c.until("another timeout", func() bool {
		r := c.now["HTTPRoute"]["shop/web"].(*gwapiv1.HTTPRoute)
		return *r.Spec.Rules[0].Timeouts.Request == "2s"
	})
	c.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a, tulle.dev/inject: disabled}}}`)
	c.until("a namespace that refuses", func() bool { return !c.now[source.Namespace]["/shop"].(model.Namespace).Meshed })
	c.apply(`{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {topology.kubernetes.io/zone: z2}}}`)
	c.until("another zone", func() bool { return c.now[source.Node]["/n1"] == model.NodeZone{Name: "n1", Zone: "z2"} })
	c.delete(`{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: web}}`)
	c.until("a Service gone", func() bool { return c.now[source.Service]["shop/web"] == nil })
}

// withdrawn: rights that are taken away take nothing from what is known, and changes go on elsewhere.
func (c *cluster) withdrawn(t *testing.T) {
	c.t = t
	c.delete(`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: secrets}}`)
	c.apply(`{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: other}, spec: {ports: [{port: 80}]}}`)
	c.until("a Service after the right to Secrets is gone", func() bool {
		return c.now[source.Service]["shop/other"] != nil && c.now[source.TLSSecret]["shop/cert"] != nil
	})
	// A right to one object of one namespace is enough to read it.
	c.apply(
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {namespace: shop, name: narrow}, rules: [{apiGroups: [""], resources: [secrets], resourceNames: [third], verbs: [get]}]}`,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {namespace: shop, name: narrow}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: narrow}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: `+user+`}]}`,
		`{apiVersion: v1, kind: Secret, metadata: {namespace: shop, name: third}, type: kubernetes.io/tls, stringData: {tls.crt: x, tls.key: "y"}}`,
		edge("cert", "third"),
	)
	c.until("a Secret by a narrow right", func() bool { return c.now[source.TLSSecret]["shop/third"] != nil })
	c.apply(edge("cert", "third", "fourth"))
	c.until("a Secret that may not be read", func() bool {
		s, _ := c.now[source.TLSSecret]["shop/fourth"].(source.TLS)
		return strings.Contains(s.Problem, "no right to read it")
	})
}

func (c *cluster) removed(t *testing.T) {
	c.t = t
	for _, plural := range []string{"gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants"} {
		c.delete(`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: ` + plural + `.gateway.networking.k8s.io}}`)
	}
	c.until("nothing of Gateway API, and the rest", func() bool {
		return len(c.now[source.GatewayClass])+len(c.now[source.Gateway])+len(c.now["HTTPRoute"])+len(c.now["GRPCRoute"])+len(c.now[source.ReferenceGrant]) == 0 &&
			len(c.now[source.Service]) > 0
	})
	c.installModule("sigs.k8s.io/gateway-api", "config/crd/experimental")
	c.apply(route("3s"))
	c.until("routes again", func() bool { return c.now["HTTPRoute"]["shop/web"] != nil })
}

func (c *cluster) deliver(batch []source.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batches++
	for _, e := range batch {
		if c.now[e.Kind] == nil {
			c.now[e.Kind] = map[string]any{}
		}
		if e.Object == nil {
			delete(c.now[e.Kind], e.Key.String())
			continue
		}
		c.now[e.Kind][e.Key.String()] = e.Object
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *cluster) objects(kind source.Kind) map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]any{}
	for k, v := range c.now[kind] {
		out[k] = v
	}
	return out
}

// until waits until what has been delivered fulfils a condition, which is asked with the lock held.
func (c *cluster) until(what string, is func() bool) {
	c.t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		c.mu.Lock()
		ok, changed := is(), c.changed
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatalf("not within two minutes: %s", what)
		}
	}
}

func (c *cluster) grant(name string, rules []rbacv1.PolicyRule) {
	c.t.Helper()
	role := &rbacv1.ClusterRole{Rules: rules}
	role.Name = name
	binding := &rbacv1.ClusterRoleBinding{
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	binding.Name = name
	for _, o := range []client.Object{role, binding} {
		if err := c.admin.Create(c.t.Context(), o); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *cluster) apply(objects ...string) {
	c.t.Helper()
	for _, text := range objects {
		c.applyObject(c.read(text))
	}
}

// applyObject retries: a kind whose CRD has just been made takes a moment to be served.
func (c *cluster) applyObject(o *unstructured.Unstructured) {
	c.t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = c.admin.Apply(c.t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test"), client.ForceOwnership); err == nil {
			return
		}
	}
	c.t.Fatalf("apply %s %s: %v", o.GetKind(), o.GetName(), err)
}

func (c *cluster) delete(text string) {
	c.t.Helper()
	if err := c.admin.Delete(c.t.Context(), c.read(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) read(text string) *unstructured.Unstructured {
	c.t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		c.t.Fatal(err)
	}
	return o
}

// install applies a folder of this repository.
func (c *cluster) install(folder string) {
	c.t.Helper()
	c.applyFolder(filepath.Join("..", "..", "..", folder))
}

// installModule applies a folder of a module that this one depends on.
func (c *cluster) installModule(module, folder string) {
	c.t.Helper()
	dir, err := exec.CommandContext(c.t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		c.t.Fatal(err)
	}
	c.applyFolder(filepath.Join(strings.TrimSpace(string(dir)), folder))
}

func (c *cluster) applyFolder(folder string) {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		c.t.Fatalf("no files in %s: %v", folder, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			c.t.Fatal(err)
		}
		d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
		for {
			o := &unstructured.Unstructured{}
			if err := d.Decode(&o.Object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				c.t.Fatal(fmt.Errorf("read %s: %w", f, err))
			}
			if o.GetKind() == "CustomResourceDefinition" {
				unstructured.RemoveNestedField(o.Object, "status")
				c.applyObject(o)
			}
		}
	}
}
