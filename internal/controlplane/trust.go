// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"net/http"
	"time"

	"tulle.dev/tulle/internal/controlplane/ca"
	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/protocol"
)

// trustGrace is how long a new stream gets to ask for its secrets, in which it is not taken to have them.
const trustGrace = 10 * time.Second

// trustReport answers names.PathTrust.
func (r *replica) trustReport(w http.ResponseWriter, _ *http.Request) {
	served, signs := r.feed.trustServed(), r.authority.Signs()
	out := protocol.TrustReport{
		Roots: ca.CertificatesIn(served.Roots), Intermediates: ca.CertificatesIn(served.Intermediates),
		Signs: signs.Roots, Signer: signs.Intermediate, Serves: signs.Serves, SignsSince: signs.Since,
	}
	// In this order: roots that are served by now, and streams that took them or something newer.
	unsettled := r.server.Unsettled(envoy.SecretType, trustGrace)
	out.Proxies = proxyTrust(r.server.Streams(), unsettled)
	answer(w, out)
}

// proxyTrust is what is known of each stream. A stream that is not in unsettled has accepted its secrets.
func proxyTrust(streams []xds.Stream, unsettled map[uint64]bool) []protocol.ProxyTrust {
	out := make([]protocol.ProxyTrust, 0, len(streams))
	for _, s := range streams {
		if c, ok := s.Principal.(connected); ok {
			out = append(out, protocol.ProxyTrust{
				Namespace: c.Namespace, Pod: c.Pod, Acknowledged: !unsettled[s.ID], Roots: c.roots, Signer: c.signer, NotAfter: c.notAfter,
			})
		}
	}
	return out
}
