// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"strings"
	"testing"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

// TestUnpulledImages: condition Upgraded names the pods whose repository no known release names, in the preflight
// and after it, unless the nodes have the image from there.
func TestUnpulledImages(t *testing.T) {
	known := release.Known("r/tulle:1", "r/proxy:1")
	from, _ := known.Find("0.2.0")
	slot := upgrade.Slot{Image: "mirror/proxy:0.2.0"}
	pod := upgrade.Pod{
		Namespace: "shop", Name: "web", Kind: names.KindSidecar, Ready: true, A: slot, B: slot,
		Labels: map[string]string{names.LabelVersion: from.Version},
	}
	for _, c := range []struct {
		phase v1alpha1.UpgradePhase
		node  string
		named bool
	}{
		{v1alpha1.PhasePreflight, "", true},
		{v1alpha1.PhaseShadow, "r/proxy:1", true},
		{v1alpha1.PhaseDataPlane, "r/proxy:1", true},
		{v1alpha1.PhaseShadow, "mirror/proxy:1", false},
	} {
		d := decision{mesh: &v1alpha1.Mesh{}}
		d.wanted, _ = known.Find(release.Current)
		d.mesh.Status.Upgrade = &v1alpha1.UpgradeStatus{From: from.Version, To: release.Current, Phase: c.phase, Requested: release.Current}
		d.seen.ServingRevision = from.Revision()
		d.seen.Rollout = Rollout{Pods: []upgrade.Pod{pod}, Nodes: []Node{{Name: "n", Image: c.node}}}
		d.choose(known)
		if message := d.judgeUpgraded().Message; strings.Contains(message, "Pod shop/web gets mirror/proxy:1;") != c.named {
			t.Errorf("in phase %s with %q on the nodes: %s", c.phase, c.node, message)
		}
	}
}
