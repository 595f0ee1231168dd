// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

// TestPreflightWithoutProxies: a pod that looks as if it had a proxy, of which none is connected, holds up a preflight
// for some minutes, not for ever.
func TestPreflightWithoutProxies(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	pod := upgrade.Pod{Namespace: "tenant", Name: "x", Kind: names.KindSidecar, Ready: true, Created: now.Add(-time.Hour)}
	connected := []upgrade.Proxy{{Namespace: "tenant", Pod: "x", Slot: "a"}}
	for name, c := range map[string]struct {
		phase    v1alpha1.UpgradePhase
		since    time.Duration
		watching time.Duration
		proxies  []upgrade.Proxy
		silent   bool
		served   time.Duration
		created  time.Duration
		left     bool
	}{
		"long enough":            {phase: v1alpha1.PhasePreflight, since: 11 * time.Minute, watching: time.Hour, left: true},
		"a moment":               {phase: v1alpha1.PhasePreflight, since: time.Minute, watching: time.Hour},
		"not watched so long":    {phase: v1alpha1.PhasePreflight, since: 11 * time.Minute, watching: time.Minute},
		"connected":              {phase: v1alpha1.PhasePreflight, since: 11 * time.Minute, watching: time.Hour, proxies: connected},
		"a replica is silent":    {phase: v1alpha1.PhasePreflight, since: 11 * time.Minute, watching: time.Hour, silent: true},
		"created a moment ago":   {phase: v1alpha1.PhasePreflight, since: 11 * time.Minute, watching: time.Hour, created: time.Minute, left: true},
		"connected a moment ago": {phase: v1alpha1.PhasePreflight, since: 11 * time.Minute, watching: time.Hour, served: time.Minute},
		"of an upgrade before":   {phase: v1alpha1.PhaseCompleted, since: 11 * time.Minute, watching: time.Hour},
		"no upgrade under way":   {watching: time.Hour},
		"and after the shadow's": {phase: v1alpha1.PhaseShadow, since: 11 * time.Minute, watching: time.Hour},
	} {
		d := decision{mesh: &v1alpha1.Mesh{}, now: now}
		if c.phase != "" {
			d.mesh.Status.Upgrade = &v1alpha1.UpgradeStatus{Phase: c.phase, Since: metav1.NewTime(now.Add(-c.since))}
		}
		p := pod
		if c.created > 0 {
			p.Created = now.Add(-c.created)
		}
		d.seen.Clock.Watching = now.Add(-c.watching)
		d.seen.Rollout = Rollout{Pods: []upgrade.Pod{p}, Proxies: c.proxies, Complete: !c.silent}
		if c.served > 0 {
			d.seen.Rollout.Sights = map[types.UID]upgrade.Sight{p.UID: {Connected: now.Add(-c.served)}}
		}
		if got := len(d.withProxies()) == 0; got != c.left {
			t.Errorf("%s: left out %v", name, got)
		}
	}
}

// TestPreflightNodes: a preflight waits for images on the nodes of pods of which a proxy is connected, for some minutes if
// another node has them.
func TestPreflightNodes(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	pod := upgrade.Pod{Namespace: "tenant", Name: "x", Kind: names.KindSidecar, Ready: true, Node: "full"}
	connected := []upgrade.Proxy{{Namespace: "tenant", Pod: "x", Slot: "a"}}
	for name, c := range map[string]struct {
		since   time.Duration
		proxies []upgrade.Proxy
		silent  bool
		none    bool   // no node has the images
		problem string // of node full
		want    string
	}{
		"getting":                 {since: time.Minute, proxies: connected, want: "node full is getting image"},
		"a problem":               {since: time.Minute, proxies: connected, problem: "ErrImagePull", want: "node full can't get image"},
		"late":                    {since: 11 * time.Minute, proxies: connected},
		"late, with a problem":    {since: 11 * time.Minute, proxies: connected, problem: "no space left"},
		"late, and no node":       {since: 11 * time.Minute, proxies: connected, problem: "ErrImagePull", none: true, want: "node full can't get image"},
		"no proxy there":          {since: time.Minute},
		"not known what is there": {since: time.Minute, silent: true, want: "node full is getting image"},
	} {
		d := decision{mesh: &v1alpha1.Mesh{}, now: now}
		d.mesh.Status.Upgrade = &v1alpha1.UpgradeStatus{Phase: v1alpha1.PhasePreflight, Since: metav1.NewTime(now.Add(-c.since))}
		d.seen.Rollout = Rollout{
			Pods: []upgrade.Pod{pod}, Proxies: c.proxies, Complete: !c.silent,
			Nodes: []Node{{Name: "full", Problem: c.problem}, {Name: "good", Pulled: !c.none}},
		}
		got := d.nodeObstacles()
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
