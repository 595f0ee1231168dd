// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import "tulle.dev/tulle/internal/controlplane/model"

const (
	plainRevision  = Revision
	streamRevision = Revision
)

func plainChain(g model.GatewayPort) string { return g.Sections[0].Name }

func byName(names []string) map[string][]string {
	if len(names) == 0 {
		return nil
	}
	return map[string][]string{"": names}
}
