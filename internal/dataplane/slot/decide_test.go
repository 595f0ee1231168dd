// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slot

import (
	"testing"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

func TestDecide(t *testing.T) {
	target := func(slot string, generation int64) protocol.Target {
		return protocol.Target{Slot: slot, Generation: generation}
	}
	peer := func(p protocol.Phase, generation int64) protocol.State {
		return protocol.State{Phase: p, Generation: generation}
	}
	for _, c := range []struct {
		name string
		view view
		want decision
	}{
		{"a new pod: slot a begins", view{Me: "a", Target: target("a", 0)}, decision{start, 0}},
		{"a new pod: slot b stands by", view{Me: "b", Target: target("a", 0), Other: peer(protocol.PhaseReady, 0)}, decision{stay, 0}},
		{"a new pod: slot a takes its time", view{Me: "b", Target: target("a", 0), Other: peer(protocol.PhaseStarting, 0), OtherUnready: takeover - time.Second}, decision{stay, 0}},

		{"ordered to take over", view{Me: "b", Target: target("b", 1), Other: peer(protocol.PhaseReady, 0)}, decision{start, 1}},
		{"ordered for the image that will come", view{Me: "b", Version: "0.1.0", Target: protocol.Target{Slot: "b", Generation: 1, Version: "0.2.0"}, Other: peer(protocol.PhaseReady, 0)}, decision{stay, 0}},
		{"ordered for this image", view{Me: "b", Version: "0.2.0", Target: protocol.Target{Slot: "b", Generation: 1, Version: "0.2.0"}, Other: peer(protocol.PhaseReady, 0)}, decision{start, 1}},
		{"the image that was meant does not come", view{Me: "a", Version: "0.1.0", Target: protocol.Target{Slot: "b", Generation: 1, Version: "0.2.0"}, OtherUnready: absence}, decision{start, 0}},
		{"an order that is not newer", view{Me: "b", Target: target("b", 1), Other: peer(protocol.PhaseReady, 1)}, decision{stay, 0}},
		{"an old order, and the other slot stands by", view{Me: "b", Target: target("b", 1), Other: peer(protocol.PhaseStandby, 4)}, decision{start, 1}},
		{"ordered away, the other is not ready", view{Me: "a", Running: true, Target: target("b", 1), Other: peer(protocol.PhaseStarting, 1)}, decision{stay, 0}},
		{"ordered away, the other has failed", view{Me: "a", Running: true, Target: target("b", 1), Other: peer(protocol.PhaseFailed, 1)}, decision{stay, 0}},
		{"ordered away, the other is dead", view{Me: "a", Running: true, Target: target("b", 1)}, decision{stay, 0}},
		{"ordered away, the other is ready", view{Me: "a", Running: true, Target: target("b", 1), Other: peer(protocol.PhaseReady, 1)}, decision{leave, 0}},
		{"the other is ready under an older order", view{Me: "a", Running: true, Generation: 2, Target: target("b", 3), Other: peer(protocol.PhaseReady, 1)}, decision{stay, 0}},
		{"the other is ready, and this one is wanted", view{Me: "a", Running: true, Target: target("a", 0), Other: peer(protocol.PhaseReady, 1)}, decision{stay, 0}},
		{"rolled back before the other was ready", view{Me: "a", Running: true, Target: target("a", 2), Other: peer(protocol.PhaseFailed, 1)}, decision{raise, 2}},
		{"ordered what is", view{Me: "a", Running: true, Generation: 2, Target: target("a", 2)}, decision{stay, 0}},

		{"the chosen slot is dead", view{Me: "a", Target: target("b", 3), OtherUnready: absence}, decision{start, 2}},
		{"the chosen slot is dead, and may be back at once", view{Me: "a", Target: target("b", 3), OtherUnready: absence - 1}, decision{stay, 0}},
		{"the chosen slot is back, and starts", view{Me: "a", Target: target("b", 3), Other: peer(protocol.PhaseStarting, 3), OtherUnready: takeover - 1, Begun: true}, decision{stay, 0}},
		{"the chosen slot does not get ready", view{Me: "a", Target: target("b", 3), Other: peer(protocol.PhaseStarting, 3), OtherUnready: takeover, Begun: true}, decision{start, 2}},
		{"the chosen slot starts a new pod slowly", view{Me: "b", Target: target("a", 0), Other: peer(protocol.PhaseStarting, 0), OtherUnready: slowStart - 1}, decision{stay, 0}},
		{"the chosen slot does not get ready in a new pod", view{Me: "b", Target: target("a", 0), Other: peer(protocol.PhaseStarting, 0), OtherUnready: slowStart}, decision{start, -1}},
		{"the chosen slot gave up in a new pod", view{Me: "b", Target: target("a", 0), OtherUnready: absence}, decision{start, -1}},
		{"the chosen slot is back", view{Me: "a", Running: true, Generation: 2, Target: target("b", 3), Other: peer(protocol.PhaseReady, 3)}, decision{leave, 0}},
		{"the chosen slot starts beside its helper", view{Me: "b", Target: target("b", 3), Other: peer(protocol.PhaseReady, 2)}, decision{start, 3}},

		{"the pod ends: nothing is started", view{Me: "a", Ending: true, Target: target("b", 3), OtherUnready: time.Hour}, decision{stay, 0}},
		{"the pod ends: the order is too late", view{Me: "b", Ending: true, Target: target("b", 1), Other: peer(protocol.PhaseReady, 0)}, decision{stay, 0}},
	} {
		if got := decide(c.view); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
