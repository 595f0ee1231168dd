// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// silence is why nothing is known for sure.
const silence = "a replica of the control plane does not answer"

// shown is how many things a message names.
const shown = 3

// phase does what the present phase is for, and enters the next one when it is done.
func (u *run) phase() {
	if u.Spec.Paused && u.s.Phase != v1alpha1.PhaseRollingBack {
		u.s.Message = "paused by spec.upgrade.paused"
		return
	}
	switch u.s.Phase {
	case v1alpha1.PhasePreflight:
		u.preflight()
	case v1alpha1.PhaseShadow:
		u.shadow()
	case v1alpha1.PhaseControlPlane:
		u.controlPlane()
	case v1alpha1.PhaseDataPlane:
		u.dataPlane()
	case v1alpha1.PhaseRollingBack:
		u.goBack()
	case v1alpha1.PhaseCompleted, v1alpha1.PhaseRolledBack:
	}
}

func (u *run) preflight() {
	obstacles := slices.Clone(u.Obstacles)
	if _, problem := Waves(u.Spec.Waves, u.Pods); problem != "" {
		obstacles = append(obstacles, problem)
	}
	if !u.Complete {
		obstacles = append(obstacles, silence+", so it is not known how the proxies are")
	}
	if far := u.tooFar(u.s.To); far != "" {
		obstacles = append(obstacles, far+", which is too far from "+u.s.To+": replace its proxy first")
	}
	for _, p := range u.Proxies {
		if p.Rejected > 0 && !u.never(p) {
			obstacles = append(obstacles, fmt.Sprintf("proxy %s/%s rejects its configuration (%s)", p.Namespace, p.Pod, strings.Join(p.Nacks, "; ")))
		}
	}
	if len(obstacles) > 0 {
		u.s.Message = "nothing was changed yet: " + some(obstacles)
		return
	}
	u.enter(v1alpha1.PhaseShadow)
	if list := u.unpulled(); list != "" {
		u.event(true, "ImagesNotPulled", list)
	}
}

// never tells whether a proxy's pod takes no part in upgrades: then nothing waits for it either.
func (u *run) never(of Proxy) bool {
	return slices.ContainsFunc(u.Pods, func(p Pod) bool {
		return p.Namespace == of.Namespace && p.Name == of.Pod && p.Order == names.UpgradeNever
	})
}

func (u *run) shadow() {
	if ready, message := u.Deployed(u.s.To); !ready {
		u.s.Message = "the control plane of " + u.s.To + " is coming up beside the old one: " + message
		return
	}
	if u.Difference == nil {
		u.s.Message = "comparing what the two control planes would send"
		return
	}
	u.s.Difference = u.Difference.Summary
	if n := len(u.Difference.Rejected); n > 0 && u.Spec.OnDifference != v1alpha1.OnDifferenceContinue {
		u.s.Message = fmt.Sprintf("release %s rejects what %s accepts: %s; correct that, or set spec.upgrade.onDifference to Continue; see tulle upgrade diff",
			u.s.To, u.s.From, some(u.Difference.Rejected))
		return
	}
	u.enter(v1alpha1.PhaseControlPlane)
}

// led is how long after the Service's change its new connections certainly go to the release that it
// selects, on every node.
const led = 3 * time.Second

func (u *run) controlPlane() {
	if u.Serving != u.s.To {
		u.s.Message = "leading new connections and injection to " + u.s.To
		return
	}
	if ready, message := u.Deployed(u.s.To); !ready {
		u.s.Message = "the control plane of " + u.s.To + " is not ready: " + message
		return
	}
	if u.now.Sub(u.s.Since.Time) < led {
		u.s.Message = "leading new connections and injection to " + u.s.To
		return
	}
	u.enter(v1alpha1.PhaseDataPlane)
	u.s.Wave = 1
}

// tally is how far the replacement of some pods has come.
type tally struct {
	done, total int
	// connected of them are connected to a control plane: others may only look as if they had a proxy, and don't
	// count for spec.upgrade.maxUnavailable.
	connected int
	// open pods are not done and hold the wave up; waiting says why, in their order.
	open    int
	busy    int
	waiting []string
	failed  []string
	due     []Move
}

// count looks at pods, all of which take part.
func (u *run) count(pods []Pod, goal Goal) tally {
	var t tally
	for _, p := range pods {
		t.total++
		connected := len(u.by[p.key()]) > 0
		if connected {
			t.connected++
		}
		st := u.standing(p, goal, u.clock())
		name := p.key() + ": "
		switch st.stage {
		case done:
			t.done++
		case due:
			t.open++
			t.due = append(t.due, st.move)
			if st.why != "" {
				t.waiting = append(t.waiting, name+st.why)
			}
		case busy:
			t.open++
			if u.known(p) || !u.Complete {
				t.busy++
			}
			t.waiting = append(t.waiting, name+st.why)
		case failed:
			t.open++
			t.failed = append(t.failed, name+st.why)
		case held:
			if p.Ready && p.Obstacle == "" || st.move.Restart != (Restart{}) {
				t.open++ // it is waited for
				t.waiting = append(t.waiting, name+st.why)
			}
		case left:
		}
		// Others are left out: they can't be replaced, or are replaced once they are Ready.
	}
	return t
}

// standing is where a pod stands. What a pod says of itself counts only if a proxy of it has been seen: its owner can
// write its labels and annotations.
func (u *run) standing(p Pod, goal Goal, clock Clock) standing {
	st := advance(p, u.by[p.key()], goal, clock)
	if st.stage == done {
		return st
	}
	seen, known := u.sight(p)
	connected := len(u.by[p.key()]) > 0
	restart := st.move.Restart != (Restart{})
	switch {
	case !known && !restart:
		st = standing{stage: held, why: "no proxy of it is connected and ready" + u.by[p.key()].cut()}
	case restart && !connected && u.Complete:
		st.stage, st.why = held, "no proxy of it is connected"
	case st.stage == failed && u.over():
	case st.stage == failed && u.s.Phase == v1alpha1.PhaseRollingBack && st.waited > ownersPatience:
		st.stage = left
	case len(st.move.Images) > 0 && goal.Version == u.Wanted && slices.Contains(u.NodesWithout, p.Node):
		st = standing{stage: held, why: "node " + p.Node + " does not have the image of " + goal.Version}
		if !u.over() && !u.s.CatchUp && Late(u.s.Since.Time, u.Clock) {
			st.stage = left
		}
		return st
	}
	if !connected && clock.watched(seen.Connected) > ownersPatience || st.stage == held && clock.watched(seen.Ready) > ownersPatience {
		st.stage = left
	}
	return st
}

func (u *run) dataPlane() {
	goal := u.goal(u.s.To)
	waves, _ := Waves(u.Spec.Waves, u.Pods)
	all := u.count(slices.Concat(waves...), goal)
	u.s.Proxies, u.s.Replaced = int32(all.total), int32(all.done) //nolint:gosec // pods
	if u.s.CatchUp {
		u.catchUp(slices.Concat(waves...), all, goal)
		return
	}
	u.s.Waves = int32(len(waves)) + 1 //nolint:gosec // the last one is the Gateways'
	u.s.Wave = min(max(u.s.Wave, 1), u.s.Waves)
	if all.open > 0 && u.wavesDone() {
		u.s.Wave = int32(len(waves)) //nolint:gosec // a pod became Ready late: it is replaced and judged with the last wave
	}
	if len(all.failed) > 0 {
		u.fail("the proxy did not get ready: " + some(all.failed))
		return
	}
	for !u.wavesDone() {
		now := slices.Concat(waves[:u.s.Wave]...)
		t := u.count(now, goal)
		if t.open > 0 {
			u.s.WaveDone, u.s.UnreadySince = nil, nil
			t.busy, t.connected = all.busy, all.connected // whatever wave they are of, or of whichever attempt
			u.replace(t)
			return
		}
		if !u.judge(now, waves) {
			return
		}
	}
	u.gateways = true
	waiting, late := u.gatewaysWait(goal.Version)
	if len(waiting) > 0 {
		u.s.Message = "the Gateways' proxies are deployed anew: " + some(waiting)
		return
	}
	if u.tidyUp(slices.Concat(waves...), goal) {
		return
	}
	u.s.Message = joined(notWaited(late), u.leftOut(goal))
	u.finish(v1alpha1.PhaseCompleted, "UpgradeCompleted", fmt.Sprintf("%d of %d proxies were replaced", u.s.Replaced, u.s.Proxies))
}

// catchUp replaces the proxies that were left behind. The release has passed its gates: one that can't
// be replaced goes on as it is.
func (u *run) catchUp(pods []Pod, all tally, goal Goal) {
	u.replace(all)
	if all.open > len(all.failed) || u.tidyUp(pods, goal) {
		return
	}
	u.s.Message = u.leftOut(goal)
	u.finish(v1alpha1.PhaseCompleted, "CaughtUp", fmt.Sprintf("%d of %d proxies are of %s", u.s.Replaced, u.s.Proxies, u.s.To))
}

// wavesDone tells whether only the Gateways are left.
func (u *run) wavesDone() bool { return u.s.Wave >= u.s.Waves }

// replace starts as many replacements as may be under way at once.
func (u *run) replace(t tally) {
	u.s.Message = some(t.waiting)
	if !open(u.Spec.Windows, u.Now) {
		if len(t.waiting) == 0 {
			u.s.Message = "waiting for a window of spec.upgrade.windows"
		}
		return
	}
	u.take(t)
	if len(t.waiting) == 0 && len(u.moves) > 0 {
		u.s.Message = "replacing " + strconv.Itoa(len(u.moves))
	}
}

// take takes the moves that may be made now: those that only note what is so already come first and
// are free, the others as far as the limit allows.
func (u *run) take(t tally) {
	left := limit(u.Spec, t.connected) - t.busy
	for _, m := range t.due {
		if m.Version == "" || m.Restart != (Restart{}) {
			continue
		}
		u.moves = append(u.moves, m)
		if m.Target != nil {
			left-- // another slot is still getting ready, until it hears of this
		}
	}
	for _, m := range t.due {
		if m.Version != "" || m.Restart != (Restart{}) {
			continue
		}
		if m.free || left > 0 {
			u.moves = append(u.moves, m)
		}
		if !m.free {
			left--
		}
	}
	// Restarts come last: one that hangs takes a place in each round.
	for _, m := range restarts(t.due) {
		if left > 0 {
			u.moves = append(u.moves, m)
			left--
		}
	}
}

// restarts are the moves that restart workloads, one for each workload, which is asked for until no pod
// needs it. It is the one of the pod that was created last: where pods that a restart created are of the
// former release too, because injection was still led to it, the workload is restarted again.
func restarts(due []Move) []Move {
	var out []Move
	for _, m := range due {
		if m.Restart == (Restart{}) {
			continue
		}
		i := slices.IndexFunc(out, func(o Move) bool { return o.Namespace == m.Namespace && o.Restart == m.Restart })
		switch {
		case i < 0:
			out = append(out, m)
		case m.Created.After(out[i].Created):
			out[i] = m
		}
	}
	return out
}

// limit is spec.upgrade.maxUnavailable of all.
func limit(spec v1alpha1.Upgrade, total int) int {
	v := spec.MaxUnavailable
	if v == nil {
		return max(1, share(total, 10))
	}
	if percent, ok := strings.CutSuffix(v.StrVal, "%"); ok {
		n, err := strconv.Atoi(percent)
		if err != nil {
			return 1
		}
		return max(1, share(total, n))
	}
	return max(1, v.IntValue())
}

// judge watches a wave whose proxies have all been replaced; true: it has passed, and the next begins.
func (u *run) judge(moved []Pod, waves [][]Pod) bool {
	if u.s.WaveDone == nil {
		u.s.WaveDone = &u.now
	}
	soaked := u.s.WaveDone.Add(u.Spec.Soak.Duration)
	if left := soaked.Sub(u.Now); left > 0 && !u.harmed(moved) {
		u.s.Message = fmt.Sprintf("watching wave %d until %s", u.s.Wave, soaked.UTC().Format("15:04:05"))
		return false
	}
	if !u.Complete {
		u.s.Message = silence + ", so the wave can't be judged"
		return false
	}
	lost := u.lost(moved)
	if len(lost) == 0 {
		u.s.UnreadySince = nil
	} else if u.s.UnreadySince == nil {
		u.s.UnreadySince = &u.now
	}
	if len(lost) > 0 && u.watched(u.s.UnreadySince.Time) < absence && !u.harmed(moved) {
		u.s.Message = fmt.Sprintf("wave %d: waiting to hear that its proxies are ready: %s", u.s.Wave, some(lost))
		return false
	}
	result := u.verdict(moved, slices.Concat(waves[u.s.Wave:]...))
	if len(lost) > 0 && result.Result != v1alpha1.GateFailed {
		result.Result, result.Message = v1alpha1.GateFailed, "the proxy took over and is not ready any more: "+some(lost)
	}
	unknown := result.Result == v1alpha1.GateNoEvidence && u.Spec.Gates.OnNoEvidence == v1alpha1.OnNoEvidencePause
	if result.Result != v1alpha1.GateFailed && !unknown && u.Spec.Gates.External != nil {
		if u.External == nil || u.External.Wave != u.s.Wave {
			u.ask = true
			u.s.Message = fmt.Sprintf("wave %d: asking %s", u.s.Wave, u.Spec.Gates.External.URL)
			if u.ExternalProblem != "" {
				u.s.Message = fmt.Sprintf("wave %d can't be judged, and waits: spec.upgrade.gates.external: %s", u.s.Wave, u.ExternalProblem)
			}
			return false
		}
		result = *u.External
	}
	switch {
	case result.Result == v1alpha1.GateFailed:
		u.note(result)
		u.fail(fmt.Sprintf("wave %d failed: %s", u.s.Wave, result.Message))
		return false
	case result.Result == v1alpha1.GateNoEvidence && u.Spec.Gates.OnNoEvidence == v1alpha1.OnNoEvidencePause:
		u.s.Message = fmt.Sprintf("wave %d can't be judged yet: %s", u.s.Wave, result.Message)
		u.ask = u.Spec.Gates.External != nil
		return false
	}
	u.note(result)
	u.event(false, "WavePassed", fmt.Sprintf("%d of %d: %s: %s", u.s.Wave, u.s.Waves, result.Result, result.Message))
	u.s.Wave, u.s.WaveDone, u.s.UnreadySince, u.s.Message = u.s.Wave+1, nil, nil, ""
	return true
}

// verdict judges by what the proxies report.
func (u *run) verdict(moved, rest []Pod) v1alpha1.GateResult {
	v, message := u.Judge(u.Spec.Gates, u.seen(moved, true), u.seen(rest, false))
	return v1alpha1.GateResult{Wave: u.s.Wave, Result: v, Message: message}
}

// seen are the reports of the pods' proxies, of those that run the new version or of the others. A
// replaced one that is not ready any more is among them: it may be the worst.
func (u *run) seen(pods []Pod, replaced bool) []Seen {
	var out []Seen
	for _, p := range pods {
		r := u.by[p.key()]
		s := r.ready("", p.target())
		if replaced {
			s = r.replaced(u.s.To, p.target())
		}
		if s != "" && (r[s].Version == u.s.To) == replaced {
			out = append(out, Seen{Proxy: r[s], Workload: p.Workload})
		}
	}
	return out
}

// absence is how long a replaced proxy may be without a word that it is ready: its stream may be on its
// way to another replica, or the machine so busy that one check came to nothing.
const absence = 30 * time.Second

// lost are pods whose new proxy has been ready, which it does not say any more. A pod that is not Ready
// itself and of which nothing is heard is not among them: its node may have gone.
func (u *run) lost(moved []Pod) []string {
	var out []string
	for _, p := range moved {
		r := u.by[p.key()]
		s := r.replaced(u.s.To, p.target())
		switch {
		case !u.known(p): // it may only look as if it had a proxy
		case p.Deleting || p.version() != u.s.To || s != "" && r[s].Phase == protocol.PhaseReady || s == "" && !p.Ready:
		case s == "":
			out = append(out, p.key()+" is not connected")
		default:
			out = append(out, p.key()+": "+words(s, r[s]))
		}
	}
	return out
}

// harmed tells whether a replaced proxy shows what no traffic is needed to judge.
func (u *run) harmed(moved []Pod) bool {
	return slices.ContainsFunc(u.seen(moved, true), func(s Seen) bool { return s.Rejected > 0 || s.Restarts > 0 })
}

// note keeps the result, instead of an earlier one of the same wave.
func (u *run) note(r v1alpha1.GateResult) {
	u.s.Gates = slices.DeleteFunc(u.s.Gates, func(g v1alpha1.GateResult) bool { return g.Wave == r.Wave })
	u.s.Gates = append(u.s.Gates, r)
	if len(u.s.Gates) > 16 {
		u.s.Gates = u.s.Gates[1:]
	}
}

// fail goes back, or stops where it is.
func (u *run) fail(why string) {
	if u.Spec.Rollback == v1alpha1.RollbackNever {
		u.s.Message = why + "; stopped, because spec.upgrade.rollback is Never: set spec.version to " + u.s.From + " to go back"
		return
	}
	u.rollBack(why)
}

// tidyUp gives standby slots the image of the slot that serves; true: some still need it.
func (u *run) tidyUp(pods []Pod, goal Goal) bool {
	waiting := false
	for _, p := range pods {
		r := u.by[p.key()]
		if m := tidy(p, r, goal, u.Now); m != nil {
			u.moves = append(u.moves, *m)
			waiting = true
			continue
		}
		// Its last connections are still ending.
		if p.Obstacle == "" && p.version() == goal.Version && p.Ready && p.A.Image != p.B.Image && len(r) > 0 {
			waiting = true
		}
	}
	if waiting && u.s.Phase == v1alpha1.PhaseDataPlane {
		u.s.Message = "waiting for the last connections of the replaced proxies to end"
	}
	return waiting
}

func some(list []string) string {
	if len(list) <= shown {
		return strings.Join(list, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(list[:shown], "; "), len(list)-shown)
}
