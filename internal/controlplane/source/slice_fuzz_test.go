// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// FuzzSlice: whatever an EndpointSlice says, it belongs to a Service of its own namespace, and a pod of another
// namespace gets behind that Service only by its address.
func FuzzSlice(f *testing.F) {
	f.Add([]byte(`{"metadata":{"namespace":"aaa","name":"x-1","labels":{"kubernetes.io/service-name":"x"}},"addressType":"IPv4","ports":[{"name":"p","port":8080}],
		"endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true},"targetRef":{"kind":"Pod","namespace":"shop","name":"cart"},"hints":{"forZones":[{"name":"z"}]},"hostname":"cart"}]}`))
	f.Add([]byte(`{"metadata":{"namespace":"aaa","labels":{"kubernetes.io/service-name":"x"}},"addressType":"IPv6","ports":[{"port":70000},{"protocol":"SCTP","port":1},{}],"endpoints":[{"addresses":["::ffff:10.0.0.2"]},{},{"addresses":["x"]}]}`))
	f.Add([]byte(`{"addressType":"FQDN"}`))
	pods := map[model.Key]model.Workload{}
	for i, ns := range []string{"aaa", "shop"} {
		k := model.Key{Namespace: ns, Name: "cart"}
		pods[k] = model.Workload{Key: k, Kind: names.KindSidecar, ServiceAccount: "sa", Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := &discoveryv1.EndpointSlice{}
		if json.Unmarshal(in, s) != nil {
			return
		}
		out, ok := SliceFrom(s)
		if !ok {
			return
		}
		if out.Service.Namespace != s.Namespace || len(out.Endpoints) > len(s.Endpoints) || len(out.Ports) > len(s.Ports) {
			t.Fatalf("read as %+v", out)
		}
		svc := model.Service{Key: out.Service, MorePorts: len(in) % 2}
		for _, p := range out.Ports {
			svc.Ports = append(svc.Ports, model.ServicePort{Name: p.Name, Port: p.Port, Protocol: model.TCP})
		}
		r := model.Resolve(svc, []model.Slice{out}, model.MaxPairs, func(k model.Key) (model.Workload, bool) {
			if k.Namespace != out.Service.Namespace {
				t.Errorf("pod %s of another namespace is looked for by its name", k)
			}
			w, ok := pods[k]
			return w, ok
		}, func(a netip.Addr) (model.Workload, bool) {
			for _, w := range pods {
				if slices.Contains(w.Addresses, a) {
					return w, true
				}
			}
			return model.Workload{}, false
		}, nil)
		pairs := 0
		for _, p := range r.Ports {
			if pairs += len(p.Endpoints); pairs > model.MaxPairs {
				t.Fatalf("more than %d pairs of a port and an endpoint", model.MaxPairs)
			}
			for _, e := range slices.Concat(p.Endpoints, p.Members) {
				if w, known := pods[e.Pod]; known && !slices.Contains(w.Addresses, e.Addr.Addr()) {
					t.Errorf("%s is taken for pod %s, which has another address", e.Addr, e.Pod)
				}
			}
		}
	})
}

// FuzzService: whatever a Service says, no more ports of it are served than may be, in its order, and all TCP ports are
// counted.
func FuzzService(f *testing.F) {
	f.Add([]byte(`{"metadata":{"namespace":"shop","name":"x"},"spec":{"clusterIP":"10.0.0.1","ports":[{"name":"http","port":80},{"port":53,"protocol":"UDP"},{"port":9,"protocol":"SCTP"}]}}`), uint16(1))
	f.Add([]byte(`{"spec":{"clusterIP":"None","internalTrafficPolicy":"Local","ports":[{"port":80,"nodePort":70000,"appProtocol":"grpc"}]}}`), uint16(300))
	f.Add([]byte(`{"spec":{"type":"ExternalName","externalName":"a.b","ports":[{"port":-1}]}}`), uint16(2))
	f.Fuzz(func(t *testing.T, in []byte, times uint16) {
		s := &corev1.Service{}
		if json.Unmarshal(in, s) != nil || len(s.Spec.Ports) > 100 {
			return
		}
		s.Spec.Ports = slices.Repeat(s.Spec.Ports, int(times%1000))
		tcp := 0
		for _, p := range s.Spec.Ports {
			if p.Protocol == corev1.ProtocolTCP || p.Protocol == "" {
				tcp++
			}
		}
		out := ServiceFrom(s)
		served := 0
		for _, p := range out.Ports {
			if p.Protocol != model.UDP {
				served++
			}
		}
		if s.Spec.Type == corev1.ServiceTypeExternalName {
			tcp = 0
		}
		if len(out.Ports) > 2*model.MaxPorts || served > model.MaxPorts || out.MorePorts < 0 {
			t.Fatalf("%d ports, %d of them for TCP, and %d more", len(out.Ports), served, out.MorePorts)
		}
		if served+out.MorePorts != tcp {
			t.Errorf("%d TCP ports are %d and %d more", tcp, served, out.MorePorts)
		}
	})
}
