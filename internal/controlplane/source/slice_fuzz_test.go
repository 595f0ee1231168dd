// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"

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
		svc := model.Service{Key: out.Service}
		for _, p := range out.Ports {
			svc.Ports = append(svc.Ports, model.ServicePort{Name: p.Name, Port: p.Port, Protocol: model.TCP})
		}
		r := model.Resolve(svc, []model.Slice{out}, func(k model.Key) (model.Workload, bool) {
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
		})
		for _, p := range r.Ports {
			for _, e := range slices.Concat(p.Endpoints, p.Members) {
				if w, known := pods[e.Pod]; known && !slices.Contains(w.Addresses, e.Addr.Addr()) {
					t.Errorf("%s is taken for pod %s, which has another address", e.Addr, e.Pod)
				}
			}
		}
	})
}
