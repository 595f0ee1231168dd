// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/proto"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/protocol"
)

// Scope makes the list of what a proxy subscribes to, as JSON. Agents read it; Envoy never sees it.
func Scope(s model.Scope) Resource {
	p := protocol.Scope{Include: s.Include, Clusters: s.Clusters, Listeners: s.Listeners, Local: s.Local}
	if v := s.Variants; v != nil {
		p.Variants = &protocol.Variants{Listeners: v.Listeners, Routes: v.Routes}
	}
	if i := s.Instead; i != nil {
		p.Instead = &protocol.Scope{Include: i.Include, Clusters: i.Clusters, Listeners: i.Listeners}
	}
	for _, t := range s.Tables {
		p.Tables = append(p.Tables, protocol.RouteTable{Name: t.Name, Table: t.Table, Parts: t.Parts})
	}
	if len(s.Tables) > 0 {
		p.Shell = routeShell()
	}
	if s.Proxy != nil {
		p.Proxy = &protocol.Proxy{
			LogLevel:            s.Proxy.LogLevel,
			Concurrency:         s.Proxy.Concurrency,
			Drain:               protocol.Duration(time.Duration(s.Proxy.DrainSeconds) * time.Second),
			CertificateLifetime: protocol.Duration(time.Duration(s.Proxy.CertificateLifetimeSeconds) * time.Second),
			RenewIssuedBefore:   s.Proxy.RenewIssuedBefore,
		}
	}
	for _, d := range s.OnDemand {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(DemandChain(d))
		if err != nil {
			panic("envoy: a filter chain that cannot be encoded: " + err.Error()) // a bug, as in typed
		}
		p.OutboundChains = append(p.OutboundChains, b)
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic("envoy: a scope that cannot be encoded: " + err.Error()) // a bug: strings and numbers always can
	}
	return Resource{TypeURL: protocol.ScopeType, Name: s.Name, Raw: b}
}
