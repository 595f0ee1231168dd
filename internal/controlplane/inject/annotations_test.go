// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package inject

import (
	"fmt"
	"strings"
	"testing"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// TestTooManyExcludedPorts: the control plane compares the inbound ports that a pod excludes with each port of each
// Service in front of it, so there may be few. Outbound ports are only the pod's own.
func TestTooManyExcludedPorts(t *testing.T) {
	list := func(n int) string {
		var out []string
		for p := range n {
			out = append(out, fmt.Sprint(20_000+p))
		}
		return strings.Join(out, ",")
	}
	const most = protocol.MaxExcludedInboundPorts
	for _, c := range []struct {
		key, value string
		kept       int // 0: refused
	}{
		{names.AnnotationExcludeInboundPorts, list(most), most},
		{names.AnnotationExcludeInboundPorts, list(most) + "," + list(most), most}, // each counts once
		{names.AnnotationExcludeInboundPorts, list(most + 1), 0},
		{names.AnnotationExcludeInboundPorts, list(40_000), 0},
		{names.AnnotationExcludeOutboundPorts, list(most + 1), most + 1},
	} {
		a, problems := ParseAnnotations(map[string]string{c.key: c.value}, nil)
		if c.kept == 0 {
			if len(problems) != 1 || !strings.Contains(problems[0], "at most 64 ports") || len(problems[0]) > 300 {
				t.Errorf("%s of %d bytes: problems are %v", c.key, len(c.value), problems)
			}
			continue
		}
		if n := len(a.ExcludeInboundPorts) + len(a.ExcludeOutboundPorts); len(problems) > 0 || n != c.kept {
			t.Errorf("%s of %d bytes: %d ports, %v", c.key, len(c.value), n, problems)
		}
	}
}
