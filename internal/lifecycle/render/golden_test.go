// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"bytes"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/golden"
)

// TestGolden renders the Mesh, and the Gateway if there is one, of each case; -update writes what comes out.
func TestGolden(t *testing.T) {
	golden.Cases(t, "testdata", func(t *testing.T, c *golden.Case) {
		in, gw := read(t, c.Input(t))
		var objects []Object
		if gw == nil {
			for _, list := range [][]Object{
				Certificates(in),
				{Trust(in.Mesh.Name, in.Namespace, TrustData{Roots: in.Anchors})},
				ControlPlane(in),
				{Service(in), Replicas(in), Webhook(in), GatewayClass(in), XMesh()},
			} {
				objects = append(objects, list...)
			}
		} else {
			objects = gatewayOf(in, gw)
		}
		c.Compare(t, "out.yaml", text(t, objects))
		labelled(t, objects)
		if again := text(t, renderAgain(in, gw, objects)); !bytes.Equal(again, text(t, objects)) {
			t.Error("the same input gave other objects")
		}
	})
}

// TestSecretsOnDemand: the control plane may read Secrets and ConfigMaps only while something refers to one.
func TestSecretsOnDemand(t *testing.T) {
	known := release.Known("registry.example/tulle:1", "registry.example/tulle-proxy:1")
	for _, references := range []bool{false, true} {
		in := Input{Mesh: &v1alpha1.Mesh{}, Release: known[len(known)-1], Namespace: "tulle-system", References: references}
		bound := bytes.Contains(text(t, ControlPlane(in)), []byte("name: "+names.GatewaySecretsRole+"\n"))
		if bound != references {
			t.Errorf("bound: %v, with references: %v", bound, references)
		}
	}
}

// gatewayOf renders a Gateway for which nothing is in the cluster yet.
func gatewayOf(in Input, gw *gwapiv1.Gateway) []Object {
	n := GatewayScale(in.Mesh, gw).Replicas
	return Gateway(in, gw, Standing{Replicas: &n})
}

// renderAgain renders in the same way a second time, from a copy of the input.
func renderAgain(in Input, gw *gwapiv1.Gateway, first []Object) []Object {
	in.Mesh = in.Mesh.DeepCopy()
	if gw != nil {
		return gatewayOf(in, gw.DeepCopy())
	}
	out := append(Certificates(in), Trust(in.Mesh.Name, in.Namespace, TrustData{Roots: in.Anchors}))
	return append(append(out, ControlPlane(in)...), Service(in), Replicas(in), Webhook(in), GatewayClass(in), first[len(first)-1])
}

// labelled holds the package's invariant: apply finds everything again by its labels, but for the
// XMesh, which may carry none.
func labelled(t *testing.T, objects []Object) {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() == "XMesh" {
			if len(o.GetLabels()) > 0 || len(o.Object["spec"].(map[string]any)) != 1 {
				t.Errorf("the XMesh may have a name and a controllerName only: %v", o)
			}
			continue
		}
		if o.GetLabels()[names.LabelManagedBy] != names.Operator {
			t.Errorf("%s %s has no label %s", o.GetKind(), o.GetName(), names.LabelManagedBy)
		}
		if _, ok := o.Object["status"]; ok {
			t.Errorf("%s %s has a status", o.GetKind(), o.GetName())
		}
	}
}

func read(t *testing.T, text []byte) (Input, *gwapiv1.Gateway) {
	t.Helper()
	known := release.Known("registry.example/tulle:1", "registry.example/tulle-proxy:1")
	in := Input{Release: known[len(known)-1], Namespace: "tulle-system", Anchors: "-----ROOTS-----\n", References: true}
	var gw *gwapiv1.Gateway
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		var kind unstructured.Unstructured
		if err := yaml.Unmarshal(doc, &kind.Object); err != nil {
			t.Fatal(err)
		}
		switch kind.GetKind() {
		case "Mesh":
			in.Mesh = &v1alpha1.Mesh{}
			strict(t, doc, in.Mesh)
		case "Gateway":
			gw = &gwapiv1.Gateway{}
			strict(t, doc, gw)
		default:
			t.Fatalf("unknown kind %q", kind.GetKind())
		}
	}
	return in, gw
}

func strict(t *testing.T, doc []byte, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(doc, into); err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, objects []Object) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, o := range objects {
		y, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n")
		b.Write(y)
	}
	return b.Bytes()
}
