// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"slices"
	"strings"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
	"tulle.dev/tulle/internal/names"
)

// origination is the TLS that proxies begin with the endpoints of a port, and what is spoken in it.
type origination struct {
	tls      model.BackendTLS
	protocol model.Protocol
}

// inTLS are the ways in which a port is spoken to inside TLS that a proxy begins: by its own protocol, and
// as bytes if a route of bytes sends to it, which it may do from a listener that has ended the TLS of clients.
func (g *Graph) inTLS(r *incr.Reader, port model.PortKey) []string {
	if g.isByteBackend(r, port) {
		return []string{"", names.AsBytes}
	}
	return []string{""}
}

// on is the variant of a backend that is reached so, spoken to as one of inTLS.
func (o origination) on(b model.Backend, as string) model.Backend {
	b.Via.TLS, b.TLS, b.Protocol = true, &o.tls, o.protocol
	if b.As = as; as == names.AsBytes {
		b.Protocol = model.TCP
	}
	return b
}

// buildBackendTLS finds the ports with a BackendTLSPolicy, and the certificates these trust. The
// cluster and the certificates are apart, so that a new certificate is no new cluster.
func (g *Graph) buildBackendTLS() {
	e, s := &g.engine, &g.services
	s.originations = incr.Derive(e, "originations", g.in.services, same[origination],
		func(r *incr.Reader, k model.Key, svc model.Service, emit func(model.PortKey, origination)) {
			for _, p := range svc.Ports {
				key := model.PortKey{Service: k, Port: p.Port}
				if tls, proto := policy.BackendTLS(g.lookup(r), key); tls != nil && p.Protocol != model.UDP {
					emit(key, origination{*tls, proto})
				}
			}
		})
	s.authorities = incr.Derive(e, "authorities", s.originations, same[model.BackendCA],
		func(r *incr.Reader, k model.PortKey, o origination, emit func(model.PortKey, model.BackendCA)) {
			if o.tls.Unusable || o.tls.System {
				return // its clusters name none, or another
			}
			emit(k, model.BackendCA{Key: k, Certificates: g.certificates(r, o.tls.Authorities)})
		})
}

// certificates are those of some ConfigMaps, one after the other.
func (g *Graph) certificates(r *incr.Reader, bundles []model.Key) string {
	var out strings.Builder
	for _, k := range bundles {
		b, _ := incr.Get(r, g.in.bundles, k)
		out.WriteString(b.Certificates())
	}
	return out.String()
}

// buildGatewayTLS makes what a Gateway needs for client certificates: those with which it checks its
// clients', and variants of backends to which it shows its own.
func (g *Graph) buildGatewayTLS() {
	e, gw, s := &g.engine, &g.gateways, &g.services
	gw.clients = incr.Derive(e, "gateway clients", gw.ports, same[model.GatewayClients],
		func(r *incr.Reader, k portOf, p model.GatewayPort, emit func(portOf, model.GatewayClients)) {
			for _, sec := range p.Sections { // the same for all of a port
				if c := sec.Clients; c != nil {
					emit(k, model.GatewayClients{Gateway: k.gateway, Port: k.port, Certificates: g.certificates(r, c.Authorities), Optional: c.Optional})
					return
				}
			}
		})
	streams := incr.NewIndex(gw.streams, strings.Compare, func(_ string, t model.StreamTable) []model.BackendName {
		return certified(t.Backends(model.Object{}))
	})
	gw.backends = incr.DeriveKeys(e, "gateway backends", same[model.Backend],
		func(r *incr.Reader, k model.BackendName, emit func(string, model.Backend)) {
			secret, shown := gatewayapi.ClientCertificate(g.lookup(r), k.Via.Gateway)
			if b, ok := incr.Get(r, s.backends, withoutCertificate(k)); ok && shown {
				b.Via, b.ClientCertificate = k.Via, secret
				emit(clusterOf(k), b)
			}
		}, gw.certified, streams)
	gw.endpoints = incr.DeriveKeys(e, "gateway endpoints", same[model.Endpoints],
		func(r *incr.Reader, k model.BackendName, emit func(string, model.Endpoints)) {
			if l, ok := incr.Get(r, s.endpoints, withoutCertificate(k)); ok {
				l.Via = k.Via
				emit(clusterOf(k), l)
			}
		}, gw.certified, streams)
}

// certified are those to which a Gateway shows its certificate.
func certified(backends []model.BackendName) []model.BackendName {
	return slices.DeleteFunc(backends, func(b model.BackendName) bool { return b.Via.Gateway == (model.Key{}) })
}

// withoutCertificate is the cluster from which a Gateway's own variant is made.
func withoutCertificate(b model.BackendName) string {
	b.Via.Gateway = model.Key{}
	return clusterOf(b)
}
