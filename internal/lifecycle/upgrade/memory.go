// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
)

// Remembered is what rounds before the present one have seen. Without it, as after a restart of the operator, a pod
// counts as one that has a proxy only while the proxy serves.
type Remembered struct {
	// Served is when a proxy of each pod was last seen to be ready, by the pod's UID.
	Served map[types.UID]time.Time
	// GatewaysSince is since when, in the present phase, the Gateways' proxies are deployed from the release that they are
	// to have; zero: they are not.
	GatewaysSince time.Time
}

// Memory is what Remembered is made of. The zero value remembers nothing. It is not safe for concurrent use.
type Memory struct {
	phase metav1.Time
	last  Remembered
}

// Look takes in what is seen now, and forgets pods that do not exist any more. gateways is the version that the
// Gateways' proxies are deployed from.
func (m *Memory) Look(s *v1alpha1.UpgradeStatus, gateways string, pods []Pod, proxies []Proxy, now time.Time) Remembered {
	next := Remembered{Served: make(map[types.UID]time.Time, len(pods))}
	by := byPod(proxies)
	for _, p := range pods {
		if by[p.key()].ready("", p.target()) != "" {
			next.Served[p.UID] = now
		} else if at, known := m.last.Served[p.UID]; known {
			next.Served[p.UID] = at
		}
	}
	if s != nil && gateways != "" && gateways == towards(s) {
		if next.GatewaysSince = m.last.GatewaysSince; next.GatewaysSince.IsZero() || !m.phase.Equal(&s.Since) {
			next.GatewaysSince = now
		}
		m.phase = s.Since
	}
	m.last = next
	return next
}

// towards is the version that the present phase gives to proxies; empty: it gives none.
func towards(s *v1alpha1.UpgradeStatus) string {
	switch s.Phase {
	case v1alpha1.PhaseDataPlane:
		return s.To
	case v1alpha1.PhaseRollingBack:
		return s.From
	case v1alpha1.PhasePreflight, v1alpha1.PhaseShadow, v1alpha1.PhaseControlPlane, v1alpha1.PhaseCompleted, v1alpha1.PhaseRolledBack:
	}
	return ""
}

// known tells whether a proxy of the pod has been seen to be ready, and when that was last.
func (u *run) known(p Pod) (time.Time, bool) {
	if u.by[p.key()].ready("", p.target()) != "" {
		return u.Now, true
	}
	at, known := u.Served[p.UID]
	return at, known
}

// unseen tells whether no proxy of a pod has been ready for too long in this phase: it can't reach a control plane, or
// the pod has none and only looks so. The pod is replaced when its proxy is ready.
func (u *run) unseen(p Pod) bool {
	at, _ := u.known(p)
	return u.clock().watched(at) > ownersPatience
}

// Unseen is the same for the preflight: it tells whether a pod, of which no proxy is ready now, is not waited for any
// longer in a phase that began at since.
func (r Remembered) Unseen(p Pod, since time.Time, c Clock) bool {
	return c.from(since).watched(r.Served[p.UID]) > ownersPatience
}

// Late tells whether a phase that began at since has waited long enough for what only an owner can mend.
func Late(since time.Time, c Clock) bool { return c.watched(since) > ownersPatience }

// ownersPatience is how long, in each phase, anything is waited for that its owner may hold up without end: a pod of
// which no proxy is ready (whenever it was created), a Gateway's rollout, a node that does not get an image, and, in a
// rollback, a proxy that does not go back. Then the change of the version continues without it, and names it.
const ownersPatience = 10 * time.Minute
