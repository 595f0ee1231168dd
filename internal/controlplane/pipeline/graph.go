// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"net/netip"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/xds"
)

// Graph is the whole translation. It belongs to one goroutine.
type Graph struct {
	engine incr.Engine
	in     inputs
	ix     indexes
	kinds  []gatewayapi.RouteKind // built once: every change of endpoints looks at them

	mesh         mesh
	policies     policies
	services     services
	gateways     gateways
	proxies      proxies
	clients      clients
	destinations destinations
	dialled      dialled
	scopes       scopes
	verdicts     verdicts

	// resources are what is published, one collection per kind of source.
	resources []*incr.Collection[xds.Key, xds.Resource]
	evals     map[string]int // of the last Apply
}

// services is what becomes of Services: how they are seen by clients and what stands behind them.
type services struct {
	byAddress *incr.Index[netip.Addr, model.Key, model.Workload] // pods
	large     *incr.Collection[model.Key, one]                   // Services that share what a namespace may use: see buildPairs
	pairsOf   *incr.Collection[string, int]                      // the share of each of them, by namespace
	resolved  *incr.Collection[model.Key, model.Resolved]
	// fronted are the Services that proxies have listeners for: those of meshed namespaces, and those with a
	// meshed pod behind them wherever they are.
	fronted   *incr.Collection[model.Key, one]
	excess    *incr.Collection[model.Key, map[model.Object]bool]
	protocols *incr.Collection[model.PortKey, model.Protocol] // what clients send, without a route that says otherwise
	served    *incr.Collection[model.PortKey, model.Protocol] // what servers' proxies go by where a connection does not say
	frontends *incr.Collection[string, model.Frontend]        // by xDS name
	tables    *incr.Collection[string, model.RouteTable]      // by xDS name
	streams   *incr.Collection[string, model.StreamTable]     // by xDS name of the frontend
	listeners *incr.Collection[string, model.Frontend]        // with their streams
	nodes     *incr.Index[one, string, string]                // those with clients, all in one bucket
	local     *incr.Collection[model.PortKey, bool]           // ports with internalTrafficPolicy Local: see buildLocal
	pods      *incr.Collection[podPort, model.PodFrontend]
	backends  *incr.Collection[string, model.Backend]   // by xDS name
	present   *incr.Collection[string, one]             // which backends there are
	reach     *incr.Collection[string, []string]        // table -> clusters
	flow      *incr.Collection[string, []string]        // streams -> clusters
	endpoints *incr.Collection[string, model.Endpoints] // by xDS name
	peers     *incr.Collection[model.Key, model.Peers]

	originations *incr.Collection[model.PortKey, origination] // ports with a BackendTLSPolicy
	authorities  *incr.Collection[model.PortKey, model.BackendCA]

	frontendsByNamespace *incr.Index[string, string, model.Frontend]
	frontendsByNode      *incr.Index[string, string, model.Frontend]
	frontendsByConsumer  *incr.Index[string, string, model.Frontend]
	podsByNamespace      *incr.Index[string, podPort, model.PodFrontend]
	targetsByPod         *incr.Index[model.Key, target, model.ServicePort]
}

// gateways is what becomes of Gateways.
type gateways struct {
	read      *incr.Collection[model.Key, gatewayapi.Listeners]
	served    *incr.Collection[model.Key, gatewayapi.Served]
	ports     *incr.Collection[portOf, model.GatewayPort]
	tables    *incr.Collection[string, model.GatewayTable] // without the names of their parts
	streams   *incr.Collection[string, model.StreamTable]
	ofRoutes  *incr.Collection[partOf, model.StreamTable] // the streams by their routes
	flow      *incr.Collection[string, []string]          // streams -> clusters
	listeners *incr.Collection[portOf, model.GatewayPort] // with their streams
	secrets   *incr.Collection[secretOf, model.TLSSecret]
	clients   *incr.Collection[portOf, model.GatewayClients]
	backends  *incr.Collection[string, model.Backend]   // with the Gateway's client certificate
	endpoints *incr.Collection[string, model.Endpoints] // of the same
	byGateway *incr.Index[model.Key, portOf, model.GatewayPort]

	parts     *incr.Collection[partOf, model.RoutePart]
	reach     *incr.Index[string, partOf, []string] // table -> clusters of its parts
	certified *incr.Index[model.BackendName, partOf, model.RoutePart]
	attached  *incr.Index[gatewayapi.On, model.Object, []gatewayapi.On]

	candidates *incr.Index[ofObject, model.Object, *gatewayapi.Candidate]
	precedence *incr.Collection[onParent, gatewayapi.Precedence]
	takers     *incr.Index[gatewayapi.On, onParent, gatewayapi.Precedence]

	excess *incr.Collection[routeAt, one] // routes whose expressions are beyond the share of their namespace

	tablesByGateway  *incr.Index[model.Key, string, model.GatewayTable]
	streamsByGateway *incr.Index[model.Key, string, []string]
}

// proxies is what each proxy gets for itself.
type proxies struct {
	inbound *incr.Collection[model.Key, model.Inbound]
}

// New returns the empty graph. trace, if not nil, is told of every function that failed.
func New(trace func(incr.Failure)) *Graph {
	g := &Graph{kinds: gatewayapi.RouteKinds()}
	g.engine.OnFailure = trace
	g.in = newInputs(&g.engine)
	g.ix = newIndexes(g.in)
	g.buildPorts()
	g.buildAddresses()
	g.buildServices()
	g.buildGateways()
	g.buildProxies()
	g.buildClients()
	g.buildDestinations()
	g.buildDialled()
	g.buildScopes()
	g.buildSendingGateways()
	g.buildVerdicts()
	g.buildResources()
	return g
}

// lookup gives pure functions the cluster through a recording reader.
func (g *Graph) lookup(r *incr.Reader) lookup {
	return lookup{r, g.in, g.ix, &g.mesh, &g.policies, &g.services, &g.gateways}
}
