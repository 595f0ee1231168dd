// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"testing"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
)

// TestImagesOfTheGoal: what the nodes are brought is what pods are about to be given. A node that came
// during the upgrade has never had the release before, which a rollback needs there.
func TestImagesOfTheGoal(t *testing.T) {
	w := newWorld(t, 31, 12)
	w.wanted = "0.3.0"
	back := false
	for range 3000 {
		d := w.operate(-1)
		want := "0.3.0"
		switch {
		case d.Settled:
			want = ""
		case d.Status.Phase == v1alpha1.PhaseRollingBack:
			want, back = "0.2.0", true
		}
		if d.Pull != want {
			t.Fatalf("in phase %s the nodes are brought %q, want %q", d.Status.Phase, d.Pull, want)
		}
		for _, m := range d.Moves {
			for slot, image := range m.Images {
				if image != "proxy:"+d.Pull {
					t.Errorf("phase %s: slot %s of %s gets %s, and the nodes are brought %s", d.Status.Phase, slot, m.Name, image, d.Pull)
				}
			}
		}
		if d.Status.Wave == 2 {
			w.wanted = "0.2.0"
		}
		if back && d.Settled {
			return
		}
		w.pass(2 * time.Second)
	}
	t.Fatalf("never back: %+v", w.status)
}
