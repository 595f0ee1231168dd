// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
)

// tenantSet is ListenerSet n of a tenant's Gateway: 64 HTTPS listeners on one port, each with a host name of its own.
func tenantSet(n int, generation int64) source.Event {
	k := model.Key{Namespace: "tenant", Name: fmt.Sprintf("set-%03d", n)}
	set := &gwapiv1.ListenerSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name, UID: types.UID(k.String()), Generation: generation},
		Spec:       gwapiv1.ListenerSetSpec{ParentRef: gwapiv1.ParentGatewayReference{Name: "own"}},
	}
	for i := range 64 {
		host := gwapiv1.Hostname(fmt.Sprintf("host-%03d-%02d-%d.tenant.example.com", n, i, generation))
		set.Spec.Listeners = append(set.Spec.Listeners, gwapiv1.ListenerEntry{
			Name: gwapiv1.SectionName(fmt.Sprintf("l%02d", i)), Port: 443, Protocol: gwapiv1.HTTPSProtocolType, Hostname: &host,
			TLS: &gwapiv1.ListenerTLSConfig{CertificateRefs: []gwapiv1.SecretObjectReference{{Name: "cert"}}},
		})
	}
	return source.Event{Kind: source.ListenerSet, Key: k, Object: set}
}

// TestManyListenerSets: a tenant's Gateway with 100 ListenerSets of 64 listeners takes little memory, in the control
// plane and on the wire, also when one of them changes, and none when the route of another Gateway does.
func TestManyListenerSets(t *testing.T) {
	g := crowdedGateway(50, false)
	heap := func() (live, total uint64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, m.TotalAlloc
	}
	const mebi = 1 << 20
	own, same := model.Key{Namespace: "tenant", Name: "own"}, gwapiv1.NamespacesFromSame
	cert := model.Key{Namespace: "tenant", Name: "cert"}
	events := []source.Event{
		{Kind: source.TLSSecret, Key: cert, Object: source.TLS{TLSSecret: model.TLSSecret{Key: cert, Certificate: "C", PrivateKey: "K"}}},
		{Kind: source.Gateway, Key: own, Object: &gwapiv1.Gateway{
			ObjectMeta: metav1.ObjectMeta{Namespace: own.Namespace, Name: own.Name, Generation: 1},
			Spec: gwapiv1.GatewaySpec{
				GatewayClassName: "tulle", AllowedListeners: &gwapiv1.AllowedListeners{Namespaces: &gwapiv1.ListenerNamespaces{From: &same}},
				Listeners: []gwapiv1.Listener{{Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType}},
			},
		}},
	}
	for n := range 100 {
		events = append(events, tenantSet(n, 1))
	}
	for _, step := range []struct {
		name        string
		events      []source.Event
		live, total uint64
	}{
		{"100 sets", events, 64 * mebi, 256 * mebi},
		{"a change of a set with places", []source.Event{tenantSet(0, 2)}, 32 * mebi, 256 * mebi},
		{"a change of a set without", []source.Event{tenantSet(99, 2)}, 8 * mebi, 16 * mebi},
		{"a change of another Gateway's route", []source.Event{crowdedRoute(7, false, 5)}, mebi, mebi},
	} {
		live, total := heap()
		start := time.Now()
		r := g.Apply(step.events, Inputs{})
		took := time.Since(start)
		nowLive, nowTotal := heap()
		grown, allocated := int64(nowLive)-int64(live), nowTotal-total
		bytes := 0
		for _, c := range r.Resources {
			bytes += len(c.Resource.Body)
		}
		t.Logf("%s: %v, %d functions, %d KiB more in use, %d KiB allocated, %d KiB published", step.name, took, g.engine.TotalEvals(), grown>>10, allocated>>10, bytes>>10)
		if grown > int64(step.live) || allocated > step.total || bytes > 8*mebi {
			t.Errorf("%s: %d bytes more in use and %d allocated, want at most %d and %d", step.name, grown, allocated, step.live, step.total)
		}
	}
	p, _ := g.gateways.ports.Value(portOf{gateway: own, port: 443})
	if n := len(p.Sections); n != 255 {
		t.Errorf("%d listeners of the sets are served, want 255, beside the Gateway's own", n)
	}
}
