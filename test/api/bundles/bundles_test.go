// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package bundles runs what reads and writes the Gateway API against a real API server with the definitions
// of each release and channel that Tulle supports, one after the other.
package bundles

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers"
	"tulle.dev/tulle/controllers/gatewayclass"
	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/internal/cli/check"
	"tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/testing/apiserver"
)

// bundle is a release of the Gateway API in a channel.
type bundle struct {
	version, channel string
	supported        bool
}

func bundles() []bundle {
	return []bundle{
		{"v1.3.0", "standard", true},
		{"v1.4.1", "standard", true},
		{"v1.5.1", "standard", true},
		{"v1.5.1", "experimental", true},
		{"v1.6.3", "standard", true},
		{"v1.6.3", "experimental", true},
		{"v1.7.0", "standard", true},
		{"v1.7.0", "experimental", true},
		{"v1.3.0", "experimental", false}, // works all the same, as far as its kinds go
	}
}

// objects are those of every kind that a control plane watches. A bundle that does not serve the version has
// no such object.
func objects() map[source.Kind]string {
	const meta = `metadata: {namespace: default, name: a}, spec: `
	const gateway, backend = `parentRefs: [{name: a}]`, `rules: [{backendRefs: [{name: a, port: 80}]}]`
	return map[source.Kind]string{
		source.GatewayClass:   `{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: tulle}, spec: {controllerName: tulle.dev/mesh-controller}}`,
		source.Gateway:        `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, ` + meta + `{gatewayClassName: tulle, listeners: [{name: http, port: 80, protocol: HTTP}]}}`,
		source.ListenerSet:    `{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, ` + meta + `{parentRef: {name: a}, listeners: [{name: more, port: 81, protocol: HTTP}]}}`,
		"HTTPRoute":           `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, ` + meta + `{` + gateway + `, ` + backend + `}}`,
		"GRPCRoute":           `{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, ` + meta + `{` + gateway + `, ` + backend + `}}`,
		"TLSRoute":            `{apiVersion: gateway.networking.k8s.io/v1, kind: TLSRoute, ` + meta + `{` + gateway + `, hostnames: [a.example], ` + backend + `}}`,
		"TCPRoute":            `{apiVersion: gateway.networking.k8s.io/v1, kind: TCPRoute, ` + meta + `{` + gateway + `, ` + backend + `}}`,
		"UDPRoute":            `{apiVersion: gateway.networking.k8s.io/v1, kind: UDPRoute, ` + meta + `{` + gateway + `, ` + backend + `}}`,
		source.ReferenceGrant: `{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, ` + meta + `{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: a}], to: [{group: "", kind: Service}]}}`,
		"BackendTLSPolicy":    `{apiVersion: gateway.networking.k8s.io/v1, kind: BackendTLSPolicy, ` + meta + `{targetRefs: [{group: "", kind: Service, name: a}], validation: {hostname: a.example, wellKnownCACertificates: System}}}`,
	}
}

// TestBundles: with every bundle each kind that it serves is read and its statuses are taken, a kind that it
// does not serve keeps nothing waiting, the GatewayClass says whether the bundle is supported, and tulle check
// has nothing to report of one that is.
func TestBundles(t *testing.T) {
	server, err := apiserver.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	scheme, err := controllers.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bundles() {
		t.Run(b.version+" "+b.channel, func(t *testing.T) {
			c := &suite{t: t, server: server, scheme: scheme}
			if c.admin, err = client.New(server.Config, client.Options{Scheme: scheme}); err != nil {
				t.Fatal(err)
			}
			defer c.remove()
			c.install(b)
			c.source()
			c.statuses()
			c.class(b)
			c.check(b)
		})
	}
}

type suite struct {
	t      *testing.T
	server *apiserver.Server
	scheme *runtime.Scheme
	admin  client.Client
	// definitions are those of the bundle, served those of objects that it has.
	definitions []*unstructured.Unstructured
	served      []source.Kind
}

// install applies the definitions of a bundle, from the module that has them, and makes an object of each kind.
func (c *suite) install(b bundle) {
	c.t.Helper()
	download := exec.CommandContext(c.t.Context(), "go", "mod", "download", "-json", "sigs.k8s.io/gateway-api@"+b.version)
	download.Dir = os.TempDir() // outside of any module, whose go.sum would be asked
	out, err := download.Output()
	if err != nil {
		c.t.Fatalf("fetch Gateway API %s: %v\n%s", b.version, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		c.t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(module.Dir, "config", "crd", b.channel, "gateway*.yaml"))
	if err != nil || len(files) == 0 {
		c.t.Fatalf("no definitions in %s: %v", module.Dir, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			c.t.Fatal(err)
		}
		crd := &unstructured.Unstructured{}
		if err := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096).Decode(&crd.Object); err != nil {
			c.t.Fatal(err)
		}
		if crd.GetKind() != "CustomResourceDefinition" {
			continue // the admission policy that forbids to go back to an older release
		}
		unstructured.RemoveNestedField(crd.Object, "status")
		if err := c.admin.Create(c.t.Context(), crd); err != nil {
			c.t.Fatal(err)
		}
		c.definitions = append(c.definitions, crd)
	}
	for kind, text := range objects() {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			c.t.Fatal(err)
		}
		if !c.serves(o) {
			continue
		}
		c.eventually(fmt.Sprintf("create %s", kind), func() error {
			err := c.admin.Create(c.t.Context(), o)
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		})
		c.served = append(c.served, kind)
	}
	if len(c.served) < 5 {
		c.t.Errorf("the bundle serves only %v", c.served)
	}
}

func (c *suite) serves(o *unstructured.Unstructured) bool {
	return slices.ContainsFunc(c.definitions, func(d *unstructured.Unstructured) bool {
		kind, _, _ := unstructured.NestedString(d.Object, "spec", "names", "kind")
		group, _, _ := unstructured.NestedString(d.Object, "spec", "group")
		versions, _, _ := unstructured.NestedSlice(d.Object, "spec", "versions")
		return kind == o.GetKind() && slices.ContainsFunc(versions, func(v any) bool {
			m, ok := v.(map[string]any)
			return ok && m["served"] == true && group+"/"+fmt.Sprint(m["name"]) == o.GetAPIVersion()
		})
	})
}

// source: the first batch of a control plane has an object of every kind that is served, and waits for none.
func (c *suite) source() {
	c.t.Helper()
	s, err := source.New(c.server.Config, source.Options{SystemNamespace: "tulle-system", Referenced: nobody{}, Log: logr.Discard()})
	if err != nil {
		c.t.Fatal(err)
	}
	first := make(chan map[source.Kind]int, 1)
	ctx, stop := context.WithCancel(c.t.Context())
	defer stop()
	go func() {
		_ = s.Run(ctx, func(events []source.Event) {
			got := map[source.Kind]int{}
			for _, e := range events {
				got[e.Kind]++
			}
			select {
			case first <- got:
			default:
			}
		})
	}()
	select {
	case got := <-first:
		for _, kind := range c.served {
			if got[kind] != 1 {
				c.t.Errorf("%d objects of kind %s", got[kind], kind)
			}
		}
	case <-time.After(time.Minute):
		c.t.Fatalf("no first batch within a minute; waiting for %v", s.Waiting())
	}
}

// statuses: those that a control plane writes are taken, and what the bundle does not have of them is left out.
func (c *suite) statuses() {
	c.t.Helper()
	accepted := []metav1.Condition{{Type: "Accepted", Status: "True", Reason: "Accepted"}, {Type: "ResolvedRefs", Status: "True", Reason: "ResolvedRefs"}}
	for i := range accepted {
		accepted[i].LastTransitionTime = metav1.Now()
	}
	sets := int32(1)
	gw := &gwapiv1.Gateway{}
	c.get(gw)
	gw.Status = status.Gateway(gw.Status, status.GatewayVerdict{
		Generation: gw.Generation,
		GatewayVerdict: gatewayapi.GatewayVerdict{
			Conditions: accepted, Serving: []string{"http"}, ListenerSets: &sets,
			Listeners: []gwapiv1.ListenerStatus{{Name: "http", SupportedKinds: []gwapiv1.RouteGroupKind{}, Conditions: slices.Clone(accepted)}},
			Wanted:    []gwapiv1.GatewaySpecAddress{{Routability: gwapiv1.GatewayAddressRoutabilityCluster}},
		},
		Addresses: []string{"192.0.2.7"}, ClusterAddresses: []string{"10.96.0.7"},
	}, status.Outcome{Programmed: true, Reason: status.ReasonAcknowledged})
	c.write(gw, func() int { return len(gw.Status.Conditions) })
	route := &gwapiv1.HTTPRoute{}
	c.get(route)
	route.Status.Parents = status.Parents(nil, status.RouteVerdict{
		Generation: route.Generation,
		Parents:    []gatewayapi.RouteParent{{RouteParentStatus: gwapiv1.RouteParentStatus{ParentRef: route.Spec.ParentRefs[0], Conditions: accepted}}},
	}, []status.Outcome{{Programmed: true, Reason: status.ReasonAcknowledged}})
	c.write(route, func() int { return len(route.Status.Parents) })
}

func (c *suite) get(o client.Object) {
	c.t.Helper()
	if err := c.admin.Get(c.t.Context(), client.ObjectKey{Namespace: "default", Name: "a"}, o); err != nil {
		c.t.Fatal(err)
	}
}

// write writes a status, of which something must be there afterwards. To write it again changes nothing.
func (c *suite) write(o client.Object, count func() int) {
	c.t.Helper()
	want := count()
	if err := c.admin.Status().Update(c.t.Context(), o); err != nil {
		c.t.Errorf("%T: %v", o, err)
		return
	}
	version := o.GetResourceVersion()
	if got := count(); got != want {
		c.t.Errorf("%T: %d entries were taken, want %d", o, got, want)
	}
	if err := c.admin.Status().Update(c.t.Context(), o); err != nil || o.GetResourceVersion() != version {
		c.t.Errorf("%T: writing it again: %v, version %s after %s", o, err, o.GetResourceVersion(), version)
	}
}

// class: the operator's reconciler works with the kinds that there are, and the GatewayClass says whether the
// bundle is supported.
func (c *suite) class(b bundle) {
	c.t.Helper()
	r := &gatewayclass.Reconciler{
		Known: release.Known("a", "b"), Kinds: kinds.NewCatalog(c.admin, c.admin.RESTMapper()), Client: c.admin, Cache: withoutMesh{c.admin},
	}
	if _, err := r.Reconcile(c.t.Context(), reconcile.Request{}); err != nil {
		c.t.Fatal(err)
	}
	class := &gwapiv1.GatewayClass{}
	if err := c.admin.Get(c.t.Context(), client.ObjectKey{Name: "tulle"}, class); err != nil {
		c.t.Fatal(err)
	}
	got := meta.FindStatusCondition(class.Status.Conditions, string(gwapiv1.GatewayClassConditionStatusSupportedVersion))
	if got == nil || (got.Status == metav1.ConditionTrue) != b.supported || !strings.Contains(got.Message, b.version+" ("+b.channel+" channel)") {
		c.t.Errorf("SupportedVersion: %+v", got)
	}
}

// check: tulle check has no problem with any of the bundles, and nothing to say of one that is supported.
func (c *suite) check(b bundle) {
	c.t.Helper()
	cli, err := cluster.New(c.server.Config, "default", "tulle-system")
	if err != nil {
		c.t.Fatal(err)
	}
	f, err := cli.Observe(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	want, found := check.OK, 0
	if !b.supported {
		want = check.Warning
	}
	for _, finding := range check.All(f) {
		if finding.Section == check.SectionGatewayAPI {
			found++
			if finding.Level != want || !strings.Contains(finding.Message, b.version) {
				c.t.Errorf("%+v", finding)
			}
		}
	}
	if found != 1 {
		c.t.Errorf("%d findings", found)
	}
}

// remove deletes the bundle, with its objects, and waits until it is gone. A definition is deleted when its objects can
// be listed: before that the API server tries to delete these, and then waits ever longer between its tries.
func (c *suite) remove() {
	for _, d := range c.definitions {
		c.listed(d)
	}
	for _, d := range c.definitions {
		if err := c.admin.Delete(c.t.Context(), d); client.IgnoreNotFound(err) != nil {
			c.t.Error(err)
		}
	}
	c.eventually("removed", func() error {
		left := &metav1.PartialObjectMetadataList{}
		left.SetGroupVersionKind(kinds.Definition().GroupVersionKind())
		if err := c.admin.List(c.t.Context(), left); err != nil {
			return err
		}
		if n := len(left.Items); n > 0 {
			return fmt.Errorf("%d definitions are left", n)
		}
		return nil
	})
}

// listed waits until the objects of a definition can be listed.
func (c *suite) listed(definition *unstructured.Unstructured) {
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	for _, v := range versions {
		if m, ok := v.(map[string]any); ok && m["served"] == true {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: fmt.Sprint(m["name"]), Kind: kind + "List"})
			c.eventually("list "+kind, func() error { return c.admin.List(c.t.Context(), list) })
		}
	}
}

func (c *suite) eventually(what string, f func() error) {
	c.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			c.t.Fatalf("%s: %v", what, err)
		}
	}
}

// nobody refers to anything.
type nobody struct{}

func (nobody) Wanted(source.Kind, model.Key) bool       { return false }
func (nobody) Changed(source.Kind, model.Key, string)   {}
func (nobody) Listed(source.Kind, map[model.Key]string) {}
func (nobody) Unwatched(source.Kind)                    {}

// withoutMesh is a cluster whose definition of Mesh is not installed: there is none.
type withoutMesh struct{ client.Client }

func (w withoutMesh) List(ctx context.Context, list client.ObjectList, o ...client.ListOption) error {
	if _, ok := list.(*v1alpha1.MeshList); ok {
		return nil
	}
	return w.Client.List(ctx, list, o...)
}
