// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

import (
	"fmt"
	"strconv"
	"strings"
)

// Names of the resources for clients without a proxy (KindClient). Their contents differ from those for
// Envoy, so they have names of their own, and no proxy may ask for them.
const (
	targetPrefix = "target/"
	clientPrefix = "client/"
	// ClientNoBackend names a Cluster without endpoints: the share of an invalid backendRef.
	ClientNoBackend = "client/no-backend"
)

// Client names the RouteConfiguration, Cluster and ClusterLoadAssignment that stand for those of a name
// that Out.String makes.
func Client(out string) string { return clientPrefix + strings.TrimPrefix(out, "out/") }

// IsClient tells whether a resource is one for clients without a proxy.
func IsClient(name string) bool {
	return strings.HasPrefix(name, clientPrefix) || strings.HasPrefix(name, targetPrefix)
}

// Target is what a client without a proxy asks for: the Listener called after the target that its program
// dials, "xds:///HOST". Which routes it gets depends on the client's namespace (GEP-1294) and node, so
// these are part of the name that the resource has here.
type Target struct {
	// Namespace and Node are the client's.
	Namespace, Node string
	// Host is what the program dials.
	Host string
}

// String spells target/NS/NODE/HOST.
func (t Target) String() string { return targetPrefix + t.Namespace + "/" + t.Node + "/" + t.Host }

// ParseTarget reads what Target.String writes.
func ParseTarget(name string) (Target, error) {
	rest, ok := strings.CutPrefix(name, targetPrefix)
	p := strings.Split(rest, "/")
	if !ok || len(p) != 3 {
		return Target{}, fmt.Errorf("%q is not target/NAMESPACE/NODE/HOST", name)
	}
	return Target{p[0], p[1], p[2]}, nil
}

// Service is the Service port that the Host means: SERVICE.NAMESPACE:PORT, the same with .svc or with
// .svc.cluster.local after the namespace. Nothing else is a Service; ok is then false.
func (t Target) Service() (o Out, ok bool) {
	host, number, ok := strings.Cut(t.Host, ":")
	port, err := strconv.ParseUint(number, 10, 16)
	if !ok || err != nil || port == 0 || strconv.FormatUint(port, 10) != number {
		return Out{}, false
	}
	host = strings.TrimSuffix(strings.TrimSuffix(host, ".cluster.local"), ".svc")
	service, namespace, ok := strings.Cut(host, ".")
	if !ok || service == "" || namespace == "" || strings.Contains(namespace, ".") {
		return Out{}, false
	}
	return Out{Namespace: namespace, Service: service, Port: uint16(port)}, true
}
