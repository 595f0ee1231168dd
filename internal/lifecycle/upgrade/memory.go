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
// counts as one that has a proxy only while one is connected, which takes the pod's own certificate.
type Remembered struct {
	// Sights is what was seen of the proxies of each pod, by the pod's UID.
	Sights map[types.UID]Sight
	// GatewaysSince is since when, in the present phase, the Gateways' proxies are deployed from the release that they are
	// to have; zero: they are not.
	GatewaysSince time.Time
}

// Sight is when a proxy of a pod was last seen to be connected, and to be ready; zero: never.
type Sight struct{ Connected, Ready time.Time }

// Memory is what Remembered is made of. The zero value remembers nothing. It is not safe for concurrent use.
type Memory struct {
	phase metav1.Time
	last  Remembered
}

// Look takes in what is seen now, and forgets pods that do not exist any more. gateways is the version that the
// Gateways' proxies are deployed from.
func (m *Memory) Look(s *v1alpha1.UpgradeStatus, gateways string, pods []Pod, proxies []Proxy, now time.Time) Remembered {
	next := Remembered{Sights: make(map[types.UID]Sight, len(pods))}
	by := byPod(proxies)
	for _, p := range pods {
		seen, known := m.last.Sights[p.UID]
		if r := by[p.key()]; len(r) > 0 {
			seen.Connected, known = now, true
			if r.ready("", p.target()) != "" {
				seen.Ready = now
			}
		}
		if known {
			next.Sights[p.UID] = seen
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

// sight is when a proxy of the pod was last seen; known: one was.
func (u *run) sight(p Pod) (seen Sight, known bool) {
	seen, known = u.Sights[p.UID]
	if r := u.by[p.key()]; len(r) > 0 {
		seen.Connected, known = u.Now, true
		if r.ready("", p.target()) != "" {
			seen.Ready = u.Now
		}
	}
	return seen, known
}

func (u *run) known(p Pod) bool {
	_, known := u.sight(p)
	return known
}

// Unseen tells whether a pod, of which no proxy is connected now, is not waited for any longer in a phase that began at
// since: its proxy can't reach a control plane, or it has none and only looks so. It is replaced when it is connected.
func (r Remembered) Unseen(p Pod, since time.Time, c Clock) bool {
	return c.from(since).watched(r.Sights[p.UID].Connected) > ownersPatience
}

// Late tells whether a phase that began at since has waited long enough for what only an owner can mend.
func Late(since time.Time, c Clock) bool { return c.watched(since) > ownersPatience }

// ownersPatience is how long, in each phase, anything is waited for that its owner may hold up without end: a pod of
// which no proxy is connected, or ready (whenever it was created), a Gateway's rollout, a node that does not get an image, and, in a
// rollback, a proxy that does not go back. Then the change of the version continues without it, and names it.
const ownersPatience = 10 * time.Minute
