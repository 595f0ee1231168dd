// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/protocol"
)

// Input is all that a decision follows from.
type Input struct {
	Spec v1alpha1.Upgrade
	// Wanted is spec.version; it is known.
	Wanted string
	// Status is what the last decision left; nil: none was needed yet.
	Status *v1alpha1.UpgradeStatus
	// Serving is the version that the control plane's Service leads to; empty: it is not there yet.
	Serving string
	// Gateways is the version that Gateways' proxies are deployed from now.
	Gateways string
	// Image is the proxy image of a version, empty for one that is not known; Allowed whether proxies of the one may live beside a
	// control plane of the other.
	Image   func(version string) string
	Allowed func(from, to string) error
	// Named reports whether a known release has its proxy image in the repository.
	Named func(repository string) bool
	// Pulled are the images that the nodes were brought, as admission of the cluster left them.
	Pulled []string
	// Deployed says of a version's control plane whether all of it is ready, and what it waits for.
	Deployed func(version string) (ready bool, message string)
	// Pods that carry a proxy, and what their agents report. Complete: every replica was asked and has answered.
	Pods     []Pod
	Proxies  []Proxy
	Complete bool
	// GatewayDeployments are those of the Gateways that Tulle serves.
	GatewayDeployments []GatewayDeployment
	// NodesWithout are the nodes with pods of the mesh that do not have the image of Wanted.
	NodesWithout []string
	Remembered
	// Obstacles are what stands in the way of an upgrade, as the preflight sees it.
	Obstacles []string
	// Difference is what would change; nil: not known yet.
	Difference *Difference
	// Judge compares the replaced proxies of the waves so far with those that are still to be replaced.
	Judge func(gates v1alpha1.Gates, replaced, others []Seen) (v1alpha1.GateVerdict, string)
	// External is the answer of the external gate for the present wave; nil: not asked yet.
	External *v1alpha1.GateResult
	// ExternalProblem says why there is no answer although it was asked.
	ExternalProblem string
	Clock
}

// clock is that of the present phase.
func (u *run) clock() Clock {
	if u.s == nil {
		return u.Clock
	}
	return u.from(u.s.Since.Time)
}

// Difference is what the new control plane would send, against the old one.
type Difference struct {
	Summary string
	// Rejected are objects that the new one rejects and the old one accepts, "Kind namespace/name: why".
	Rejected []string
}

// Seen is what a proxy reports, and whose it is.
type Seen struct {
	Proxy
	Workload string
}

// Decision is what to do now.
type Decision struct {
	Status *v1alpha1.UpgradeStatus
	// Deploy are the versions whose control plane is to run; Serve is the one that serves.
	Deploy []string
	Serve  string
	// Gateways is the version that Gateways' proxies are deployed from.
	Gateways string
	// Pull is the version whose images are to be on every node; empty: none.
	Pull string
	// Unpulled says which pods get an image that no node was brought; empty: none.
	Unpulled string
	// Moves are the pods to change now.
	Moves []Move
	// Ask tells that External is waited for.
	Ask bool
	// Settled: one control plane is to run, so that what belongs to other versions can go.
	Settled bool
	// Events are what is worth telling, once.
	Events []Event
	// Again is when to look again although nothing is seen to change; 0: whenever.
	Again time.Duration
}

// Event is something worth telling.
type Event struct {
	Warning         bool
	Reason, Message string
}

// look is how often an upgrade under way is looked at.
const look = 2 * time.Second

// Next returns what is to be done now. It is pure: it reads only in. Each text of the status and of events is one line.
func Next(in Input) Decision { return decide(in).asLines() }

func decide(in Input) Decision {
	if in.Serving == "" && in.Status != nil {
		in.Serving = lastServing(in.Status) // somebody deleted the Service
	}
	if in.Serving == "" {
		return Decision{Status: in.Status, Deploy: []string{in.Wanted}, Serve: in.Wanted, Gateways: in.Wanted, Settled: true}
	}
	if !in.Complete {
		in.Watching = in.Now
	}
	u := &run{Input: in, now: metav1.NewTime(in.Now.UTC().Truncate(time.Second)), by: byPod(in.Proxies)}
	if in.Status != nil {
		u.s = in.Status.DeepCopy()
	}
	u.Pods = slices.Clone(in.Pods)
	for i, p := range u.Pods {
		r := u.by[p.key()]
		u.Pods[i].reported = r[r.ready("", p.target())].Version
	}
	u.begin()
	if u.s != nil {
		u.s.Requested = in.Wanted
	}
	if u.over() {
		return u.rest()
	}
	// As far as it goes at once: what is still to be seen ends each phase.
	for before := v1alpha1.UpgradePhase(""); before != u.s.Phase; {
		before = u.s.Phase
		u.phase()
	}
	if u.over() {
		return u.rest()
	}
	if u.s.Phase != v1alpha1.PhaseRollingBack && !strings.HasPrefix(u.s.Message, u.postponed) { // its message is the reason
		u.s.Message = joined(u.postponed, u.s.Message)
	}
	return u.decision()
}

// lastServing is the version that served when the status was written.
func lastServing(s *v1alpha1.UpgradeStatus) string {
	switch s.Phase {
	case v1alpha1.PhaseControlPlane, v1alpha1.PhaseDataPlane, v1alpha1.PhaseCompleted:
		return s.To
	case v1alpha1.PhasePreflight, v1alpha1.PhaseShadow, v1alpha1.PhaseRollingBack, v1alpha1.PhaseRolledBack:
	}
	return s.From
}

// run is one decision in the making.
type run struct {
	Input
	s      *v1alpha1.UpgradeStatus
	now    metav1.Time
	by     map[string]reports
	moves  []Move
	events []Event
	ask    bool
	// postponed says why what is wanted has to wait; empty: it has not.
	postponed string
	// gateways: the Gateways' proxies have their turn.
	gateways bool
}

func byPod(list []Proxy) map[string]reports {
	by := map[string]reports{}
	for _, p := range list {
		k := p.Namespace + "/" + p.Pod
		if by[k] == nil {
			by[k] = reports{}
		}
		// A stream that was cut may be shown a while beside its successor.
		if old, ok := by[k][p.Slot]; ok && old.Phase == protocol.PhaseReady && p.Phase != protocol.PhaseReady {
			continue
		}
		by[k][p.Slot] = p
	}
	return by
}

func (u *run) over() bool {
	return u.s == nil || u.s.Phase == v1alpha1.PhaseCompleted || u.s.Phase == v1alpha1.PhaseRolledBack
}

// begin makes a new upgrade of what is wanted, if that is not what is under way, or done.
func (u *run) begin() {
	s := u.s
	switch {
	case s != nil && !u.over() && s.To == u.Wanted && s.Phase != v1alpha1.PhaseRollingBack:
		return
	case s != nil && s.Phase == v1alpha1.PhaseRollingBack && (s.To == u.Wanted || s.From == u.Wanted):
		return
	case s != nil && s.Phase == v1alpha1.PhaseRolledBack && s.To == u.Wanted && s.Requested == u.Wanted:
		if u.stragglers(s.From) != "" {
			s.Phase, s.Since, s.Finished, s.CatchUp = v1alpha1.PhaseRollingBack, u.now, nil, true
		}
		return
	case s != nil && !u.over() && !s.CatchUp && s.From == u.Wanted:
		u.rollBack("spec.version went back to " + u.Wanted)
		return
	case s != nil && !u.over() && u.tooFar(u.Wanted) != "":
		u.postponed = fmt.Sprintf("%s is too far from proxies that still run (%s); continuing with %s first", u.Wanted, u.tooFar(u.Wanted), s.To)
		return
	case u.Wanted != u.Serving:
		u.start(u.Serving, v1alpha1.PhasePreflight)
		u.event(false, "UpgradeStarted", fmt.Sprintf("from %s to %s", u.Serving, u.Wanted))
	default:
		if late := u.stragglers(u.Wanted); late != "" {
			u.start(late, v1alpha1.PhaseDataPlane)
			u.s.CatchUp = true
		}
	}
}

func (u *run) start(from string, phase v1alpha1.UpgradePhase) {
	u.s = &v1alpha1.UpgradeStatus{From: from, To: u.Wanted, Phase: phase, Since: u.now, Started: u.now}
}

// tooFar names a pod whose proxy may not live beside a control plane of the version; empty: there is none. Pods of which
// no proxy was seen don't count, nor versions that no known release has.
func (u *run) tooFar(version string) string {
	for _, p := range u.Pods {
		if p.Kind == "" || !u.known(p) && u.Complete || u.Image(p.version()) == "" {
			continue
		}
		if u.Allowed(p.version(), version) != nil {
			return "Pod " + p.key() + " has " + p.version()
		}
	}
	return ""
}

// stragglers is the version of a proxy that was left behind, and can be replaced by the version now; empty: none. A pod
// that is not Ready is one if nothing of it serves, and the image of the version is still beside.
func (u *run) stragglers(version string) string {
	goal := u.goal(version)
	if !u.Complete {
		return ""
	}
	for _, p := range u.Pods {
		if !p.takesPart() || len(u.by[p.key()]) == 0 {
			continue
		}
		st := u.standing(p, goal, u.Clock)
		ordered := p.target().Version == version // and not done: it failed before, or does soon
		if st.move.free || p.Ready && (st.stage == due || st.stage == busy && !ordered) {
			return p.version()
		}
	}
	return ""
}

func (u *run) goal(version string) Goal {
	return Goal{Version: version, Image: u.Image(version), Named: u.Named}
}

func (u *run) enter(p v1alpha1.UpgradePhase) {
	u.s.Phase, u.s.Since, u.s.Message = p, u.now, ""
	u.event(false, "UpgradePhase", fmt.Sprintf("from %s to %s: %s", u.s.From, u.s.To, p))
}

func (u *run) event(warning bool, reason, message string) {
	u.events = append(u.events, Event{Warning: warning, Reason: reason, Message: message})
}

// rollBack turns round: what was moved goes back.
func (u *run) rollBack(why string) {
	u.enter(v1alpha1.PhaseRollingBack)
	u.s.Message, u.s.WaveDone, u.s.UnreadySince = why, nil, nil
	u.event(true, "RollingBack", fmt.Sprintf("from %s to %s: %s", u.s.To, u.s.From, why))
}

func (u *run) finish(p v1alpha1.UpgradePhase, reason, message string) {
	u.s.Phase, u.s.Since, u.s.Finished = p, u.now, &u.now
	if p == v1alpha1.PhaseRolledBack {
		u.s.CatchUp = false
	}
	u.event(p == v1alpha1.PhaseRolledBack, reason, message)
}

// rest is the decision when nothing is under way.
func (u *run) rest() Decision {
	serve := u.Serving
	if u.s != nil && u.s.Phase == v1alpha1.PhaseRolledBack && u.s.To == u.Wanted {
		serve = u.s.From
	}
	d := Decision{
		Status: u.s, Deploy: []string{serve}, Serve: serve, Gateways: serve, Settled: true, Events: u.events,
	}
	if u.s != nil && u.s.Finished != nil && u.s.Finished.Equal(&u.now) {
		d.Again = look
	}
	d.Moves = u.labels()
	return d
}

// labels are the moves that only make labels follow, of pods that are not changed otherwise.
func (u *run) labels() []Move {
	changed := map[types.UID]bool{}
	if !u.over() {
		for _, m := range u.moves {
			changed[m.UID] = true
		}
	}
	var out []Move
	for _, p := range u.Pods {
		m := labelled(p, u.by[p.key()])
		if m != nil && p.takesPart() && !changed[p.UID] && u.Image(m.Version) != "" { // else no release is called so
			out = append(out, *m)
		}
	}
	return out
}

func (u *run) decision() Decision {
	s := u.s
	if !u.Complete {
		// A slot that seems to be idle, or a pod that seems to be without a proxy, may be connected to the
		// replica that did not answer.
		u.moves = slices.DeleteFunc(u.moves, func(m Move) bool {
			return len(m.Images) > 0 || m.Target != nil && len(u.by[m.Namespace+"/"+m.Name]) == 0
		})
	}
	u.moves = append(u.moves, u.labels()...)
	d := Decision{Status: s, Serve: s.From, Gateways: s.From, Pull: s.To, Moves: u.moves, Ask: u.ask, Events: u.events, Again: look, Settled: s.CatchUp}
	switch s.Phase {
	case v1alpha1.PhasePreflight:
		d.Deploy, d.Unpulled = []string{s.From}, u.unpulled()
	case v1alpha1.PhaseShadow:
		d.Deploy, d.Unpulled = []string{s.From, s.To}, u.unpulled()
	case v1alpha1.PhaseRollingBack:
		d.Deploy, d.Pull = []string{s.From, s.To}, s.From
		if s.CatchUp {
			d.Deploy = []string{s.From}
		}
		if ready, _ := u.Deployed(s.From); !ready && u.Serving == s.To {
			d.Serve = s.To
		}
	case v1alpha1.PhaseControlPlane, v1alpha1.PhaseDataPlane:
		d.Deploy, d.Serve = []string{s.From, s.To}, s.To
		if s.CatchUp {
			d.Deploy = []string{s.To}
		}
		d.Unpulled = u.unpulled()
		// Once they are of the new release nothing but a rollback sends them back.
		if u.gateways || s.CatchUp || u.Gateways == s.To {
			d.Gateways = s.To
		}
	case v1alpha1.PhaseCompleted, v1alpha1.PhaseRolledBack: // rest's
	}
	return d
}
