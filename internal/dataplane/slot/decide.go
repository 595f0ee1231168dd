// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slot

import (
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// view is all that a decision depends on.
type view struct {
	Me string
	// Version of this slot's image.
	Version string
	Target  protocol.Target
	// Other is the other slot's state; zero when its pid 1 does not live.
	Other protocol.State
	// OtherUnready is for how long the other slot has not been Ready.
	OtherUnready time.Duration
	// Running: this slot has been started with Generation and is not leaving.
	Running    bool
	Generation int64
	// Begun: a slot of the pod has been Ready, so that the application may run.
	Begun bool
	// Ending: the pod is going away, nothing is to be started any more.
	Ending bool
}

// verb is what a slot does next.
type verb int

const (
	stay  verb = iota
	start      // run the agent, under the decision's generation
	raise      // go on, under a higher generation
	leave      // the other slot serves: drain and become the standby
)

// decision is a verb and the generation it is done under.
type decision struct {
	Do         verb
	Generation int64
}

// How long the chosen slot may be unready before the other one helps out.
const (
	// takeover is for one whose process lives: it starts, or tries again.
	takeover = 20 * time.Second
	// absence is for one whose process does not, counted from when it was last ready. The kubelet starts a container anew at once when it dies
	// for the first time, and then lets it wait for up to five minutes.
	absence = 2 * time.Second
	// slowStart is for one that starts a new pod, which nobody misses yet: two Envoys that start at once
	// on a busy node are slower than one.
	slowStart = StartLimit + 30*time.Second
)

// decide is the whole election. It is level-triggered: asked again with the same view it says the same.
func decide(v view) decision {
	// An order for this slot but another version is for the image that will come: this process ends with
	// the one it has.
	mine := v.Target.Slot == v.Me && (v.Target.Version == "" || v.Target.Version == v.Version)
	if v.Running {
		if mine && v.Target.Generation > v.Generation {
			return decision{raise, v.Target.Generation}
		}
		// Drain only for a slot that was told to be active later than this one and already serves.
		if !mine && v.Other.Phase == protocol.PhaseReady && v.Other.Generation > v.Generation {
			return decision{Do: leave}
		}
		return decision{Do: stay}
	}
	if v.Ending {
		return decision{Do: stay}
	}
	if mine {
		// An order that is not newer than the one the other slot works under is no order.
		if active(v.Other.Phase) && v.Other.Generation >= v.Target.Generation {
			return decision{Do: stay}
		}
		return decision{start, v.Target.Generation}
	}
	// The chosen slot does not get ready: help out under the generation before, so that it takes over
	// the moment it is.
	patience := takeover
	switch {
	case v.Other.Phase == "":
		patience = absence
	case !v.Begun:
		patience = slowStart
	}
	if v.Other.Phase != protocol.PhaseReady && v.OtherUnready >= patience {
		return decision{start, v.Target.Generation - 1}
	}
	return decision{Do: stay}
}

// active reports whether a slot in this phase runs an agent.
func active(p protocol.Phase) bool {
	return p == protocol.PhaseStarting || p == protocol.PhaseReady || p == protocol.PhaseFailed
}
