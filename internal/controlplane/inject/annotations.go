// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Annotations are what a workload asks for in its pods' annotations. Zero values: not said.
type Annotations struct {
	// Ports and addresses are sorted and without duplicates.
	ExcludeInboundPorts  []uint16
	ExcludeOutboundPorts []uint16
	ExcludeOutboundIPs   []string // addresses or CIDRs
	LogLevel             string
	Concurrency          int
	DrainSeconds         int32
	CPURequest, CPULimit,
	MemoryRequest, MemoryLimit *resource.Quantity
}

// maxDrain bounds how long a pod may ask to drain, in seconds.
const maxDrain = 3600

// annotation is one of the closed list: what may stand in it, in words, and how it is read.
type annotation struct {
	key   string
	wants string
	read  func(a *Annotations, value string) bool
}

// closedList are the annotations that workloads may set, in the order of names.
func closedList() []annotation {
	const ports = "ports from 1 to 65535 without Tulle's own"
	const quantity = "a positive resource quantity like \"100m\" or \"128Mi\""
	return []annotation{
		{names.AnnotationExcludeInboundPorts, fmt.Sprintf("a comma-separated list of at most %d %s", protocol.MaxExcludedInboundPorts, ports), func(a *Annotations, v string) (ok bool) {
			a.ExcludeInboundPorts, ok = portList(v)
			return ok && len(a.ExcludeInboundPorts) <= protocol.MaxExcludedInboundPorts
		}},
		{names.AnnotationExcludeOutboundPorts, "a comma-separated list of " + ports, func(a *Annotations, v string) (ok bool) {
			a.ExcludeOutboundPorts, ok = portList(v)
			return ok
		}},
		{names.AnnotationExcludeOutboundIPs, "a comma-separated list of IP addresses and CIDRs", func(a *Annotations, v string) (ok bool) {
			a.ExcludeOutboundIPs, ok = ipList(v)
			return ok
		}},
		{names.AnnotationProxyLogLevel, strings.Join(names.ProxyLogLevels(), ", "), func(a *Annotations, v string) bool {
			a.LogLevel = v
			return slices.Contains(names.ProxyLogLevels(), v)
		}},
		{names.AnnotationProxyConcurrency, "a number from 1 to 64", func(a *Annotations, v string) (ok bool) {
			a.Concurrency, ok = number(v, 1, 64)
			return ok
		}},
		{names.AnnotationProxyCPURequest, quantity, func(a *Annotations, v string) bool { return positive(&a.CPURequest, v) }},
		{names.AnnotationProxyCPULimit, quantity, func(a *Annotations, v string) bool { return positive(&a.CPULimit, v) }},
		{names.AnnotationProxyMemoryRequest, quantity, func(a *Annotations, v string) bool { return positive(&a.MemoryRequest, v) }},
		{names.AnnotationProxyMemoryLimit, quantity, func(a *Annotations, v string) bool { return positive(&a.MemoryLimit, v) }},
		{names.AnnotationDrainSeconds, fmt.Sprintf("a number of seconds from 1 to %d", maxDrain), func(a *Annotations, v string) bool {
			n, ok := number(v, 1, maxDrain)
			a.DrainSeconds = int32(n)
			return ok
		}},
	}
}

// Keys are the annotations of the closed list.
func Keys() []string {
	var keys []string
	for _, a := range closedList() {
		keys = append(keys, a.key)
	}
	return keys
}

// notForPods are annotations that Tulle sets or that belong on a Mesh. On a pod that is created they
// are left over from another pod or from its template: they are no order of the author, and no mistake.
func notForPods() []string {
	return []string{
		names.AnnotationInjected, names.AnnotationTarget, names.AnnotationRestart, names.AnnotationRestart020, names.AnnotationGateway,
		names.AnnotationPulls, names.AnnotationForceDelete, names.AnnotationRotateRoot, names.AnnotationRotateWithout,
	}
}

// ParseAnnotations reads a pod's annotations. Every annotation below tulle.dev/ that is not in the
// closed list (and in allowed, unless that is nil), or that can't be read, is a problem that names
// the annotation, its value and what is allowed; those that Tulle itself writes are not. Problems are
// sorted by annotation.
func ParseAnnotations(of map[string]string, allowed []string) (Annotations, []string) {
	list := closedList()
	if allowed != nil {
		list = slices.DeleteFunc(list, func(a annotation) bool { return !slices.Contains(allowed, a.key) })
	}
	var out Annotations
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(of)) {
		if !strings.HasPrefix(key, names.Group+"/") || slices.Contains(notForPods(), key) {
			continue
		}
		if len(problems) > maxProblems {
			break // not all are named
		}
		i := slices.IndexFunc(list, func(a annotation) bool { return a.key == key })
		if i < 0 {
			problems = append(problems, fmt.Sprintf("annotation %s=%s is not one that workloads may set: allowed are %s",
				key, quote(of[key]), allowedKeys(list)))
			continue
		}
		if !list[i].read(&out, of[key]) {
			problems = append(problems, fmt.Sprintf("annotation %s has value %s, allowed is %s", key, quote(of[key]), list[i].wants))
		}
	}
	return out, problems
}

func allowedKeys(list []annotation) string {
	if len(list) == 0 {
		return "none"
	}
	keys := make([]string, 0, len(list))
	for _, a := range list {
		keys = append(keys, a.key)
	}
	return strings.Join(keys, ", ")
}

// quote shows a value, cut short: an annotation may hold 256 KiB.
func quote(v string) string {
	const most = 64
	if len(v) > most {
		v = v[:most] + "..."
	}
	return strconv.Quote(v)
}

// listItems splits a list; an empty one is allowed, since templates write those.
func listItems(v string) []string {
	if strings.TrimSpace(v) == "" {
		return nil
	}
	items := strings.Split(v, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

func portList(v string) ([]uint16, bool) {
	var out []uint16
	for _, s := range listItems(v) {
		n, ok := number(s, 1, 65535)
		if !ok || ourPort(n) {
			return nil, false
		}
		out = append(out, uint16(n))
	}
	slices.Sort(out)
	return slices.Compact(out), true
}

func ipList(v string) ([]string, bool) {
	var out []string
	for _, s := range listItems(v) {
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			out = append(out, a.Unmap().String())
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Addr().Is4In6() {
			return nil, false
		}
		out = append(out, p.Masked().String())
	}
	slices.Sort(out)
	return slices.Compact(out), true
}

// number reads digits alone: no sign, no spaces.
func number(v string, least, most int) (int, bool) {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil || int(n) < least || int(n) > most {
		return 0, false
	}
	return int(n), true
}

// quantity reads what positive reads; nil if it can't.
func quantity(v string) (q *resource.Quantity) {
	positive(&q, v)
	return q
}

// positive reads a quantity without an exponent and of few digits: "1e999999999" is one too, and
// comparing it would keep a core busy for minutes.
func positive(into **resource.Quantity, v string) bool {
	digits := strings.TrimRight(v, "mkMGTi")
	if len(digits) > 15 || len(v)-len(digits) > 2 || strings.Trim(digits, "0123456789.") != "" {
		return false
	}
	q, err := resource.ParseQuantity(v)
	if err != nil || q.Sign() <= 0 {
		return false
	}
	*into = &q
	return true
}
