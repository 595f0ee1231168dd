// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rights

import (
	"strings"

	"tulle.dev/tulle/internal/names"
)

// Proxy is a proxy, or a client without one, whose identity is proven: pod, namespace and kind by its certificate, node and
// Gateway by the live pod of that UID.
type Proxy struct {
	Namespace, Pod string
	// Kind is names.KindSidecar, names.KindGateway or names.KindClient.
	Kind string
	// Gateway is the Gateway a KindGateway proxy was made for.
	Gateway string
	Node    string
}

// Allow tells whether p may subscribe to the resource. The zero Proxy may subscribe to nothing.
func Allow(p Proxy, name string) bool {
	seg := strings.Split(name, "/")
	if seg[0] == "stream" { // who may have the listener may have what is done with its connections
		return len(seg) > 4 && seg[1] != "stream" && p.Kind != names.KindClient && Allow(p, strings.Join(seg[1:len(seg)-3], "/"))
	}
	switch p.Kind {
	case names.KindSidecar:
		return shared(seg) || ofServices(p, seg) || ofSidecar(p, seg)
	case names.KindGateway:
		return shared(seg) || ofServices(p, seg) || ofGateway(p, seg)
	case names.KindClient:
		return ofClient(p, seg)
	}
	return false
}

// ofClient are a client's own targets, and how Services are reached, made for clients.
func ofClient(p Proxy, seg []string) bool {
	switch seg[0] {
	case "target":
		return len(seg) == 4 && seg[1] == p.Namespace && seg[2] == p.Node
	case "client":
		return len(seg) == 2 || ofVariant(p, seg)
	}
	return false
}

// shared resources are the same for everybody and tell nothing of anybody.
func shared(seg []string) bool {
	return len(seg) == 1 && seg[0] == names.Trust || len(seg) == 2 && seg[0] == "std"
}

// ofServices are how Services are reached: open to every proxy of the mesh, but a variant only to
// those it was made for.
func ofServices(p Proxy, seg []string) bool {
	switch seg[0] {
	case "out":
		return ofVariant(p, seg)
	case "san":
		return len(seg) == 3
	case "ca":
		return len(seg) == 4
	}
	return false
}

// ofVariant is about names made like names.Out.
func ofVariant(p Proxy, seg []string) bool {
	o, err := names.ParseOut("out/" + strings.Join(seg[1:], "/"))
	return err == nil && (o.Node == "" || o.Node == names.OwnNode || o.Node == p.Node) && (o.Consumer == "" || o.Consumer == p.Namespace) && (o.Gateway == "" || certified(p, o))
}

// certified: a cluster with a Gateway's client certificate is that Gateway's alone.
func certified(p Proxy, o names.Out) bool {
	return p.Kind == names.KindGateway && p.Gateway == o.Gateway && p.Namespace == o.GatewayNamespace
}

func ofSidecar(p Proxy, seg []string) bool {
	switch seg[0] {
	case "direct", "pod":
		return len(seg) == 4
	case "to":
		_, err := names.ParseDestination(strings.Join(seg, "/"))
		return err == nil
	case "account":
		return len(seg) == 3
	case "in":
		return len(seg) == 3 && seg[1] == p.Namespace && seg[2] == p.Pod
	case "scope":
		switch {
		case len(seg) == 4 && seg[1] == "sidecar":
			return seg[2] == p.Namespace && seg[3] == p.Pod
		case len(seg) == 4 && seg[1] == "variants":
			return seg[2] == "consumer" && seg[3] == p.Namespace || seg[2] == "node" && seg[3] != "" && seg[3] == p.Node
		case len(seg) == 2 && seg[1] == "mesh", len(seg) == 3 && seg[1] == "namespace":
			return true
		case len(seg) == 4 && seg[1] == "mesh", len(seg) == 5 && seg[1] == "namespace":
			return seg[len(seg)-2] == "consumer" && seg[len(seg)-1] == p.Namespace
		}
	}
	return false
}

func ofGateway(p Proxy, seg []string) bool {
	if len(seg) < 4 || p.Gateway == "" {
		return false
	}
	switch seg[0] {
	case "gw":
		return (len(seg) == 4 || len(seg) == 5) && seg[1] == p.Namespace && seg[2] == p.Gateway
	case "part":
		return (len(seg) == 7 || len(seg) == 8) && seg[1] == p.Namespace && seg[2] == p.Gateway
	case "clients":
		return len(seg) == 4 && seg[1] == p.Namespace && seg[2] == p.Gateway
	case "tls":
		return len(seg) == 5 && seg[1] == p.Namespace && seg[2] == p.Gateway
	case "scope":
		return len(seg) == 4 && seg[1] == "gateway" && seg[2] == p.Namespace && seg[3] == p.Gateway
	}
	return false
}
