// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/clip"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/lifecycle/missing"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/lifecycle/rotation"
	"tulle.dev/tulle/internal/lifecycle/scale"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

// Plan is what to do now, in this order, and what to say.
type Plan struct {
	// Steps are done one after the other. An error ends the reconciliation, unless it is of a pod that is changed or evicted:
	// no step may depend on those of an earlier step.
	Steps []Step
	// Status is the whole status of the Mesh, but for the times of its conditions.
	Status v1alpha1.MeshStatus
	// Finalize asks for the finalizer to be there, Done for it to go once all steps are done.
	Finalize, Done bool
	// Again is when to look again even if nothing is seen to change; 0: not.
	Again time.Duration
	// Events are worth telling, once the steps are done.
	Events []upgrade.Event
}

// Step is a few objects to bring about.
type Step struct {
	// Name says what for, for logs and tests.
	Name string
	// Apply are applied, Create made if they are not there, Delete deleted.
	Apply, Create []render.Object
	Delete        []Ref
	// Moves change pods.
	Moves []upgrade.Move
	// Evict are pods to be made anew by what made them.
	Evict []missing.Pod
}

// Next decides.
func Next(m *v1alpha1.Mesh, o Observed, known release.Catalog, now time.Time) Plan {
	if !m.DeletionTimestamp.IsZero() {
		return remove(m, o)
	}
	if o.OlderMesh != "" {
		return conflicted(m, o)
	}
	d := decide(m, o, known, now)
	p := Plan{Finalize: true, Status: d.status(), Steps: d.steps(), Events: slices.Concat(d.up.Events, d.rotationEvents(), d.trustEvents())}
	switch {
	case !o.CertManager || !o.GatewayAPI:
		// A kind is served some time after its definition was seen, and nothing tells when.
		p.Again = 2 * time.Second
	case !d.certs.Good || !d.controlPlane.Good || o.Proxies.Total > 0:
		p.Again = 15 * time.Second
	case o.Missing.Fresh && len(o.Missing.Pods) == 0:
		// Nothing tells of a pod without a proxy.
		p.Again = time.Minute
	default:
		p.Again = missing.Every
	}
	if a := d.rotation.Again; a > 0 && (p.Again == 0 || a < p.Again) {
		p.Again = a
	}
	if a := d.up.Again; a > 0 && (p.Again == 0 || a < p.Again) {
		p.Again = a
	}
	return p
}

// decision is everything that both the steps and the status follow from.
type decision struct {
	mesh *v1alpha1.Mesh
	seen Observed
	// wanted is the release of spec.version; unknown: there is none.
	wanted  release.Release
	unknown bool
	// serving is the release that serves, or that will; none: there is neither.
	serving release.Release
	none    bool
	// up is how a change of the version goes on; it keeps deployed what must run meanwhile.
	up       upgrade.Decision
	deployed []release.Release
	// scale is how many replicas each control plane is to have; nil: the spec says it.
	scale *scale.State
	// pull is the release whose images are to be on the nodes; nil: none.
	pull *release.Release

	valid        health.Verdict
	certs        health.CertificateHealth
	rotation     rotation.Result
	controlPlane health.DeploymentHealth

	roots      string
	rootStatus []v1alpha1.RootStatus
	now        time.Time
}

func decide(m *v1alpha1.Mesh, o Observed, known release.Catalog, now time.Time) decision {
	d := decision{mesh: m, seen: o, now: now}
	wanted, ok := known.Find(m.Spec.Version)
	d.wanted, d.unknown = wanted, !ok
	d.valid = validate(m, o, known)
	d.rotation = rotate(m, o, now)
	d.certs, d.roots, d.rootStatus = d.rotation.Health, d.rotation.Bundle, d.rotation.Status
	d.choose(known)
	d.scale = d.scaling()
	if !d.none {
		rev := d.serving.Revision()
		d.controlPlane = health.Deployment(o.Deployments[rev], o.Pods[rev], "the control plane")
	}
	return d
}

// steps in the order in which they are safe.
func (d decision) steps() []Step {
	var out []Step
	add := func(name string, objects ...render.Object) { out = append(out, Step{Name: name, Apply: objects}) }
	if d.seen.CertManager && (!d.certs.Hopeless || d.certs.Authority != nil) && (!d.unknown || !d.none) {
		add("certificates", render.Certificates(d.input(d.wanted))...)
	}
	if d.roots != "" {
		add("trust", d.trust())
	}
	if d.seen.GatewayAPI && (!d.unknown || !d.none) {
		out = append(out, d.gatewayAPI())
	}
	// Without roots and something to sign with there is nothing for a control plane to do yet.
	if d.roots == "" || d.none || d.certs.Authority == nil && d.seen.ServingRevision == "" {
		return out
	}
	for _, r := range d.deployed {
		add("control plane "+r.Version, render.ControlPlane(d.input(r))...)
	}
	add("service", render.Service(d.input(d.serving)), render.Replicas(d.input(d.serving)))
	out = append(out, d.webhook())
	if d.pull != nil {
		add("images", render.Images(d.input(*d.pull)))
	}
	if len(d.up.Moves) > 0 {
		out = append(out, Step{Name: "proxies", Moves: d.up.Moves})
	}
	if evict := d.evict(); len(evict) > 0 {
		out = append(out, Step{Name: "pods without a proxy", Evict: evict})
	}
	if prune := d.prune(); len(prune) > 0 {
		out = append(out, Step{Name: "prune", Delete: prune})
	}
	return out
}

// webhook leaves one configuration. With that of another release beside it a pod would be injected by both: the API server
// keeps its connection to a replica of the other one.
func (d decision) webhook() Step {
	w := render.Webhook(d.led())
	return Step{Name: "webhook", Apply: []render.Object{w}, Delete: slices.DeleteFunc(slices.Clone(d.seen.Owned), func(r Ref) bool {
		return r.Kind != w.GetKind() || r.Name == w.GetName()
	})}
}

// led is the input of the webhook's configuration: it changes when the Service begins to lead to another
// release, and once more when it certainly does.
func (d decision) led() render.Input {
	in := d.input(d.serving)
	in.Led = d.serving.Revision()
	if s := d.up.Status; s != nil && s.Phase == v1alpha1.PhaseControlPlane {
		in.Led += ", on its way"
	}
	return in
}

func (d decision) gatewayAPI() Step {
	s := Step{Name: "gateway api", Apply: []render.Object{render.GatewayClass(d.input(d.serving))}}
	if d.seen.XMeshKind && !d.seen.XMesh {
		s.Create = []render.Object{render.XMesh()}
	}
	return s
}

func (d decision) input(r release.Release) render.Input {
	in := render.Input{
		Mesh: d.mesh, Release: r, Namespace: d.seen.Namespace, Anchors: cmp.Or(d.rotation.Anchors.Intermediates, d.roots),
		Authorities: d.authorities(), References: d.seen.References,
	}
	if d.scale != nil {
		in.Replicas = d.scale.Replicas
	}
	return in
}

// prune lists what carries the Mesh's label and belongs to nothing any more, once no change of the
// version is under way. Certificates in particular stay until their successors are issued.
func (d decision) prune() []Ref {
	if d.unknown || !d.up.Settled || !d.controlPlane.Good || !d.certs.Good {
		return nil
	}
	in := d.input(d.serving)
	keep := slices.Concat(render.Certificates(in), render.ControlPlane(in), []render.Object{
		render.Service(in), render.Replicas(in), render.Webhook(in), render.GatewayClass(in),
		d.trust(),
	})
	if d.pull != nil {
		keep = append(keep, render.Images(d.input(*d.pull)))
	}
	return append(slices.DeleteFunc(slices.Clone(d.seen.Owned), func(r Ref) bool {
		// A Secret is cert-manager's to write; a ConfigMap elsewhere is the trust controller's.
		if r.Kind == "Secret" || r.Kind == "ConfigMap" && r.Namespace != d.seen.Namespace {
			return true
		}
		return slices.ContainsFunc(keep, func(o render.Object) bool { return r.same(refOf(o)) })
	}), d.spentSecrets()...)
}

func refOf(o render.Object) Ref {
	return Ref{
		GroupVersionKind: o.GroupVersionKind(),
		NamespacedName:   types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()},
	}
}

// conflicted leaves everything to the older Mesh.
func conflicted(m *v1alpha1.Mesh, o Observed) Plan {
	message := "Mesh " + o.OlderMesh + " is older and is the active one, and a cluster has one mesh; delete this Mesh, or the other one"
	c := conditions{generation: m.Generation}
	c.add(v1alpha1.ConditionConflicted, health.Verdict{Good: true, Reason: v1alpha1.ReasonOlderMesh, Message: message})
	c.add(v1alpha1.ConditionReady, health.Verdict{Reason: v1alpha1.ReasonOlderMesh, Message: message})
	return Plan{
		Status: v1alpha1.MeshStatus{ObservedGeneration: m.Generation, Conditions: c.list},
		// It has made nothing, or has handed over: there is nothing to guard.
		Done: slices.Contains(m.Finalizers, names.Finalizer),
	}
}

// conditions collects them in order.
type conditions struct {
	generation int64
	list       []metav1.Condition
}

// maxMessage bounds the message of a condition, in bytes. The API server takes 32,768.
const maxMessage = 16 << 10

func (c *conditions) add(kind string, v health.Verdict) {
	status := metav1.ConditionFalse
	if v.Good {
		status = metav1.ConditionTrue
	}
	c.list = append(c.list, metav1.Condition{
		Type: kind, Status: status, Reason: v.Reason, Message: clip.Text(v.Message, maxMessage), ObservedGeneration: c.generation,
	})
}
