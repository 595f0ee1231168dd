// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxLength bounds the names of resources, in bytes. The longest are those of routes in a section of a
// Gateway (RoutePart, Stream).
const MaxLength = 1024

// Names of resources that are the same in every proxy.
const (
	Identity     = "identity"        // Secret served by the agent itself: the workload's key and certificate
	Trust        = "trust"           // Secret: the active roots, any peer of the trust domain
	Outbound     = "std/outbound"    // Listener on PortOutbound
	Passthrough  = "std/passthrough" // Cluster: the original destination, untouched
	Blackhole    = "std/blackhole"   // Cluster without endpoints: loops and refused traffic end here
	InboundTCP   = "std/in-tcp"      // Clusters from the inbound proxy to the application
	InboundHTTP1 = "std/in-http1"
	InboundHTTP2 = "std/in-http2"
	InboundHTTP  = "std/in-http"      // as the client: HTTP/1.1 or HTTP/2
	SystemRoots  = "std/system-roots" // Secret: the authorities that the web trusts
	NoBackend    = "std/no-backend"   // never exists: the share of an invalid backendRef, answered with 500
)

// The counters of what a pod received without the mesh's mutual TLS: requests over HTTP and connections that
// carry other bytes, by the address of the client. Envoy's name of one is
// StatPlaintext.StatPlaintextReceived.StatPlaintextSource.ADDRESS.
const (
	StatPlaintext         = "plaintext"
	StatPlaintextReceived = "received"
	StatPlaintextSource   = "source"
)

// Out names the Listener, RouteConfiguration, Cluster and ClusterLoadAssignment of a Service port.
// The rest are its closed variants.
type Out struct {
	Namespace, Service string
	Port               uint16
	// As is how a cluster is spoken to where that is not by the port's own protocol: one of the values below.
	As string
	// TLS is set where the proxy begins TLS of its own with a cluster's endpoints (BackendTLSPolicy), and
	// Gateway instead where it also shows the client certificate of the Gateway GatewayNamespace/Gateway.
	TLS                       bool
	GatewayNamespace, Gateway string
	// Node where internalTrafficPolicy is Local, Consumer where routes of another namespace replace the
	// producer's (GEP-1294). At most one of the two is set, and neither with a Gateway.
	Node, Consumer string
}

// OwnNode as Out.Node stands for the node of each client: all clients have the Cluster of this name, and each
// is sent the endpoints of its own node. No node has this name.
const OwnNode = "*"

// Values of Out.As.
const (
	AsBytes     = "bytes" // what routes for bytes send to a port that may speak HTTP
	AsDatagrams = "udp"   // the port of that number for UDP
	AsHTTP1     = "http1" // what HTTPRoutes send to a port whose own protocol is not HTTP/1.1
	AsHTTP2     = "http2" // what GRPCRoutes send to a port whose own protocol is not HTTP/2
	// AsShared is a Listener, not a cluster: that of a variant for an agent that knows protocol.Variants. It
	// is the one that all others have, whose routes the agent asks for under the variant's name.
	AsShared = "shared"
)

// String spells out/NS/SVC/PORT[/as/AS][/tls|/gateway/NS/GATEWAY][/node/NODE|/consumer/NS].
func (o Out) String() string {
	s := "out/" + o.Namespace + "/" + o.Service + "/" + strconv.Itoa(int(o.Port))
	if o.As != "" {
		s += "/as/" + o.As
	}
	switch {
	case o.Gateway != "":
		s += "/gateway/" + o.GatewayNamespace + "/" + o.Gateway
	case o.TLS:
		s += "/tls"
	}
	if o.Node != "" {
		s += "/node/" + o.Node
	}
	if o.Consumer != "" {
		s += "/consumer/" + o.Consumer
	}
	return s
}

// ParseOut reads what Out.String writes.
func ParseOut(name string) (Out, error) {
	p := strings.Split(name, "/")
	if len(p) < 4 || p[0] != "out" {
		return Out{}, fmt.Errorf("%q is not out/NAMESPACE/SERVICE/PORT", name)
	}
	port, err := strconv.ParseUint(p[3], 10, 16)
	if err != nil {
		return Out{}, fmt.Errorf("%q: port: %w", name, err)
	}
	o := Out{Namespace: p[1], Service: p[2], Port: uint16(port)}
	for rest := p[4:]; len(rest) > 0; {
		switch {
		case rest[0] == "tls":
			o.TLS, rest = true, rest[1:]
		case rest[0] == "gateway" && len(rest) > 2:
			o.GatewayNamespace, o.Gateway, rest = rest[1], rest[2], rest[3:]
		case rest[0] == "as" && len(rest) > 1:
			o.As, rest = rest[1], rest[2:]
		case rest[0] == "node" && len(rest) > 1:
			o.Node, rest = rest[1], rest[2:]
		case rest[0] == "consumer" && len(rest) > 1:
			o.Consumer, rest = rest[1], rest[2:]
		default:
			return Out{}, fmt.Errorf("%q: unknown variant %q", name, strings.Join(rest, "/"))
		}
	}
	switch {
	case o.As != "" && o.As != AsBytes && (o.TLS || o.Gateway != ""):
		return Out{}, fmt.Errorf("%q names a variant that there is not", name)
	case o.String() != name, o.Node != "" && o.Consumer != "", o.TLS && o.Consumer != "", o.Gateway != "" && (o.Node != "" || o.Consumer != ""):
		return Out{}, fmt.Errorf("%q names a variant that there is not", name)
	}
	return o, nil
}

// Direct names the Cluster that reaches single pods of a headless Service by their own address.
func Direct(namespace, service string, port uint16) string {
	return fmt.Sprintf("direct/%s/%s/%d", namespace, service, port)
}

// IsDirect reports whether a name is one that Direct makes.
func IsDirect(cluster string) bool { return strings.HasPrefix(cluster, "direct/") }

// PodListener names the Listener for one pod's own address and port, through a headless Service.
func PodListener(namespace, pod string, port uint16) string {
	return fmt.Sprintf("pod/%s/%s/%d", namespace, pod, port)
}

// IsOutbound tells whether a Listener is one that Out or PodListener names: of a Service's port or of a
// pod's own address.
func IsOutbound(listener string) bool {
	return strings.HasPrefix(listener, "out/") || strings.HasPrefix(listener, "pod/")
}

// Inbound names the inbound Listener of a pod.
func Inbound(namespace, pod string) string { return "in/" + namespace + "/" + pod }

// IsInbound tells whether a name is one that Inbound makes.
func IsInbound(listener string) bool { return strings.HasPrefix(listener, "in/") }

// GatewayPort names the Listener of a Gateway's port, and the RouteConfiguration of its HTTP listeners.
func GatewayPort(namespace, gateway string, port uint16) string {
	return fmt.Sprintf("gw/%s/%s/%d", namespace, gateway, port)
}

// GatewayUDPPort names the Listener of a Gateway's UDP port, and the streams of its one listener.
func GatewayUDPPort(namespace, gateway string, port uint16) string {
	return fmt.Sprintf("gw/%s/%s/udp/%d", namespace, gateway, port)
}

// GatewaySection names the RouteConfiguration of one HTTPS listener of a Gateway, or the streams of
// one TLS or TCP listener.
func GatewaySection(namespace, gateway string, port uint16, section string) string {
	return GatewayPort(namespace, gateway, port) + "/" + section
}

// IsGatewayTable tells whether a RouteConfiguration is one that agents put together of parts.
func IsGatewayTable(routes string) bool { return strings.HasPrefix(routes, "gw/") }

// RoutePart names what a route has in a table that GatewayPort or GatewaySection names.
func RoutePart(table, kind, namespace, name string) string {
	return "part/" + strings.TrimPrefix(table, "gw/") + "/" + kind + "/" + namespace + "/" + name
}

// Stream names what a route does with the connections that it takes, in the streams of a Service port
// (Out) or of a Gateway's listener (GatewaySection).
func Stream(table, kind, namespace, name string) string {
	return "stream/" + table + "/" + kind + "/" + namespace + "/" + name
}

// ListenerOf names the Listener that uses a RouteConfiguration or streams.
func ListenerOf(routes string) string {
	if seg := strings.Split(routes, "/"); seg[0] == "gw" && len(seg) == 5 && seg[3] != "udp" {
		return strings.Join(seg[:4], "/")
	}
	return routes
}

// GatewayOf returns the Gateway that the RouteConfiguration or streams of a listener were made for; ok is
// false for those of a Service.
func GatewayOf(routes string) (namespace, gateway string, ok bool) {
	if seg := strings.Split(routes, "/"); seg[0] == "gw" && len(seg) >= 4 {
		return seg[1], seg[2], true
	}
	return "", "", false
}

// SAN names the Secret with the peers a Service's clients accept: roots and SPIFFE ids.
func SAN(namespace, service string) string { return "san/" + namespace + "/" + service }

// GatewayTLS names the Secret with a certificate of a Gateway's HTTPS listener. The Gateway is part
// of the name so that the right to ask for it follows from name and principal alone.
func GatewayTLS(namespace, gateway, secretNamespace, secret string) string {
	return fmt.Sprintf("tls/%s/%s/%s/%s", namespace, gateway, secretNamespace, secret)
}

// BackendCA names the Secret with the authorities that a BackendTLSPolicy trusts to certify the
// endpoints of a Service port.
func BackendCA(namespace, service string, port uint16) string {
	return fmt.Sprintf("ca/%s/%s/%d", namespace, service, port)
}

// GatewayClients names the Secret with which the HTTPS listeners of a Gateway's port check the
// certificates of clients.
func GatewayClients(namespace, gateway string, port uint16) string {
	return fmt.Sprintf("clients/%s/%s/%d", namespace, gateway, port)
}

// ScopeSidecar names a pod's own scope (protocol.Scope).
func ScopeSidecar(namespace, pod string) string { return "scope/sidecar/" + namespace + "/" + pod }

// ScopeGateway names the scope of a Gateway's proxies.
func ScopeGateway(namespace, gateway string) string {
	return "scope/gateway/" + namespace + "/" + gateway
}

// IsScopeGateway tells whether a name is one that ScopeGateway makes.
func IsScopeGateway(scope string) bool { return strings.HasPrefix(scope, "scope/gateway/") }

// ScopeMesh includes the scope of every meshed namespace. Sidecars of a namespace with consumer
// routes include ScopeMeshFor instead, so that each address has one listener.
const ScopeMesh = "scope/mesh"

// ScopeMeshFor is ScopeMesh for clients of one namespace.
func ScopeMeshFor(consumer string) string { return ScopeMesh + "/consumer/" + consumer }

// IsScopeMesh reports whether a name is ScopeMesh, or one that ScopeMeshFor makes.
func IsScopeMesh(scope string) bool {
	return scope == ScopeMesh || strings.HasPrefix(scope, ScopeMesh+"/")
}

// ScopeConsumer has the variants for clients of a namespace with consumer routes. Agents that know
// protocol.Variants include it beside ScopeMesh, in place of ScopeMeshFor.
func ScopeConsumer(consumer string) string { return "scope/variants/consumer/" + consumer }

// ScopeNode has the variants for clients on a node.
func ScopeNode(node string) string { return "scope/variants/node/" + node }

// ScopeNamespace lists what clients need to reach the Services of a namespace.
func ScopeNamespace(namespace string) string { return "scope/namespace/" + namespace }

// ScopeNamespaceFor is ScopeNamespace for clients of one namespace that has consumer routes to it.
func ScopeNamespaceFor(namespace, consumer string) string {
	return ScopeNamespace(namespace) + "/consumer/" + consumer
}
