// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/virtualhost"
)

// overlapping finds the TLS listeners of a port whose hostnames overlap, one entry for each of ls, nil
// for those that are distinct (ListenerConditionOverlappingTLSConfig). Such a listener is served: a
// client may send the one's requests on a connection that was made for the other, which is what the
// condition warns of. Listeners of the very same hostname conflict, which says more.
func overlapping(ls []listener) []*Finding {
	out := make([]*Finding, len(ls))
	for i := range ls {
		var others []string
		for j := range ls {
			if i == j || !ls[i].tls || !ls[j].tls || ls[i].port != ls[j].port || ls[i].hostname == ls[j].hostname {
				continue
			}
			if _, ok := virtualhost.Meet(ls[i].hostname, ls[j].hostname); ok {
				others = append(others, ls[j].name)
			}
		}
		if len(others) > 0 {
			out[i] = &Finding{true, string(gwapiv1.ListenerReasonOverlappingHostnames), "The hostname overlaps with that of listener " + list(others) +
				" on the same port: clients that reuse connections may send requests for one to the other"}
		}
	}
	return out
}
