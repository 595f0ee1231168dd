// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import "slices"

// ClientTarget is a Service port as a client without a proxy sees it.
type ClientTarget struct {
	// Name is that of the resource (names.Target), Host what the client calls it.
	Name, Host string
	// Table is the name of the RouteTable that the client's calls go by.
	Table string
}

// ClientBackend is a Backend for clients without a proxy. The identities behind it are part of its
// cluster: these clients know no secrets.
type ClientBackend struct {
	Backend
	// Identities are SPIFFE ids, sorted, of the service accounts behind the Service.
	Identities []string
}

// ClientEndpoints are Endpoints for clients without a proxy, which reach all of them in the same way.
type ClientEndpoints struct {
	Endpoints
	Transport Transport
}

// Reachable leaves out the places where all endpoints are ones that these clients cannot use: there they
// go by the client's next place, or by List.
func (e ClientEndpoints) Reachable() ClientEndpoints {
	if e.Transport == Mixed {
		e.Near = slices.DeleteFunc(slices.Clone(e.Near), func(n NearEndpoints) bool {
			return !slices.ContainsFunc(n.List, func(ep Endpoint) bool { return ep.Meshed })
		})
	}
	return e
}
