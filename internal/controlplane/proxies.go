// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/printable"
	"tulle.dev/tulle/internal/protocol"
)

// ProxyReport is one connected proxy, as names.PathProxies lists them.
type ProxyReport struct {
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	Kind      string    `json:"kind"`
	Version   string    `json:"version"`
	Since     time.Time `json:"since"`
	// Names it subscribes to, those that it does not have in their current version, and those it rejected.
	Names    int `json:"names"`
	Pending  int `json:"pending"`
	Rejected int `json:"rejected"`
	// Nacks are some of the rejections, in Envoy's words.
	Nacks []NackReport `json:"nacks,omitempty"`
	// Slot, Agent (its release) and Envoy (its version) are what the agent said when it connected.
	Slot  string `json:"slot,omitempty"`
	Agent string `json:"agent,omitempty"`
	Envoy string `json:"envoy,omitempty"`
	// Report is what the agent told last, and ReportedAt when that came; left out if it told nothing
	// that can be read. Like everything of this stream it is the pod's own word.
	Report     *protocol.Report `json:"report,omitempty"`
	ReportedAt time.Time        `json:"reportedAt,omitzero"`
	// Plaintext are the clients in Report that are meshed pods.
	Plaintext []PlaintextReport `json:"plaintext,omitempty"`
	// Cut tells that this row was longer than it may be: texts and lists in it are shorter than what the pod said, or
	// left out.
	Cut bool `json:"cut,omitempty"`
}

// NackReport is a resource that a proxy rejected.
type NackReport struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Message string `json:"message"`
}

// ProxiesReport is the answer of names.PathProxies for one replica.
type ProxiesReport struct {
	Connected int           `json:"connected"`
	Proxies   []ProxyReport `json:"proxies"`
	// Clients are the applications that are clients of the control plane themselves. They are no proxies:
	// nobody upgrades them.
	Clients []ProxyReport `json:"clients,omitempty"`
	// Failures counts translations that failed and whose last good result is served.
	Failures int `json:"failures"`
	// CPU is how many cores this replica used, averaged over the last minute; left out before there was one.
	CPU *float64 `json:"cpu,omitempty"`
}

// proxies answers names.PathProxies.
func (r *replica) proxies(w http.ResponseWriter, _ *http.Request) {
	out := ProxiesReport{Proxies: []ProxyReport{}}
	for _, s := range r.server.Streams() {
		c, ok := s.Principal.(connected)
		if !ok {
			continue
		}
		p := proxyReport(c, s)
		if wl, ok := r.feed.workload(keyOf(c)); ok {
			p.Version = wl.Version
		}
		if c.Kind == names.KindClient {
			out.Clients = append(out.Clients, p)
			continue
		}
		out.Proxies = append(out.Proxies, p)
	}
	r.feed.addPlaintext(out.Proxies)
	out.Connected, out.CPU = len(out.Proxies), r.usage.cores()
	r.feed.mu.RLock()
	out.Failures = len(r.feed.failures)
	r.feed.mu.RUnlock()
	text, err := encodeProxies(&out, maxDebugAnswer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, text)
}

// proxyReport is a stream as its proxy is reported, but for the pod's version. Each text that the pod reports is one line.
func proxyReport(c connected, s xds.Stream) ProxyReport {
	p := ProxyReport{
		Namespace: c.Namespace, Pod: c.Pod, Kind: c.Kind, Since: s.Since, Names: s.Names, Pending: s.Pending, Rejected: s.Rejected,
		Slot:  printable.Line(s.Node.Metadata[protocol.MetaSlot]),
		Agent: printable.Line(s.Node.Metadata[protocol.MetaVersion]), Envoy: printable.Line(s.Node.Metadata[protocol.MetaEnvoy]),
	}
	for _, n := range s.Rejections {
		p.Nacks = append(p.Nacks, NackReport{Type: n.Key.TypeURL, Name: printable.Line(n.Key.Name), Message: n.Err})
	}
	for _, n := range s.Notes {
		if n.TypeURL != protocol.ReportType {
			continue
		}
		var r protocol.Report
		if err := json.Unmarshal([]byte(n.Metadata[protocol.MetaReport]), &r); err == nil {
			r.Phase, r.Message = protocol.Phase(printable.Line(string(r.Phase))), printable.Line(r.Message)
			p.Report, p.ReportedAt = &r, n.At
		}
	}
	return p
}

// reportsPlaintext tells, without reading the report, whether there may be a client in its Plaintext.
func reportsPlaintext(s xds.Stream) bool {
	return slices.ContainsFunc(s.Notes, func(n xds.Note) bool {
		return n.TypeURL == protocol.ReportType && strings.Contains(n.Metadata[protocol.MetaReport], `"plaintext":`)
	})
}
