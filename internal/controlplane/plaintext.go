// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// PlaintextReport is a meshed pod whose address sent a proxy something without the mesh's mutual TLS.
type PlaintextReport struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// Count is how many requests and connections came.
	Count uint64 `json:"count"`
}

// meshedAt are the pods with a proxy, by address.
func (f *feed) meshedAt() map[netip.Addr]model.Key {
	f.mu.RLock()
	defer f.mu.RUnlock()
	out := map[netip.Addr]model.Key{}
	for k, w := range f.workloads {
		if w.Kind != names.KindSidecar && w.Kind != names.KindGateway || w.HostNetwork || w.Ended {
			continue
		}
		for _, a := range w.Addresses {
			out[a] = k
		}
	}
	return out
}

// plaintextFrom finds the meshed pods among the clients in a proxy's report. A pod that calls itself is not
// one of them. An address may have had another pod when it sent what is counted.
func plaintextFrom(pod model.Key, r *protocol.Report, meshed map[netip.Addr]model.Key) []PlaintextReport {
	var out []PlaintextReport
	for text, n := range r.Plaintext {
		a, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		if k, ok := meshed[a.Unmap()]; ok && k != pod {
			out = append(out, PlaintextReport{Namespace: k.Namespace, Pod: k.Name, Count: n})
		}
	}
	slices.SortFunc(out, func(a, b PlaintextReport) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(b.Count, a.Count))
	})
	return out
}

// addPlaintext fills in what the proxies received from meshed pods, and returns the sum. It costs nothing
// where no proxy reports a client.
func (f *feed) addPlaintext(list []ProxyReport) (sum uint64) {
	var meshed map[netip.Addr]model.Key
	for i := range list {
		p := &list[i]
		if p.Report == nil || len(p.Report.Plaintext) == 0 {
			continue
		}
		if meshed == nil {
			meshed = f.meshedAt()
		}
		p.Plaintext = plaintextFrom(model.Key{Namespace: p.Namespace, Name: p.Pod}, p.Report, meshed)
		for _, from := range p.Plaintext {
			sum += from.Count
		}
	}
	return sum
}

// countPlaintext has the metrics show what the proxies of this replica received from meshed pods.
func (r *replica) countPlaintext() error {
	err := r.metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tulle_plaintext_from_meshed_pods",
		Help: "Requests and connections that pods with a proxy received from pods with a proxy without the mesh's mutual TLS, " +
			"as the proxies connected to this replica count them. A client counts until half an hour to an hour after it came last.",
	}, func() float64 {
		var list []ProxyReport
		for _, s := range r.server.Streams() {
			if c, ok := s.Principal.(connected); ok && reportsPlaintext(s) {
				list = append(list, proxyReport(c, s))
			}
		}
		return float64(r.feed.addPlaintext(list))
	}))
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}
