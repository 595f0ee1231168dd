// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/cli/ports"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// mostNamespaces bounds how many namespaces the list of ports that are carried as bytes names.
const mostNamespaces = 10

// bytePorts lists, for each namespace, the ports that the mesh carries as bytes because nothing says what
// they speak. That is no fault: it works, without what the mesh does for HTTP.
func bytePorts(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionPorts, facts.UnreadServices); done {
		return missed
	}
	const fix = "where a port speaks HTTP or gRPC, set its appProtocol (http, kubernetes.io/h2c, grpc) or begin its name with http- or grpc-; " +
		"where bytes are right, say so with appProtocol: tcp"
	var out []Finding
	var order []string
	byNamespace := map[string][]string{}
	for _, p := range ports.Bytes(f.World) {
		if byNamespace[p.Namespace] == nil {
			order = append(order, p.Namespace)
		}
		byNamespace[p.Namespace] = append(byNamespace[p.Namespace], p.String())
	}
	left := 0
	for i, ns := range order {
		list := byNamespace[ns]
		if i >= mostNamespaces {
			left += len(list)
			continue
		}
		out = append(out, found(SectionPorts, Notice,
			fmt.Sprintf("namespace %s: %s carried as bytes, because nothing declares a protocol: %s", ns, count(len(list), "port is", "ports are"), few(list)), fix)...)
	}
	if left > 0 {
		out = append(out, found(SectionPorts, Notice,
			fmt.Sprintf("%s: %s carried as bytes", count(len(order)-mostNamespaces, "further namespace", "further namespaces"), count(left, "port is", "ports are")),
			"tulle status -o json lists all of them")...)
	}
	return out
}

// largeServices lists the Services with meshed pods of which the mesh does not serve all ports, or does not use all endpoints.
func largeServices(f facts.Facts) []Finding {
	pods, meshed, endpoints := map[model.Key]bool{}, map[model.Key]bool{}, map[model.Key]int{}
	for _, p := range f.World.Pods {
		pods[p.Key] = true
	}
	for _, s := range f.World.Slices {
		endpoints[s.Service] += len(s.Endpoints)
		if slices.ContainsFunc(s.Endpoints, func(e model.SliceEndpoint) bool { return pods[e.Pod] }) {
			meshed[s.Service] = true
		}
	}
	ofNamespace := map[string][]int{}
	for _, s := range f.World.Services {
		if n := s.Listening(); n > model.SmallPorts {
			ofNamespace[s.Key.Namespace] = append(ofNamespace[s.Key.Namespace], n)
		}
	}
	served := slices.Clone(f.World.Services)
	for i, s := range served {
		if s.Listening() > model.SmallPorts {
			served[i] = s.First(model.PortsOf(ofNamespace[s.Key.Namespace]))
		}
	}
	large := map[string]int{}
	for _, s := range served {
		if endpoints[s.Key]*len(s.Ports) > model.SmallPairs {
			large[s.Key.Namespace]++
		}
	}
	var ports, shares, pairs []string
	for i, s := range served {
		if !meshed[s.Key] {
			continue
		}
		if before := f.World.Services[i]; s.MorePorts > before.MorePorts {
			shares = append(shares, fmt.Sprintf("%s (%d of %d)", s.Key, s.TCPPorts(), s.TCPPorts()+s.MorePorts))
		} else if s.MorePorts > 0 {
			ports = append(ports, s.Key.String())
		}
		if n := endpoints[s.Key] * len(s.Ports); n > model.PairsOf(large[s.Key.Namespace]) {
			pairs = append(pairs, fmt.Sprintf("%s (%d of %d)", s.Key, model.PairsOf(large[s.Key.Namespace]), n))
		}
	}
	slices.Sort(ports)
	slices.Sort(shares)
	slices.Sort(pairs)
	var out []Finding
	if len(ports) > 0 {
		out = append(out, found(SectionPorts, Warning,
			fmt.Sprintf("%s more than %d TCP ports, of which only the first have listeners: %s", count(len(ports), "Service has", "Services have"), model.MaxPorts, few(ports)),
			"connections to the others are carried as bytes, without routes; divide the Service")...)
	}
	if len(shares) > 0 {
		out = append(out, found(SectionPorts, Warning,
			fmt.Sprintf("%s listeners for the first TCP ports only, because the Services of the namespace have too many: %s", count(len(shares), "Service has", "Services have"), few(shares)),
			"connections to the others are carried as bytes, without routes; remove ports that are not needed, or move Services to another namespace: Services of more than "+
				strconv.Itoa(model.SmallPorts)+" TCP ports may have "+strconv.Itoa(model.NamespacePorts)+" in a namespace")...)
	}
	if len(pairs) > 0 {
		out = append(out, found(SectionPorts, Warning,
			fmt.Sprintf("%s more pairs of a port and an endpoint than are used, so clients use only some of the endpoints: %s", count(len(pairs), "Service has", "Services have"), few(pairs)),
			"divide the Service, or remove ports that are not needed; a namespace may use "+strconv.Itoa(model.NamespacePairs)+" pairs in Services of more than "+strconv.Itoa(model.SmallPairs))...)
	}
	return out
}

// calledPorts lists what the API server calls in meshed pods. It has no proxy: mode Strict refuses it.
func calledPorts(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionPorts, facts.UnreadCalls); done {
		return missed
	}
	m, there := f.ActiveMesh()
	if !there {
		return nil
	}
	strict := m.Spec.MTLS.Mode == v1alpha1.MTLSStrict
	var out []Finding
	for _, c := range ports.Closed(f.World, f.Calls) {
		level, is := Notice, "would be"
		if strict {
			level, is = Problem, "is"
		}
		harm := ""
		if c.Fail {
			harm = ", and what it is asked about fails"
		}
		var pods []string
		for _, p := range c.Pods {
			pods = append(pods, p.String())
		}
		out = append(out, found(SectionPorts, level,
			fmt.Sprintf("%s %s %s closed by mode Strict%s: the API server, which has no proxy, calls Service %s, port %d, and with it port %s of %s",
				c.Kind, c.Name, is, harm, c.Service, c.Port, numbers(c.Targets), few(pods)),
			fmt.Sprintf("set the annotation %s: %q in the pod template of that workload, which restarts its pods; their own TLS protects the port",
				names.AnnotationExcludeInboundPorts, numbers(c.Exclude)))...)
	}
	if len(out) == 0 && len(f.World.Pods) > 0 {
		return ok(SectionPorts, "the API server calls no port that mode Strict closes")
	}
	return out
}

func numbers(list []uint16) string {
	var out []string
	for _, n := range list {
		out = append(out, strconv.Itoa(int(n)))
	}
	return strings.Join(out, ",")
}
