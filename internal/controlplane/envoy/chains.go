// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package envoy

import "tulle.dev/tulle/internal/controlplane/model"

// plainRevision is the Revision of listeners of Gateways for HTTP without TLS; up to 3 the chain had the name of
// a section, 4 let clients be silent for ever.
const plainRevision = "5"

// streamRevision is the Revision of listeners with chains for server names of routes; 1 had one chain for
// all names of a route.
const streamRevision = "2"

// plainChain names the chain of a Gateway's port for HTTP without TLS. It is not that of a section: all
// sections of the port share it, and any of them may be removed.
func plainChain(model.GatewayPort) string { return "http" }

// byName groups server names by the chain that takes them: each has its own, so that a name that is added
// or removed changes no chain of another one.
func byName(names []string) map[string][]string {
	out := map[string][]string{}
	for _, n := range names {
		out["/"+n] = []string{n}
	}
	return out
}
