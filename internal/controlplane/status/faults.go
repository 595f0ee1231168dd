// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/protocol"
)

// Faults are what is wrong with the users' objects, by the verdicts alone: what the proxies say of
// them is not part of it. Sorted.
func (w *Writer) Faults() []protocol.RejectedObject {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := []protocol.RejectedObject{}
	for id, v := range w.routes {
		out = append(out, routeFaults(id, v)...)
	}
	for k, v := range w.gateways {
		out = append(out, gatewayFaults(k, v)...)
	}
	for id, v := range w.policies {
		out = append(out, policyFaults(id, v)...)
	}
	slices.SortFunc(out, func(a, b protocol.RejectedObject) int {
		return cmp.Or(
			strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name),
			strings.Compare(a.Where, b.Where), strings.Compare(a.Condition, b.Condition),
		)
	})
	return out
}

func routeFaults(id model.Object, v RouteVerdict) []protocol.RejectedObject {
	var out []protocol.RejectedObject
	for _, p := range v.Parents {
		out = append(out, faults(protocol.RejectedObject{Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, Where: parentText(p.ParentRef)}, p.Conditions)...)
	}
	return out
}

func gatewayFaults(k model.Key, v GatewayVerdict) []protocol.RejectedObject {
	of := protocol.RejectedObject{Kind: gatewayapi.KindGateway, Namespace: k.Namespace, Name: k.Name}
	out := faults(of, v.Conditions)
	for _, l := range v.Listeners {
		of.Where = "listener " + string(l.Name)
		out = append(out, faults(of, l.Conditions)...)
	}
	return out
}

// faults are the conditions that say something bad. Gateway API's are good when true, but for a few.
// OverlappingTLSConfig and InsecureFrontendValidationMode, when true, warn of what is carried out as it was asked for.
func faults(of protocol.RejectedObject, cs []metav1.Condition) []protocol.RejectedObject {
	var out []protocol.RejectedObject
	for _, c := range cs {
		bad := metav1.ConditionFalse
		switch c.Type {
		case string(gwapiv1.ListenerConditionConflicted), string(gwapiv1.RouteConditionPartiallyInvalid):
			bad = metav1.ConditionTrue
		}
		if c.Status == bad {
			of.Condition, of.Reason, of.Message = c.Type, c.Reason, c.Message
			out = append(out, of)
		}
	}
	return out
}

// parentText names a parent as people do: "Gateway infra/public, https, port 443".
func parentText(p gwapiv1.ParentReference) string {
	kind, name := gatewayapi.KindGateway, string(p.Name)
	if p.Kind != nil {
		kind = string(*p.Kind)
	}
	if p.Namespace != nil {
		name = string(*p.Namespace) + "/" + name
	}
	text := kind + " " + name
	if p.SectionName != nil {
		text += ", " + string(*p.SectionName)
	}
	if p.Port != nil {
		text += fmt.Sprintf(", port %d", *p.Port)
	}
	return text
}
