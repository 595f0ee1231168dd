// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// TestIdle: how long a stream of a rule may be silent, by what the rule and its Gateway say.
func TestIdle(t *testing.T) {
	const minute = time.Minute
	for name, c := range map[string]struct {
		rule  rule
		match model.Protocol
		limit time.Duration
		want  time.Duration
	}{
		"nothing is said":                       {rule{}, model.HTTP, 0, 0},
		"a short timeout":                       {rule{timeout: minute}, model.HTTP, 0, 0},
		"a timeout as long as the limit":        {rule{timeout: 5 * minute}, model.HTTP, 0, 5*minute + time.Second},
		"a longer one":                          {rule{timeout: 10 * minute}, model.HTTP, 0, 10*minute + time.Second},
		"a longer one for a backend":            {rule{backendTimeout: 10 * minute}, model.HTTP, 0, 10*minute + time.Second},
		"several attempts":                      {rule{backendTimeout: 2 * minute, retry: &model.Retry{Attempts: 3}}, model.HTTP, 0, 8*minute + time.Second},
		"several attempts within a timeout":     {rule{timeout: 3 * minute, backendTimeout: 2 * minute, retry: &model.Retry{Attempts: 3}}, model.HTTP, 0, 0},
		"0s":                                    {rule{endless: true}, model.HTTP, 0, model.Unlimited},
		"0s where the Gateway has a limit":      {rule{endless: true}, model.HTTP, minute, model.Unlimited},
		"nothing where the Gateway has a limit": {rule{}, model.HTTP, minute, 0},
		"a longer one than the Gateway's":       {rule{timeout: 2 * minute}, model.HTTP, minute, 2*minute + time.Second},
		"a Gateway without a limit":             {rule{timeout: time.Hour}, model.HTTP, model.Unlimited, 0},
		"gRPC":                                  {rule{}, model.GRPC, 0, time.Hour},
		"gRPC where the Gateway has a limit":    {rule{}, model.GRPC, minute, 0},
		"gRPC where the Gateway has no limit":   {rule{}, model.GRPC, model.Unlimited, 0},
	} {
		if got := c.rule.idle(c.match, c.limit); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
