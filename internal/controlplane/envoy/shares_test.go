// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"testing"

	"tulle.dev/tulle/internal/controlplane/model"
)

// TestSharesOf: backends with rewrites that differ share a million by their weights; whatever the weights,
// each has a part, and the last has what is left.
func TestSharesOf(t *testing.T) {
	rewritten := func(weight uint32, path string) model.WeightedBackend {
		b := model.WeightedBackend{Backend: model.PortKey{Port: 80}, Weight: weight}
		if path != "" {
			b.Rewrite = &model.Rewrite{Path: &model.PathRewrite{Full: true, Replacement: path}}
		}
		return b
	}
	invalid := func(weight uint32) model.WeightedBackend { return model.WeightedBackend{Invalid: true, Weight: weight} }
	for name, c := range map[string]struct {
		backends []model.WeightedBackend
		upTo     []uint32
	}{
		"one":                 {[]model.WeightedBackend{rewritten(1, "/a")}, []uint32{0}},
		"the same":            {[]model.WeightedBackend{rewritten(1, "/a"), invalid(2), rewritten(3, "/a")}, []uint32{0}},
		"none":                {[]model.WeightedBackend{rewritten(1, ""), rewritten(3, "")}, []uint32{0}},
		"two":                 {[]model.WeightedBackend{rewritten(1, "/a"), rewritten(3, "/b")}, []uint32{250_000, 0}},
		"with an invalid one": {[]model.WeightedBackend{rewritten(1, "/a"), invalid(1), rewritten(2, "")}, []uint32{250_000, 500_000, 0}},
		"without weight":      {[]model.WeightedBackend{rewritten(0, "/a"), rewritten(1, "/b"), rewritten(1, "/c")}, []uint32{500_000, 0}},
		"the least":           {[]model.WeightedBackend{rewritten(1, "/a"), rewritten(1_000_000, "/b"), rewritten(1_000_000, "/c")}, []uint32{1, 500_000, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			got := sharesOf(model.Rule{Backends: c.backends})
			if len(got) != len(c.upTo) {
				t.Fatalf("%d shares, want %d", len(got), len(c.upTo))
			}
			for i, s := range got {
				if s.upTo != c.upTo[i] {
					t.Errorf("share %d up to %d, want %d", i, s.upTo, c.upTo[i])
				}
				if len(got) > 1 && len(s.Backends) != 1 {
					t.Errorf("share %d has %d backends", i, len(s.Backends))
				}
			}
		})
	}
}

// TestMerged: what a backend's rewrite sets replaces what the rule's sets, and nothing else does.
func TestMerged(t *testing.T) {
	path := &model.PathRewrite{Full: true, Replacement: "/a"}
	rule := &model.Rewrite{Hostname: "rule.example", Path: &model.PathRewrite{Full: true, Replacement: "/rule"}}
	for _, c := range []struct {
		rule, backend *model.Rewrite
		host, path    string
	}{
		{rule, nil, "rule.example", "/rule"},
		{nil, &model.Rewrite{Path: path}, "", "/a"},
		{rule, &model.Rewrite{Path: path}, "rule.example", "/a"},
		{rule, &model.Rewrite{Hostname: "b.example"}, "b.example", "/rule"},
	} {
		if got := merged(c.rule, c.backend); got.Hostname != c.host || got.Path.Replacement != c.path {
			t.Errorf("%+v and %+v: %+v", c.rule, c.backend, got)
		}
	}
	if merged(nil, nil) != nil || rule.Hostname != "rule.example" {
		t.Error("a rewrite of nothing, or a rule that has changed")
	}
}

// TestNoAttempts: a rule without attempts has a retry policy of its own that retries nothing, for that of the
// table would.
func TestNoAttempts(t *testing.T) {
	p := retry(model.Rule{Retry: &model.Retry{Codes: []uint32{500}, Broken: true}, BackendTimeout: 1})
	if p == nil || p.GetNumRetries() == nil || p.GetNumRetries().GetValue() != 0 || p.GetPerTryTimeout() == nil {
		t.Errorf("%v", p)
	}
}
