// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Text is the summary for people: one line under way, several at the end. It ends with a newline.
func (s Summary) Text() string {
	if !s.Done {
		return fmt.Sprintf("%6.1fs  sent %d, failed %d%s\n", s.Seconds, s.Sent, s.Failed, prefix("  ", s.Split()))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d requests in %.1f s, %d succeeded, %d failed\n", s.Target, s.Sent, s.Seconds, s.OK, s.Failed)
	fmt.Fprintf(&b, "  latency p50 %.1f ms, p99 %.1f ms, max %.1f ms; longest stall %.0f ms\n", s.P50, s.P99, s.Max, s.LongestStall)
	for _, status := range slices.Sorted(maps.Keys(s.Statuses)) {
		fmt.Fprintf(&b, "  status %s: %d\n", status, s.Statuses[status])
	}
	for _, service := range slices.Sorted(maps.Keys(s.Versions)) {
		fmt.Fprintf(&b, "  %s answered as %s\n", service, shares(s.Versions[service]))
	}
	for _, service := range slices.Sorted(maps.Keys(s.Callers)) {
		for _, id := range slices.Sorted(maps.Keys(s.Callers[service])) {
			name := id
			if name == "" {
				name = "nobody it knows (no mutual TLS)"
			}
			fmt.Fprintf(&b, "  %s was called by %s: %d\n", service, name, s.Callers[service][id])
		}
	}
	for _, why := range slices.Sorted(maps.Keys(s.Failures)) {
		fmt.Fprintf(&b, "  FAILED %d: %s\n", s.Failures[why], why)
	}
	return b.String()
}

// Split names the services that answered in more than one version, with their shares.
func (s Summary) Split() string {
	var parts []string
	for _, service := range slices.Sorted(maps.Keys(s.Versions)) {
		if len(s.Versions[service]) > 1 {
			parts = append(parts, service+" "+shares(s.Versions[service]))
		}
	}
	return strings.Join(parts, "; ")
}

// shares is "v1 90 % (900), v2 10 % (100)".
func shares(m map[string]int) string {
	total := 0
	for _, n := range m {
		total += n
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %.1f %% (%d)", k, 100*float64(m[k])/float64(total), m[k]))
	}
	return strings.Join(parts, ", ")
}

func prefix(p, s string) string {
	if s == "" {
		return ""
	}
	return p + s
}
