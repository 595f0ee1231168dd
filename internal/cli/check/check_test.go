// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/cli/ports"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/names"
)

func now() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// bare is a cluster that is fit for Tulle and has none.
func bare() facts.Facts {
	f := facts.Facts{
		At: now(), System: "tulle-system", Server: facts.Version{Major: 1, Minor: 36, Text: "v1.36.3"},
		Nodes:       []facts.Node{{Name: "n", OS: "linux", Arch: "amd64", Kubelet: facts.Version{Major: 1, Minor: 36, Text: "v1.36.3"}}},
		Kinds:       map[string]facts.Kind{},
		CertManager: []facts.Workload{{Namespace: "cert-manager", Name: "cert-manager", Ready: 1, Wanted: 1}},
		Rights:      []facts.Right{{Verb: "create", Resource: "namespaces", Allowed: true}},
	}
	for _, need := range release.GatewayAPIKinds() {
		f.Kinds[need.Definition] = facts.Kind{Name: need.Definition, Served: []string{need.Version}, Bundle: release.GatewayAPIVersion, Channel: "standard", Established: true}
	}
	for _, name := range []string{"certificates.cert-manager.io", "issuers.cert-manager.io", "clusterissuers.cert-manager.io"} {
		f.Kinds[name] = facts.Kind{Name: name, Established: true}
	}
	return f
}

// healthy is a cluster with a mesh in which everything works.
func healthy() facts.Facts {
	f := bare()
	f.Kinds[MeshKind] = facts.Kind{Name: MeshKind, Established: true}
	f.Operator = []facts.Workload{{Namespace: "tulle-system", Name: "tulle-operator", Account: "tulle-operator", Ready: 1, Wanted: 1}}
	f.Fences = []facts.Fence{{Policy: "tulle-operator-pods", Account: ":tulle-operator"}, {Policy: "tulle-operator-workloads", Account: ":tulle-operator"}}
	f.ControlPlane = []facts.Workload{{Namespace: "tulle-system", Name: "tulle-controlplane-0-2-0", Revision: "0-2-0", Ready: 2, Wanted: 2}}
	expiry := metav1.NewTime(now().Add(365 * 24 * time.Hour))
	f.Meshes = []v1alpha1.Mesh{{
		ObjectMeta: metav1.ObjectMeta{Name: "default", Generation: 1, CreationTimestamp: metav1.NewTime(now().Add(-time.Hour))},
		Spec:       v1alpha1.MeshSpec{Version: "0.2.0"},
		Status: v1alpha1.MeshStatus{
			ObservedGeneration: 1, Version: "0.2.0", RootCertificateExpiry: &expiry,
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady}},
		},
	}}
	f.Webhooks = []facts.Webhook{{Configuration: "tulle", Name: "inject", Service: "tulle-system/tulle-controlplane", Endpoints: 2, RootsEnd: expiry.Time}}
	f.Namespaces = []facts.Namespace{{Name: "shop"}}
	f.Proxies = []facts.Pod{{Namespace: "shop", Name: "web", Kind: "sidecar", Version: "0.2.0", Ready: true, Created: now().Add(-time.Hour)}}
	f.Streams = []facts.Stream{{Namespace: "shop", Pod: "web"}}
	return f
}

// TestAllIsWell: neither a fit cluster nor a healthy mesh has anything to say but ok, in both channels of
// the Gateway API: XMesh, which only the experimental one has, is not needed.
func TestAllIsWell(t *testing.T) {
	experimental := healthy()
	for name, k := range experimental.Kinds {
		k.Channel = "experimental"
		experimental.Kinds[name] = k
	}
	experimental.Kinds["xmeshes.gateway.networking.x-k8s.io"] = facts.Kind{
		Name: "xmeshes.gateway.networking.x-k8s.io", Served: []string{"v1alpha1"}, Bundle: release.GatewayAPIVersion, Channel: "experimental", Established: true,
	}
	for name, f := range map[string]facts.Facts{"bare": bare(), "healthy": healthy(), "experimental": experimental} {
		findings := All(f)
		if len(findings) < 5 || Worst(findings) != OK {
			t.Errorf("%s: %+v", name, findings)
		}
	}
}

// TestFindings: each fault is found, at its level, in words that name it, with a fix; and nothing else is.
func TestFindings(t *testing.T) {
	for name, c := range map[string]struct {
		healthy bool
		spoil   func(*facts.Facts)
		level   Level
		says    string
	}{
		"old Kubernetes": {false, func(f *facts.Facts) { f.Server = facts.Version{Major: 1, Minor: 28, Text: "v1.28.0"} }, Problem, "v1.28.0 is too old"},
		"no in-place":    {false, func(f *facts.Facts) { f.Server = facts.Version{Major: 1, Minor: 31, Text: "v1.31.9"} }, Warning, "can't replace a proxy"},
		"old kubelet":    {false, func(f *facts.Facts) { f.Nodes[0].Kubelet = facts.Version{Major: 1, Minor: 27, Text: "v1.27.1"} }, Problem, "n (v1.27.1)"},
		"kubelet lags":   {false, func(f *facts.Facts) { f.Nodes[0].Kubelet.Minor = 31 }, Warning, "kubelet can't replace"},
		"arm":            {false, func(f *facts.Facts) { f.Nodes[0].Arch = "arm64" }, Warning, "n (linux/arm64)"},
		"no gateway API": {false, func(f *facts.Facts) { delete(f.Kinds, "httproutes.gateway.networking.k8s.io") }, Problem, "httproutes"},
		"other gateway API": {false, func(f *facts.Facts) {
			for name, k := range f.Kinds {
				k.Bundle = "v1.8.0"
				f.Kinds[name] = k
			}
		}, Warning, "v1.8.0"},
		"no cert-manager":                      {false, func(f *facts.Facts) { delete(f.Kinds, "issuers.cert-manager.io") }, Problem, "issuers.cert-manager.io"},
		"cert-manager down":                    {false, func(f *facts.Facts) { f.CertManager[0].Ready = 0 }, Problem, "cert-manager/cert-manager (0 of 1 ready)"},
		"cert-manager unnamed":                 {false, func(f *facts.Facts) { f.CertManager = nil }, Warning, "label"},
		"no rights":                            {false, func(f *facts.Facts) { f.Rights[0].Allowed = false }, Problem, "create namespaces"},
		"no operator":                          {true, func(f *facts.Facts) { f.Operator = nil }, Problem, "no operator"},
		"operator down":                        {true, func(f *facts.Facts) { f.Operator[0].Ready = 0 }, Problem, "operator tulle-system/tulle-operator is not ready"},
		"no policy about ephemeral containers": {true, func(f *facts.Facts) { f.EphemeralOpen = true }, Warning, "tulle-ephemeral-containers or its binding is missing"},
		"as the proxy": {true, func(f *facts.Facts) {
			f.Proxies[0].Containers = []facts.Container{{Name: "app", User: names.ProxyUID}}
		}, Warning, "(container app)"},
		"may be the proxy": {true, func(f *facts.Facts) {
			f.Proxies[0].Containers = []facts.Container{{Name: "app", User: -1, BecomesAnyUser: true}, {Name: "b", User: 0, BecomesAnyUser: true}}
		}, Notice, "2 containers of meshed pods"},
		"open hooks": {true, func(f *facts.Facts) {
			f.Proxies[0].Containers = []facts.Container{{Name: "app", OpenHooks: []string{"preStop"}}}
		}, Warning, "(preStop of container app)"},
		"no fence": {true, func(f *facts.Facts) { f.Unfenced = []string{"tulle-operator-pods"} }, Warning, "tulle-operator-pods"},
		"fence elsewhere": {true, func(f *facts.Facts) {
			f.Fences[1].Account = "system:serviceaccount:other:tulle-operator" // as 0.2.0 has it
		}, Warning, "tulle-operator-workloads does not apply to the operator: it is about the account system:serviceaccount:other:tulle-operator"},
		"fence of a name": {true, func(f *facts.Facts) { f.Operator[0].Account = "my-tulle" }, Warning, "system:serviceaccount:tulle-system:my-tulle"},
		"two operators":   {true, func(f *facts.Facts) { f.OtherOperators = []string{"mesh-system"} }, Problem, "in namespace tulle-system and in mesh-system"},
		"second Mesh": {true, func(f *facts.Facts) {
			f.Meshes = append(f.Meshes, v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "another", CreationTimestamp: metav1.NewTime(now())}})
		}, Problem, "another does nothing, because default is older"},
		"not ready": {true, func(f *facts.Facts) {
			f.Meshes[0].Status.Conditions = []metav1.Condition{
				{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse},
				{Type: v1alpha1.ConditionValid, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonUnknownVersion, Message: "write 0.2.0"},
			}
		}, Problem, "Valid is False (UnknownVersion)"},
		"intermediates not required": {true, func(f *facts.Facts) {
			f.Meshes[0].Status.Conditions = append(f.Meshes[0].Status.Conditions, metav1.Condition{
				Type: v1alpha1.ConditionIntermediatesRequired, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRecording, Message: "accepted for now: waiting for shop/web",
			})
		}, Warning, "waiting for shop/web"},
		"shared issuer": {true, func(f *facts.Facts) {
			f.Meshes[0].Spec.Certificates.IssuerRef = &v1alpha1.IssuerRef{Group: "cert-manager.io", Kind: "ClusterIssuer", Name: "company"}
		}, Warning, "every namespace may ask ClusterIssuer company"},
		"roots not written": {true, func(f *facts.Facts) {
			f.Meshes[0].Status.Conditions = append(f.Meshes[0].Status.Conditions, metav1.Condition{
				Type: v1alpha1.ConditionInjectionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRootsUnwritten, Message: "cannot be written to namespace full (exceeded quota: c)",
			})
		}, Warning, "namespace full (exceeded quota: c)"},
		"any address": {true, func(f *facts.Facts) {
			f.Meshes[0].Spec.ControlPlane.SourceAddressCheck = v1alpha1.SourceAddressCheckDisabled
		}, Warning, "can be used from any address"},
		"not ready, silent": {true, func(f *facts.Facts) { f.Meshes[0].Status.Conditions = nil }, Problem, "does not say why"},
		"not observed":      {true, func(f *facts.Facts) { f.Meshes[0].Generation = 2 }, Warning, "not looked at yet"},
		"root ends soon": {true, func(f *facts.Facts) {
			f.Meshes[0].Status.RootCertificateExpiry.Time = now().Add(24 * time.Hour)
		}, Warning, "2026-11-22"},
		"root ended":         {true, func(f *facts.Facts) { f.Meshes[0].Status.RootCertificateExpiry.Time = now() }, Problem, "2026-11-21"},
		"no control plane":   {true, func(f *facts.Facts) { f.ControlPlane = nil }, Problem, "no control plane"},
		"control plane down": {true, func(f *facts.Facts) { f.ControlPlane[0].Ready = 0 }, Problem, "0 of 2 replicas ready"},
		"one replica":        {true, func(f *facts.Facts) { f.ControlPlane[0].Ready = 1 }, Warning, "1 of 2 replicas ready"},
		"no webhook":         {true, func(f *facts.Facts) { f.Webhooks = nil }, Problem, "no injection webhook"},
		"webhook's roots":    {true, func(f *facts.Facts) { f.Webhooks[0].RootsEnd = time.Time{} }, Problem, "no certificate that is still good"},
		"nobody serves":      {true, func(f *facts.Facts) { f.Webhooks[0].Endpoints = 0 }, Problem, "tulle-system/tulle-controlplane"},
		"restricted":         {true, func(f *facts.Facts) { f.Namespaces[0].Enforce = "restricted" }, Problem, "namespace shop enforces Pod Security restricted"},
		"bare pod": {true, func(f *facts.Facts) {
			f.Bare = []facts.Pod{{Namespace: "shop", Name: "old", Created: now().Add(-time.Hour)}}
		}, Warning, "shop/old"},
		"left in the mesh": {true, func(f *facts.Facts) { f.Namespaces = []facts.Namespace{{Name: "other"}} }, Warning, "namespace shop does not ask for proxies, but 1 pod there has one"},
		"bypass":           {true, func(f *facts.Facts) { f.Proxies[0].Warnings = []string{"container a has NET_ADMIN"} }, Warning, "shop/web (container a has NET_ADMIN)"},
		"plaintext in the mesh": {true, func(f *facts.Facts) {
			f.Streams[0].Plaintext = []facts.Plaintext{{Namespace: "shop", Pod: "api", Count: 12}, {Namespace: "other", Pod: "job", Count: 1}}
		}, Warning, "pod shop/web received plaintext from meshed pods: other/job (1), shop/api (12)"},
		"unready":                    {true, func(f *facts.Facts) { f.Proxies[0].Ready = false; f.Proxies[0].Message = "waiting" }, Warning, "shop/web (waiting)"},
		"old proxy":                  {true, func(f *facts.Facts) { f.Proxies[0].Version = "0.0.9" }, Warning, "shop/web (0.0.9)"},
		"alone":                      {true, func(f *facts.Facts) { f.Streams = nil }, Warning, "not connected to the control plane"},
		"wordless rejection":         {true, func(f *facts.Facts) { f.Streams[0].Rejected = 2 }, Problem, "shop/web refuses 2 resources"},
		"a port of no protocol":      {true, func(f *facts.Facts) { f.World = world("web") }, Notice, "namespace shop-0: 1 port is carried as bytes, because nothing declares a protocol: web:80 (web)"},
		"more ports than are served": {true, func(f *facts.Facts) { f.World = world("http"); f.World.Services[0].MorePorts = 3 }, Warning, "1 Service has more than 256 TCP ports, of which only the first have listeners: shop-0/web"},
		"more ports than a namespace may have": {true, func(f *facts.Facts) {
			f.World = world("http")
			web := &f.World.Services[0]
			for i := range model.MaxPorts - 1 {
				web.Ports = append(web.Ports, model.ServicePort{Name: fmt.Sprintf("http-%d", i), Port: uint16(1000 + i), Protocol: model.HTTP, Declared: true})
			}
			for i := range 8 {
				other := *web
				other.Name = fmt.Sprintf("other-%d", i)
				f.World.Services = append(f.World.Services, other)
			}
		}, Warning, "1 Service has listeners for the first TCP ports only, because the Services of the namespace have too many: shop-0/web (128 of 256)"},
		"more endpoints than are used": {true, func(f *facts.Facts) {
			f.World = world("http")
			f.World.Slices[0].Endpoints = slices.Repeat(f.World.Slices[0].Endpoints, model.MaxPairs+1)
		}, Warning, "1 Service has more pairs of a port and an endpoint than are used, so clients use only some of the endpoints: shop-0/web (50000 of 50001)"},
		"a webhook": {true, calls, Notice, "ValidatingWebhookConfiguration policy would be closed by mode Strict"},
		"a webhook in Strict": {true, func(f *facts.Facts) {
			calls(f)
			f.Meshes[0].Spec.MTLS.Mode = v1alpha1.MTLSStrict
		}, Problem, "ValidatingWebhookConfiguration policy is closed by mode Strict, and what it is asked about fails: the API server, which has no proxy, calls Service shop-0/web, port 80, and with it port 8080 of shop-0/web"},
		"rejection": {true, func(f *facts.Facts) {
			f.Streams[0].Nacks = []facts.Nack{{Name: "out/shop/web/80", Message: "no such filter"}}
		}, Problem, "shop/web refuses out/shop/web/80: no such filter"},
	} {
		f := bare()
		if c.healthy {
			f = healthy()
		}
		c.spoil(&f)
		var bad []Finding
		for _, finding := range All(f) {
			if finding.Level != OK {
				bad = append(bad, finding)
			}
		}
		if len(bad) != 1 || bad[0].Level != c.level || !strings.Contains(bad[0].Message, c.says) || bad[0].Fix == "" {
			t.Errorf("%s: %+v", name, bad)
		}
	}
}

// world has a meshed Service in each of as many namespaces as there are names of ports.
func world(portNames ...string) ports.World {
	var w ports.World
	for i, name := range portNames {
		key := model.Key{Namespace: fmt.Sprintf("shop-%d", i), Name: "web"}
		addr := netip.AddrFrom4([4]byte{198, 18, 0, byte(i)})
		p := model.ServicePort{Name: name, Port: 80}
		p.Protocol, p.Declared = model.ProtocolOf("", name, 80)
		w.Services = append(w.Services, model.Service{Key: key, VIPs: []netip.Addr{addr}, Ports: []model.ServicePort{p}})
		w.Slices = append(w.Slices, model.Slice{
			Key: key, Service: key, Ports: []model.SlicePort{{Name: name, Port: 8080}},
			Endpoints: []model.SliceEndpoint{{Addr: addr, Pod: key, Ready: true}},
		})
		w.Pods = append(w.Pods, model.Workload{Key: key, Kind: names.KindSidecar, Addresses: []netip.Addr{addr}})
	}
	return w
}

// calls makes the API server call a meshed pod.
func calls(f *facts.Facts) {
	f.World = world("http")
	f.Calls = []ports.Call{{Kind: "ValidatingWebhookConfiguration", Name: "policy", Service: model.Key{Namespace: "shop-0", Name: "web"}, Port: 80, Fail: true}}
}

// TestManyPorts: of many namespaces the first are listed, and the others counted.
func TestManyPorts(t *testing.T) {
	f := healthy()
	f.World = world(slices.Repeat([]string{"web"}, 12)...)
	var notices []Finding
	for _, finding := range All(f) {
		if finding.Level == Notice {
			notices = append(notices, finding)
		}
	}
	if n := len(notices); n != 11 || !strings.HasPrefix(notices[10].Message, "2 further namespaces: 2 ports are carried") || Worst(notices) != Notice {
		t.Errorf("%d: %+v", n, notices)
	}
}

// TestYoungPods: what was made a moment ago gets time before it is a finding.
func TestYoungPods(t *testing.T) {
	f := healthy()
	young := facts.Pod{Namespace: "shop", Name: "young", Version: "0.2.0", Created: now().Add(-time.Second)}
	f.Proxies = append(f.Proxies, young)
	f.Bare = append(f.Bare, young)
	if findings := All(f); Worst(findings) != OK {
		t.Errorf("%+v", findings)
	}
}

// TestUnconnected: a proxy that has never had a configuration does not work with the last one.
func TestUnconnected(t *testing.T) {
	f := healthy()
	f.Streams = nil
	f.Proxies[0].Started = true
	f.Proxies = append(f.Proxies, facts.Pod{Namespace: "shop", Name: "new", Kind: "sidecar", Version: "0.1.0", Created: now().Add(-time.Hour)})
	said := proxiesConnected(f)
	if len(said) != 2 || !strings.HasSuffix(said[0].Message, "the last configuration they got: shop/web") || !strings.Contains(said[0].Fix, "logs") ||
		!strings.HasSuffix(said[1].Message, "without a configuration since they started: shop/new") || !strings.Contains(said[1].Fix, "describe pod") {
		t.Errorf("%+v", said)
	}
}

// TestUnread: what could not be read is never taken for good, and is said once.
func TestUnread(t *testing.T) {
	for _, what := range []string{
		facts.UnreadNodes, facts.UnreadKinds, facts.UnreadCertManager, facts.UnreadSystem, facts.UnreadMeshes,
		facts.UnreadWebhooks, facts.UnreadFence, facts.UnreadNamespaces, facts.UnreadPods, facts.UnreadControlPlane,
		facts.UnreadServices, facts.UnreadCalls,
	} {
		f := healthy()
		f.Unread = []facts.Unread{{What: what, Why: "forbidden"}}
		said := 0
		for _, finding := range All(f) {
			if finding.Level == Unknown && strings.Contains(finding.Message, what) && finding.Fix != "" {
				said++
			}
		}
		if said != 1 {
			t.Errorf("%s: said %d times: %+v", what, said, All(f))
		}
	}
}

// TestFew: long lists are cut, in a stable order.
func TestFew(t *testing.T) {
	if got := few([]string{"d", "b", "a", "c", "e"}); got != "a, b, c and 2 more" {
		t.Error(got)
	}
	if got := few([]string{"b", "a"}); got != "a, b" {
		t.Error(got)
	}
}

// TestOwnLabel: a pod that asks by its own label is where it belongs, and so is a Gateway's.
func TestOwnLabel(t *testing.T) {
	f := healthy()
	f.Namespaces = nil
	f.Proxies[0].Asks = true
	f.Proxies = append(f.Proxies, facts.Pod{Namespace: "edge", Name: "gw", Kind: "gateway"})
	if got := leftInMesh(f); got != nil {
		t.Errorf("%+v", got)
	}
}

// TestPlaintext: both slots of a pod count as one, and a long list ends.
func TestPlaintext(t *testing.T) {
	f := healthy()
	f.Streams = nil
	for i := range mostReceivers + 3 {
		for range 2 {
			f.Streams = append(f.Streams, facts.Stream{
				Namespace: "shop", Pod: fmt.Sprintf("web-%02d", i), Plaintext: []facts.Plaintext{{Namespace: "shop", Pod: "api", Count: 2}},
			})
		}
	}
	got := plaintext(f)
	if len(got) != mostReceivers+1 {
		t.Fatalf("%d findings, want %d", len(got), mostReceivers+1)
	}
	if want := "pod shop/web-00 received plaintext from meshed pods: shop/api (4)"; !strings.HasPrefix(got[0].Message, want) {
		t.Errorf("%q, want %q", got[0].Message, want)
	}
	if last := got[mostReceivers]; !strings.HasPrefix(last.Message, "3 further pods received plaintext from meshed pods") || last.Fix == "" {
		t.Errorf("the last one: %+v", last)
	}
}
