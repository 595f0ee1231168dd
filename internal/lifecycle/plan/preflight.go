// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"slices"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/preflight"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
)

// Preflight tells whether a change of the version is about to begin or in its preflight, and from which
// release to which: then it matters what it stands on.
func Preflight(m *v1alpha1.Mesh, o Observed, known release.Catalog) (from, to release.Release, is bool) {
	from, serves := known.FindRevision(o.ServingRevision)
	to, wanted := known.Find(m.Spec.Version)
	return from, to, serves && wanted && from.Version != to.Version && begins(m.Status.Upgrade, to.Version)
}

// begins tells whether an upgrade to a version may begin now, or is in its preflight.
func begins(u *v1alpha1.UpgradeStatus, to string) bool {
	switch {
	case u == nil:
		return true
	case u.Phase == v1alpha1.PhaseRolledBack:
		return u.To != to || u.Requested != to // it is not tried again
	case u.Finished != nil:
		return true
	case u.To == to:
		return u.Phase == v1alpha1.PhasePreflight
	}
	return u.From != to || u.CatchUp // back to where it came from is no beginning
}

// Rights are those that the operator needs to change the version, forward and back.
func Rights(m *v1alpha1.Mesh, namespace string, from, to release.Release, pods []upgrade.Pod) []preflight.Right {
	var applied, deleted []render.Object
	for _, r := range []release.Release{from, to} {
		in := render.Input{Mesh: m, Release: r, Namespace: namespace, References: true}
		mine := append(render.ControlPlane(in), render.Webhook(in), render.Images(in))
		applied = slices.Concat(applied, mine, []render.Object{render.Service(in), render.Replicas(in), render.GatewayClass(in)})
		deleted = append(deleted, mine...)
	}
	return preflight.Rights(applied, deleted, pods)
}

// groundObstacles are what the preflight finds in what the change of the version stands on.
func (d decision) groundObstacles() []string {
	var added []render.Object
	if d.seen.Deployments[d.wanted.Revision()] == nil {
		added = render.ControlPlane(d.input(d.wanted))
	}
	return preflight.Obstacles(d.seen.Rollout.Ground, d.wanted, d.withProxies(), added)
}

// withProxies are the pods without those that have been without any connected proxy since the preflight began: a
// preflight does not wait for what only looks as if it had a proxy.
func (d decision) withProxies() []upgrade.Pod {
	s, r := d.mesh.Status.Upgrade, d.seen.Rollout
	if s == nil || s.Phase != v1alpha1.PhasePreflight || !r.Complete {
		return r.Pods
	}
	connected := map[string]bool{}
	for _, p := range r.Proxies {
		connected[p.Namespace+"/"+p.Pod] = true
	}
	clock := upgrade.Clock{Now: d.now, Watching: d.seen.Watching}
	return slices.DeleteFunc(slices.Clone(r.Pods), func(p upgrade.Pod) bool {
		return !connected[p.Namespace+"/"+p.Name] && p.Unseen(s.Since.Time, clock)
	})
}
