// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"bytes"
	"strings"
	"testing"

	"tulle.dev/tulle/internal/cli/cluster"
)

// TestRemains: what removes the operator is about this installation, and touches nothing else that is in
// its namespace.
func TestRemains(t *testing.T) {
	for _, c := range []struct{ installer, system, want string }{
		{"", "tulle-system", "kubectl delete -k config/default\n"},
		{"", "mesh-system", "kubectl delete -k DIR, the kustomization that sets namespace: mesh-system\n"},
		{"helm tulle", "mesh-system", "helm uninstall -n mesh-system tulle\n"},
		{
			"olm tulle.v0.3.0", "operators",
			"kubectl -n operators delete subscription -l operators.coreos.com/tulle.operators && kubectl -n operators delete clusterserviceversion tulle.v0.3.0\n",
		},
	} {
		var out bytes.Buffer
		printRemains(&out, cluster.Remains{Operator: []string{c.system + "/tulle-operator"}, Installer: c.installer}, c.system)
		if !strings.Contains(out.String(), "the operator ("+c.system+"/tulle-operator): "+c.want) {
			t.Errorf("%s in %s: %s", c.installer, c.system, &out)
		}
	}
}
