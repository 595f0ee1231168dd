// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
)

// Lookup is all that this package may read of the cluster.
type Lookup interface {
	gatewayapi.Lookup
	// Policies returns the policies of a kind that target an object: those for which Targets contains it.
	Policies(gatewayapi.OfKind[model.Object]) []*Policy
	// First returns ReadFirst of the target's object for its section; nil if there is none.
	First(kind string, t Target) *Policy
	// SendingGateways returns gatewayapi.SendingGateways of the Service.
	SendingGateways(service model.Key) []model.Key
}

// Target is an object that policies can have as a target, or a section of it. If Section is empty, it is all of the
// object.
type Target struct {
	Object  model.Object
	Section string
}

// Policy is a policy of any kind, read from its object alone. It holds nothing of the object but this, and is never
// changed. Kind.Parse makes it.
type Policy struct {
	id         model.Object
	uid        types.UID
	generation int64
	created    time.Time
	targets    []target
	spec       spec
}

// spec is what is particular to a kind of policies.
type spec interface {
	// judge returns whether the policy can be carried out, and what is wrong with its references. It does not look
	// at targets and other policies: Attach does.
	judge(l Lookup) (accepted gatewayapi.Finding, refs []gatewayapi.Problem)
	// ancestors are the objects of ours on which the status is reported, in order. Each is named once.
	ancestors(l Lookup, p *Policy) []model.Object
	// references are the Secrets and ConfigMaps that the policy refers to.
	references() gatewayapi.References
}

// target is a targetRef to an object of a kind that policies can have as a target.
type target struct {
	Target
	field string // "spec.targetRefs[0]"
}

func newPolicy(meta *metav1.ObjectMeta, s spec) *Policy {
	return &Policy{
		id:  model.Object{Namespace: meta.Namespace, Name: meta.Name},
		uid: meta.UID, generation: meta.Generation, created: meta.CreationTimestamp.Time, spec: s,
	}
}

// target adds a targetRef. One of another kind is ignored: it is another controller's, or not supported by any.
func (p *Policy) target(i int, ref gwapiv1.LocalPolicyTargetReferenceWithSectionName) {
	if !targetable(ref.Group, ref.Kind) {
		return
	}
	t := target{field: fmt.Sprintf("spec.targetRefs[%d]", i)}
	t.Object = model.Object{Kind: string(ref.Kind), Namespace: p.id.Namespace, Name: string(ref.Name)}
	if ref.SectionName != nil {
		t.Section = string(*ref.SectionName)
	}
	p.targets = append(p.targets, t)
}

// ID names the policy.
func (p *Policy) ID() model.Object { return p.id }

// Generation is that of the object.
func (p *Policy) Generation() int64 { return p.generation }

// Same reports whether both were read from the same spec of the same object.
func (p *Policy) Same(o *Policy) bool { return p.uid == o.uid && p.generation == o.generation }

// Targets are the objects that the policy targets, each once, whether they exist or not; Lookup.Policies is made
// from it.
func (p *Policy) Targets() []gatewayapi.OfKind[model.Object] {
	var out []gatewayapi.OfKind[model.Object]
	for _, t := range p.targets {
		if k := (gatewayapi.OfKind[model.Object]{Kind: p.id.Kind, To: t.Object}); !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// References are the Secrets and ConfigMaps that the policy refers to and that it may refer to.
func (p *Policy) References() gatewayapi.References { return p.spec.references() }

// older orders policies of a kind by precedence: by age, then by "namespace/name" (GEP-713).
func older(a, b *Policy) int {
	return cmp.Or(a.created.Compare(b.created), strings.Compare(a.id.Namespace+"/"+a.id.Name, b.id.Namespace+"/"+b.id.Name))
}
