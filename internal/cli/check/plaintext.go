// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import (
	"fmt"
	"maps"
	"slices"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/names"
)

// mostReceivers bounds how many pods plaintext names.
const mostReceivers = 10

// plaintext lists the pods that received something from other meshed pods without the mesh's mutual TLS. In
// Strict that does not happen: it is refused.
func plaintext(f facts.Facts) []Finding {
	const fix = "find out why the client goes round its proxy: the annotations " + names.AnnotationExcludeOutboundPorts + " and " +
		names.AnnotationExcludeOutboundIPs + ", a process of user 1337, or an address that only the network translates " +
		`("What is not covered" in docs/concepts/identity.md); mode Strict would refuse it`
	received := map[string]map[string]uint64{}
	for _, s := range f.Streams {
		for _, from := range s.Plaintext {
			pod := s.Namespace + "/" + s.Pod
			if received[pod] == nil {
				received[pod] = map[string]uint64{}
			}
			received[pod][from.Namespace+"/"+from.Pod] += from.Count // slots of one pod count each for itself
		}
	}
	var out []Finding
	for i, pod := range slices.Sorted(maps.Keys(received)) {
		if i == mostReceivers {
			return append(out, found(SectionProxies, Warning,
				count(len(received)-i, "further pod", "further pods")+" received plaintext from meshed pods", fix)...)
		}
		var from []string
		for _, client := range slices.Sorted(maps.Keys(received[pod])) {
			from = append(from, fmt.Sprintf("%s (%d)", client, received[pod][client]))
		}
		out = append(out, found(SectionProxies, Warning,
			fmt.Sprintf("pod %s received plaintext from meshed pods: %s; requests and connections without mutual TLS in the last hour", pod, few(from)), fix)...)
	}
	return out
}
