// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package policy

import (
	"fmt"
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
)

// Attach returns whether the policy is attached to its targets: each exists, and no other policy of the kind with
// the same target takes precedence.
func Attach(l Lookup, p *Policy) gatewayapi.Finding {
	for _, t := range p.targets {
		if what := missing(l, t); what != "" {
			return gatewayapi.Finding{Reason: string(gwapiv1.PolicyReasonTargetNotFound), Message: t.field + what}
		}
		if other := l.First(p.id.Kind, t.Target); other != nil && older(other, p) < 0 {
			return gatewayapi.Finding{Reason: string(gwapiv1.PolicyReasonConflicted), Message: fmt.Sprintf(
				"%s: %s %s has the same target and is older, or of the same age and before this one in the alphabet", t.field, p.id.Kind, other.id.Name)}
		}
	}
	return gatewayapi.Finding{OK: true}
}

// effective is the policy of a kind that is in effect on a section of an object: one for the section alone comes
// before one for the whole object (GEP-713, the most specific section wins), an older before a younger. It is nil if
// there is none.
func effective(l Lookup, kind string, object model.Object, section string) *Policy {
	if section != "" {
		if p := l.First(kind, Target{object, section}); p != nil {
			return p
		}
	}
	return l.First(kind, Target{object, ""})
}

// ReadFirst returns the policy of a kind that takes precedence for each section of an object that policies of the kind
// name, and under "" the one for the whole object. It looks at all of them, once for all who ask for one.
func ReadFirst(l Lookup, on gatewayapi.OfKind[model.Object]) map[string]*Policy {
	out := map[string]*Policy{}
	for _, p := range l.Policies(on) {
		for _, t := range p.targets {
			if t.Object != on.To {
				continue
			}
			if first := out[t.Section]; first == nil || older(p, first) < 0 {
				out[t.Section] = p
			}
		}
	}
	return out
}

// targetKind is a kind of objects that policies can have as a target.
type targetKind struct {
	group gwapiv1.Group
	kind  gwapiv1.Kind
	// missing says what is missing of a target; "": it exists, with the section that is named. A message about the
	// section begins with ".sectionName".
	missing func(l Lookup, key model.Key, section string) string
}

func targetKinds() []targetKind {
	return []targetKind{
		{"", gatewayapi.KindService, missingService},
	}
}

func targetable(group gwapiv1.Group, kind gwapiv1.Kind) bool {
	if gatewayapi.IsCore(group) {
		group = ""
	}
	return slices.ContainsFunc(targetKinds(), func(k targetKind) bool { return k.group == group && k.kind == kind })
}

func missing(l Lookup, t target) string {
	for _, k := range targetKinds() {
		if string(k.kind) == t.Object.Kind {
			return k.missing(l, model.Key{Namespace: t.Object.Namespace, Name: t.Object.Name}, t.Section)
		}
	}
	return ""
}

// missingService: a section is a TCP port of that name.
func missingService(l Lookup, key model.Key, section string) string {
	svc, ok := l.Service(key)
	if !ok {
		return fmt.Sprintf(": Service %s does not exist", key)
	}
	selected := func(p model.ServicePort) bool { return p.Protocol != model.UDP && (section == "" || p.Name == section) }
	if !slices.ContainsFunc(svc.Ports, selected) {
		return fmt.Sprintf(".sectionName: Service %s has no TCP port of the name %q; it has %s", key, section, gatewayapi.PortList(svc))
	}
	return ""
}
