// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"fmt"
	"strings"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// Goal is what the proxies are to become.
type Goal struct {
	Version, Image string
	// Named reports whether a known release has its proxy image in the repository; nil: none has.
	Named func(repository string) bool
}

// patience is how long a slot may take from the order to being ready.
const patience = 2 * time.Minute

// settling is how long after an order the silence of a slot proves nothing.
const settling = 5 * time.Second

// young is the age below which a pod is no reason to restart its workload: a restart may be under way, and
// the API server may just have learned where injection is led to.
const young = 15 * time.Second

// stage is where one pod stands.
type stage int

const (
	// done: it serves with what is wanted.
	done stage = iota
	// due: the move can be made now.
	due
	// busy: a replacement is under way.
	busy
	// held: nothing can be done yet, and nothing has been.
	held
	// failed: the replacement did not work in time.
	failed
	// left: it did not, for so long that it is not waited for.
	left
)

// standing is a stage, why, and the move that is due.
type standing struct {
	stage stage
	why   string
	move  Move
	// waited is since how long a replacement has been under way.
	waited time.Duration
}

// reports of one pod, by slot.
type reports map[string]Proxy

// ready finds a slot that serves, of the version; "" is any version. With two it is the one that was
// ordered.
func (r reports) ready(version string, ordered protocol.Target) string {
	for _, s := range []string{ordered.Slot, other(ordered.Slot)} {
		if p, ok := r[s]; ok && p.Phase == protocol.PhaseReady && (version == "" || p.Version == version) {
			return s
		}
	}
	return ""
}

// replaced finds the slot that was replaced by one of the version, ready or not; "": none is connected.
func (r reports) replaced(version string, ordered protocol.Target) string {
	if s := r.ready(version, ordered); s != "" {
		return s
	}
	for _, s := range []string{ordered.Slot, other(ordered.Slot)} {
		if p, ok := r[s]; ok && p.Version == version && p.Phase != protocol.PhaseDraining {
			return s
		}
	}
	return ""
}

// words is how a slot is that is connected.
func words(slot string, said Proxy) string {
	why := fmt.Sprintf("slot %s is %s", slot, said.Phase)
	if said.Message != "" {
		why += ": " + said.Message
	}
	if said.Restarts > 0 {
		why += fmt.Sprintf(" (Envoy has ended by itself %d times)", said.Restarts)
	}
	if said.Cut {
		why += tooLong
	}
	return why
}

// tooLong is a reason why too little is known of a proxy.
const tooLong = " (what its agent reports is longer than it may be, and was cut)"

// cut is tooLong if that is so of a slot.
func (r reports) cut() string {
	for _, p := range r {
		if p.Cut {
			return tooLong
		}
	}
	return ""
}

// advance says what to do next with one pod. r holds what its agents report, of all replicas of the
// control plane.
func advance(p Pod, r reports, goal Goal, clock Clock) standing {
	now, t := clock.Now, p.target()
	move := Move{Namespace: p.Namespace, Name: p.Name, UID: p.UID}
	order := func(slot string) *protocol.Target {
		return &protocol.Target{Slot: slot, Generation: t.Generation + 1, Version: goal.Version, Since: now.UTC().Truncate(time.Second)}
	}
	ordered := t.Version == goal.Version || t.Version == "" && p.version() == goal.Version
	if s := r.ready(goal.Version, t); s != "" {
		if ordered && t.Slot == s {
			return standing{stage: done}
		}
		// It serves already, though another slot was ordered, or another version: that one failed.
		move.Target, move.Version, move.Requests = order(s), goal.Version, p.swapped(s)
		return standing{stage: due, move: move}
	}
	if ordered && p.version() == goal.Version {
		return standing{stage: done}
	}
	if t.Version == goal.Version {
		return underWay(p, r, t, clock)
	}
	if p.Obstacle != "" {
		if p.Restart == (Restart{}) {
			return standing{stage: held, why: p.Obstacle}
		}
		if p.RestartedFor == goal.Version {
			return standing{stage: held, why: p.Obstacle + ", and a restart of its workload did not change its proxy, which is part of the pod template"}
		}
		if now.Sub(p.Created) < young {
			return standing{stage: busy, why: "created a moment ago with the former release"}
		}
		move.Restart, move.Version, move.Template, move.Created = p.Restart, goal.Version, p.Template, p.Created
		return standing{stage: due, why: "its workload is restarted: " + p.Obstacle, move: move}
	}
	serving := r.ready("", t)
	if back := other(t.Slot); t.Version != "" && (serving == "" || !p.Ready) && p.slot(back).Image == goal.imageFor(p.slot(back).Image) {
		// What was ordered does not work, and what is wanted is still beside it: no image has to change.
		move.Target, move.free = order(back), serving == ""
		return standing{stage: due, move: move}
	}
	if serving == "" {
		return standing{stage: held, why: "no proxy of it is connected and ready" + r.cut()}
	}
	if !p.Ready {
		return standing{stage: held, why: "the pod is not Ready"}
	}
	standby := other(serving)
	if said, ok := r[standby]; ok && t.Slot == standby && said.Phase != protocol.PhaseReady && said.Phase != protocol.PhaseDraining {
		// It was ordered for something else and does not get ready. Called off, it will be idle.
		move.Target = order(serving)
		move.Target.Version = r[serving].Version
		return standing{stage: due, move: move}
	}
	if !idle(r, t, standby, now) {
		return standing{stage: busy, why: "slot " + standby + " has not finished draining"}
	}
	if image := goal.imageFor(p.slot(standby).Image); p.slot(standby).Image != image {
		move.Images = map[string]string{standby: image}
	}
	move.Target = order(standby)
	return standing{stage: due, move: move}
}

// labelled makes the pod's label, and what its slots ask for, follow the slot that was ordered and serves; nil: they do.
// Nothing waits for that, since a pod's owner can write its label, too.
func labelled(p Pod, r reports) *Move {
	t := p.target()
	said, ok := r[t.Slot]
	if !ok || said.Phase != protocol.PhaseReady || said.Version == "" || said.Version == p.label() || t.Version != "" && t.Version != said.Version {
		return nil
	}
	return &Move{Namespace: p.Namespace, Name: p.Name, UID: p.UID, Version: said.Version, Requests: p.swapped(t.Slot)}
}

// underWay is a pod whose slot was ordered and does not serve yet.
func underWay(p Pod, r reports, t protocol.Target, clock Clock) standing {
	why := "waiting for slot " + t.Slot
	if said, ok := r[t.Slot]; ok && said.Version == t.Version {
		why = words(t.Slot, said)
	} else if problem := p.slot(t.Slot).Problem; problem != "" {
		why = "slot " + t.Slot + ": " + problem
	}
	since := t.Since
	if since.After(clock.Now.Add(time.Minute)) {
		since = time.Time{} // the operator did not write that
	}
	waited := clock.watched(since)
	if waited > patience {
		return standing{stage: failed, why: why, waited: waited}
	}
	return standing{stage: busy, why: why, waited: waited}
}

// idle tells whether a slot has nothing to lose: no agent of it is connected, although the control
// plane hears of the pod, and it was not ordered away just now. An order of the future is not the operator's.
func idle(r reports, t protocol.Target, slot string, now time.Time) bool {
	_, connected := r[slot]
	return !connected && len(r) > 0 && now.Sub(t.Since).Abs() > settling
}

// tidy makes the standby's image that of the slot that serves, so that nothing of the release before
// is needed any more, or nil: not needed, or not now.
func tidy(p Pod, r reports, goal Goal, now time.Time) *Move {
	t := p.target()
	serving := r.ready(goal.Version, t)
	if serving == "" || p.version() != goal.Version || p.Obstacle != "" {
		return nil
	}
	standby := other(serving)
	image := kept(p.slot(standby).Image, p.slot(serving).Image, goal.Named)
	if p.slot(standby).Image == image || !idle(r, t, standby, now) {
		return nil
	}
	return &Move{Namespace: p.Namespace, Name: p.Name, UID: p.UID, Images: map[string]string{standby: image}}
}

// imageFor returns the image of the goal for a slot that has another one.
func (g Goal) imageFor(has string) string { return kept(has, g.Image, g.Named) }

// kept returns the image want for a container that has another one. If the present repository is not that of a
// known release, admission of the cluster has replaced it by a mirror's when the pod was created, and would refuse
// others: the result is then the tag and digest of want in that repository. A known release's may be an old one,
// which has no image of want; the nodes have want itself. If named is nil, no repository is a release's.
func kept(has, want string, named func(repository string) bool) string {
	repository, _ := splitImage(has)
	_, version := splitImage(want)
	if repository == "" || version == "" || named != nil && named(repository) {
		return want
	}
	return repository + version
}

// splitImage splits REPOSITORY[:TAG][@DIGEST] behind the repository.
func splitImage(image string) (repository, version string) {
	end := len(image)
	if at := strings.IndexByte(image, '@'); at >= 0 {
		end = at
	}
	if colon := strings.LastIndexByte(image[:end], ':'); colon > strings.LastIndexByte(image[:end], '/') {
		end = colon
	}
	return image[:end], image[end:]
}
