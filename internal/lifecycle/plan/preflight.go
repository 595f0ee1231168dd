// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"fmt"
	"slices"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/preflight"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
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

// withProxies are the pods without those of which no proxy has been ready for too long in the preflight: it does not
// wait for what only looks as if it had a proxy.
func (d decision) withProxies() []upgrade.Pod {
	s, r := d.mesh.Status.Upgrade, d.seen.Rollout
	if s == nil || s.Phase != v1alpha1.PhasePreflight || !r.Complete {
		return r.Pods
	}
	connected := r.connected()
	return slices.DeleteFunc(slices.Clone(r.Pods), func(p upgrade.Pod) bool {
		return !connected[p.Namespace+"/"+p.Name] && r.Unseen(p, s.Since.Time, d.clock())
	})
}

func (d decision) clock() upgrade.Clock {
	c := d.seen.Clock
	c.Now = d.now
	return c
}

// connected are the pods of which a proxy is connected, as "NAMESPACE/NAME".
func (r Rollout) connected() map[string]bool {
	out := map[string]bool{}
	for _, p := range r.Proxies {
		out[p.Namespace+"/"+p.Pod] = true
	}
	return out
}

// without are the nodes that do not have the images of the release that is to come, and run a pod of which a proxy is
// connected. On others nothing is to be replaced.
func (r Rollout) without() []Node {
	connected, on := r.connected(), map[string]bool{}
	for _, p := range r.Pods {
		if connected[p.Namespace+"/"+p.Name] || !r.Complete {
			on[p.Node] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(r.Nodes), func(n Node) bool { return n.Pulled || !on[n.Name] })
}

// nodeObstacles are the nodes that are waited for. After some minutes a preflight continues without them, if another
// node has the images: pods there keep their proxies until their node has them, too.
func (d decision) nodeObstacles() []string {
	without := d.seen.Rollout.without()
	s := d.mesh.Status.Upgrade
	if s != nil && s.Phase == v1alpha1.PhasePreflight && upgrade.Late(s.Since.Time, d.clock()) &&
		slices.ContainsFunc(d.seen.Rollout.Nodes, func(n Node) bool { return n.Pulled }) {
		return nil
	}
	var out []string
	for _, n := range without {
		if n.Problem != "" {
			out = append(out, fmt.Sprintf("node %s can't get image %s: %s", n.Name, d.wanted.ProxyImage, n.Problem))
			continue
		}
		out = append(out, fmt.Sprintf("node %s is getting image %s; if that takes long: kubectl -n %s describe daemonset %s",
			n.Name, d.wanted.ProxyImage, d.seen.Namespace, names.ImagesDaemonSet(d.wanted.Revision())))
	}
	return out
}
