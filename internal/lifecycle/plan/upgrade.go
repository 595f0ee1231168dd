// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"fmt"
	"slices"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/gate"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/lifecycle/preflight"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
)

// Rollout is what is seen of the pods that carry a proxy. It is looked at only while their versions
// differ or are about to; the zero value: nothing to look at.
type Rollout struct {
	Pods    []upgrade.Pod
	Proxies []upgrade.Proxy
	// Gateways are the Deployments of the Gateways that Tulle serves.
	Gateways []upgrade.GatewayDeployment
	// Complete: every replica of the control plane has answered.
	Complete bool
	// Remembered is what was seen of the pods before.
	upgrade.Remembered
	// Nodes are those that such pods run on.
	Nodes []Node
	// Difference and External were asked for by the plan before; nil: not, or no answer yet.
	Difference *upgrade.Difference
	External   *v1alpha1.GateResult
	// ExternalProblem says why the external gate has no answer.
	ExternalProblem string
	// Ground is looked at in the preflight only.
	Ground preflight.Ground
}

// Node is a node that runs pods with a proxy.
type Node struct {
	Name string
	// Pulled tells whether it has the images of the release that is to come; Problem says why not, in
	// the kubelet's words.
	Pulled  bool
	Problem string
	// Image is what it has or gets: that of the release, or of a mirror if admission of the cluster replaces it.
	Image string
}

// pulled are the images that nodes have or get.
func (r Rollout) pulled() []string {
	var out []string
	for _, n := range r.Nodes {
		if n.Image != "" && !slices.Contains(out, n.Image) {
			out = append(out, n.Image)
		}
	}
	return out
}

// nodesWithout are the names of the nodes that do not have the images of the release that is to come.
func (r Rollout) nodesWithout() []string {
	var out []string
	for _, n := range r.Nodes {
		if !n.Pulled {
			out = append(out, n.Name)
		}
	}
	return out
}

// choose asks how a change of the version goes on, and takes over what it says about control planes.
func (d *decision) choose(known release.Catalog) {
	current, ok := known.FindRevision(d.seen.ServingRevision)
	if d.unknown {
		d.serving, d.none = current, !ok
		d.up = upgrade.Decision{Status: d.mesh.Status.Upgrade, Gateways: d.mesh.Status.GatewayVersion}
		if ok {
			d.deployed = []release.Release{current}
		}
		return
	}
	in := upgrade.Input{
		Spec: d.mesh.Spec.Upgrade, Wanted: d.wanted.Version, Status: d.mesh.Status.Upgrade, Serving: current.Version,
		Gateways:           d.mesh.Status.GatewayVersion,
		GatewayDeployments: d.seen.Rollout.Gateways,
		Pods:               d.seen.Rollout.Pods, Proxies: d.seen.Rollout.Proxies, Complete: d.seen.Rollout.Complete,
		Difference: d.seen.Rollout.Difference, External: d.seen.Rollout.External, ExternalProblem: d.seen.Rollout.ExternalProblem,
		Obstacles: d.obstacles(), Judge: gate.Judge, Clock: d.clock(),
		NodesWithout: d.seen.Rollout.nodesWithout(), Remembered: d.seen.Rollout.Remembered,
		Image: func(version string) string {
			r, _ := known.Find(version)
			return r.ProxyImage
		},
		Allowed: release.Allowed, Named: known.HasProxyRepository, Pulled: d.seen.Rollout.pulled(),
		Deployed: func(version string) (bool, string) {
			r, ok := known.Find(version)
			if !ok {
				return false, "release " + version + " is not known to this operator any more"
			}
			rev := r.Revision()
			h := health.Deployment(d.seen.Deployments[rev], d.seen.Pods[rev], "the control plane")
			return h.Reason == v1alpha1.ReasonServing, h.Message
		},
	}
	d.up = upgrade.Next(in)
	for _, version := range d.up.Deploy {
		if r, ok := known.Find(version); ok {
			d.deployed = append(d.deployed, r)
		}
	}
	if r, ok := known.Find(d.up.Pull); ok {
		d.pull = &r
	}
	if d.serving, ok = known.Find(d.up.Serve); !ok {
		d.serving = d.wanted
	}
}

// OldDefinition says what to do when the API server drops what the operator has to remember.
const OldDefinition = "CustomResourceDefinition meshes.tulle.dev is older than the operator, and the API server drops a part of the status: " +
	"apply the definition of the operator's release (config/crd, the Helm chart or the bundle)"

// enoughLife an intermediate must have before an upgrade begins; cert-manager renews it a month before
// its end.
const enoughLife = 24 * time.Hour

// obstacles are what must be mended before the version can change.
func (d decision) obstacles() []string {
	var out []string
	if !d.valid.Good {
		out = append(out, d.valid.Message)
	}
	if !d.certs.Good {
		out = append(out, "certificates: "+d.certs.Message)
	}
	if a := d.certs.Authority; a != nil && a.NotAfter.Sub(d.now) < enoughLife {
		out = append(out, fmt.Sprintf("the intermediate certificate ends at %s and was not renewed; see whether cert-manager works", a.NotAfter.UTC().Format(time.RFC3339)))
	}
	if problem := upgrade.CheckWindows(d.mesh.Spec.Upgrade.Windows); problem != "" {
		out = append(out, problem)
	}
	if d.seen.OldDefinition {
		out = append(out, OldDefinition)
	}
	out = append(out, d.groundObstacles()...)
	out = append(out, d.nodeObstacles()...)
	return out
}

// judgeUpgraded says whether every proxy runs the version asked for.
func (d decision) judgeUpgraded() health.Verdict {
	s := d.up.Status
	switch {
	case d.unknown:
		return blocked("a known version must be asked for first, see the condition Valid")
	case s == nil:
		return health.Verdict{Good: true, Reason: v1alpha1.ReasonUpToDate, Message: "no change of the version is under way"}
	case s.Phase == v1alpha1.PhaseCompleted:
		v := health.Verdict{Good: true, Reason: v1alpha1.ReasonUpToDate, Message: "the mesh runs " + s.To}
		if s.Message != "" {
			v.Message += "; " + s.Message
		}
		return v
	case s.Phase == v1alpha1.PhaseRolledBack && s.To != d.wanted.Version:
		return health.Verdict{Good: true, Reason: v1alpha1.ReasonUpToDate, Message: "the mesh runs " + s.From + " again"}
	case s.Phase == v1alpha1.PhaseRolledBack:
		return health.Verdict{Reason: v1alpha1.ReasonRolledBack, Message: fmt.Sprintf(
			"%s was rolled back to %s: %s; set spec.version to %s, or to a release that mends it", s.To, s.From, withoutRefusal(s.Message), s.From,
		)}
	case s.Phase == v1alpha1.PhaseRollingBack:
		return health.Verdict{Reason: v1alpha1.ReasonRollingBack, Message: fmt.Sprintf("going back from %s to %s: %s", s.To, s.From, upgrade.Reason(withoutRefusal(s.Message)))}
	case d.mesh.Spec.Upgrade.Paused:
		return health.Verdict{Reason: v1alpha1.ReasonPaused, Message: fmt.Sprintf("the upgrade from %s to %s is paused by spec.upgrade.paused", s.From, s.To)}
	}
	// What it waits for changes often, and is in status.upgrade.
	v := health.Verdict{Reason: v1alpha1.ReasonUpgrading, Message: fmt.Sprintf("from %s to %s, phase %s; see status.upgrade", s.From, s.To, s.Phase)}
	if d.up.Unpulled != "" {
		v.Message += "; " + d.up.Unpulled
	}
	return v
}
