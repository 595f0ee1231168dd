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
		if string(k.kind) == t.object.Kind {
			return k.missing(l, model.Key{Namespace: t.object.Namespace, Name: t.object.Name}, t.section)
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
