// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package protocol

import (
	"encoding/json"
	"fmt"
	"time"
)

// ScopeType is the xDS type URL of Scope. The value of the Any is Scope as JSON.
const ScopeType = "type.googleapis.com/tulle.v1.Scope"

// Scope tells an agent which resources to subscribe to. Only agents read it; Envoy never sees it.
// Everything else (routes, endpoints, secrets) Envoy asks for by name once it holds these.
type Scope struct {
	// Include names further scopes (of the same type) whose lists are added to this one's; they may
	// include others in turn. A cycle or a missing scope adds nothing.
	Include []string `json:"include,omitempty"`
	// Clusters and Listeners are sorted xDS resource names.
	Clusters  []string `json:"clusters,omitempty"`
	Listeners []string `json:"listeners,omitempty"`
	// Tables are the route configurations that the agent puts together (RoutePart), and Shell is what is
	// around their routes. Only the proxy's own scope sets them.
	Tables []RouteTable `json:"tables,omitempty"`
	Shell  *RouteShell  `json:"shell,omitempty"`
	// OutboundChains are encoded envoy.config.listener.v3.FilterChain that agents add, in this order, to the
	// listener names.Outbound. Connections that they take ask for their cluster by the name
	// names.Destination, and the agent subscribes to it. An agent that does not support them leaves that
	// listener as it is.
	OutboundChains [][]byte `json:"outboundChains,omitempty"`
	// Local are listeners like Listeners, of Services that have a variant for each node. An agent that does
	// not know Variants has those variants as listeners of their own, and ignores Local.
	Local []string `json:"local,omitempty"`
	// Variants are the resources that the proxy uses in place of others. If several scopes have a variant
	// for a name, the one whose own name sorts first is used.
	Variants *Variants `json:"variants,omitempty"`
	// Instead replaces Include, Clusters and Listeners for agents that know Variants; others ignore it.
	// Only the proxy's own scope sets it, and nothing is set in it but these three.
	Instead *Scope `json:"instead,omitempty"`
	// Proxy is how the agent runs Envoy; only the proxy's own scope (not an included one) sets it.
	Proxy *Proxy `json:"proxy,omitempty"`
}

// Variants name, for the name of a resource, another resource of the same type that the agent asks for
// instead. Envoy gets it under the first name, so that a variant that is added, changed or removed changes
// no name of a listener.
type Variants struct {
	Listeners map[string]string `json:"listeners,omitempty"`
	Routes    map[string]string `json:"routes,omitempty"`
}

// Proxy is how an agent runs its Envoy.
type Proxy struct {
	// LogLevel is Envoy's: trace, debug, info, warning, error, critical or off. Applied live.
	LogLevel string `json:"logLevel,omitempty"`
	// Concurrency is Envoy's number of worker threads; 0 means 1. Read when Envoy starts.
	Concurrency int `json:"concurrency,omitempty"`
	// Drain is how long connections get to end when the proxy stops; 0 means 30 s.
	Drain Duration `json:"drain,omitempty"`
	// CertificateLifetime is how long workload certificates live; 0 means 24 h.
	CertificateLifetime Duration `json:"certificateLifetime,omitempty"`
	// RenewIssuedBefore asks for a new certificate within RenewWithin if the one in use begins
	// (NotBefore) before this time, in seconds since 1970; 0 asks for nothing. It is asked for once per
	// value. An agent that does not know it renews when it would anyway.
	RenewIssuedBefore int64 `json:"renewIssuedBefore,omitempty"`
}

// RenewWithin is how long agents spread their renewals when RenewIssuedBefore asks for them.
const RenewWithin = 30 * time.Second

// Backdate is how long before its making a workload's certificate begins, for peers whose clock is behind.
const Backdate = 10 * time.Minute

// Duration is a time.Duration that is written as a string ("30s") in JSON.
type Duration time.Duration

// MarshalJSON writes the duration as Go spells it.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("duration must be a string like \"30s\": %w", err)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}
