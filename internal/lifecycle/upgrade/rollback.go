// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"slices"
	"strings"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// goBack replaces the proxies by those of the release before, all at once but for the limit.
func (u *run) goBack() {
	u.s.Message = Reason(u.s.Message)
	goal := u.goal(u.s.From)
	waves, _ := Waves(u.Spec.Waves, u.Pods)
	pods := slices.Concat(waves...)
	t := u.count(pods, goal)
	u.s.Proxies, u.s.Replaced = int32(t.total), int32(t.total-t.done) //nolint:gosec // pods
	u.take(t)
	tidying := u.tidyUp(pods, goal)
	behind, late := u.gatewaysWait(u.s.From)
	waiting := slices.Concat(t.failed, t.waiting, behind)
	switch {
	case u.Serving != u.s.From:
		waiting = append([]string{"the control plane of " + u.s.From + " to serve"}, waiting...)
	case t.open == 0 && len(behind) == 0 && tidying && !u.Complete:
		waiting = append(waiting, silence)
	case t.open == 0 && len(behind) == 0 && tidying:
		waiting = append(waiting, "the last connections of the replaced proxies to end")
	case t.open == 0 && len(behind) == 0:
		if rest := joined(notWaited(late), u.leftOut(goal)); !strings.Contains(u.s.Message, rest) && len(u.s.Message) < longestText {
			u.s.Message = joined(u.s.Message, rest) // what was left the first time stays in the message
		}
		u.finish(v1alpha1.PhaseRolledBack, "RolledBack", u.s.Message)
		return
	}
	if len(waiting) > 0 {
		u.s.Message += rollbackWaits + some(waiting)
	}
}

// rollbackWaits parts the reason for a rollback from what it waits for.
const rollbackWaits = "; the rollback waits for "

// Reason is the message of a rollback without what it waits for, which changes often.
func Reason(message string) string {
	out, _, _ := strings.Cut(message, rollbackWaits)
	return out
}

// notWaited says which Gateways are not waited for any longer.
func notWaited(late []string) string {
	if len(late) == 0 {
		return ""
	}
	return "not waiting any longer for " + some(late)
}

// joined joins the messages that are not empty.
func joined(messages ...string) string {
	return strings.Join(slices.DeleteFunc(messages, func(m string) bool { return m == "" }), "; ")
}

// leftOut says who goes on with another version; empty: nobody.
func (u *run) leftOut(goal Goal) string {
	var out []string
	for _, p := range u.Pods {
		if p.Deleting || p.Kind != names.KindSidecar || p.version() == goal.Version {
			continue
		}
		why, st := "it is not Ready", u.standing(p, goal, u.clock())
		switch {
		case p.takesPart() && p.Ready && len(u.by[p.key()]) == 0:
			why = "no proxy of it is connected"
		case p.takesPart() && p.Ready && p.Obstacle == "" && st.why != "":
			why = st.why
		case p.Order == names.UpgradeNever:
			why = "label " + names.LabelUpgrade + "=" + names.UpgradeNever
		case p.Obstacle != "":
			why = p.Obstacle
		}
		out = append(out, p.key()+" goes on with "+p.version()+" ("+why+")")
	}
	slices.Sort(out)
	return some(out)
}
