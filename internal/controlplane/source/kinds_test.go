// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/gatewaykinds"
)

// TestSpecsOfRoutesAndPolicies: of a route or policy nothing is kept but which spec it has, and an event is made when
// that changes. The event has the object without its status.
func TestSpecsOfRoutesAndPolicies(t *testing.T) {
	for i, f := range ofKinds(gatewaykinds.All()) {
		k := gatewaykinds.All()[i]
		s := &shelf{feed: f, held: map[model.Key]any{}}
		for _, step := range []struct {
			uid        types.UID
			generation int64
			label      string
			event      bool
		}{{"u", 1, "", true}, {"u", 1, "", false}, {"u", 1, "other", false}, {"u", 2, "", true}, {"v", 2, "", true}} {
			o := k.New()
			o.SetNamespace("shop")
			o.SetName("r")
			o.SetUID(step.uid)
			o.SetGeneration(step.generation)
			o.SetLabels(map[string]string{"l": step.label})
			status(k, o, 1)
			e, ok, err := s.event(o)
			if err != nil || ok != step.event {
				t.Errorf("%s %+v: event %v, error %v", k.Name, step, ok, err)
			}
			if ok && (e.Object.(client.Object).GetGeneration() != step.generation || status(k, e.Object.(client.Object), 0) > 0) {
				t.Errorf("%s %+v: %+v", k.Name, step, e.Object)
			}
			if _, small := s.held[e.Key].(spec); ok && !small {
				t.Errorf("%s: %T is kept", k.Name, s.held[e.Key])
			}
		}
	}
}

// status adds so many entries to an object's status, and returns how many it has.
func status(k gatewaykinds.Kind, o client.Object, more int) int {
	if k.RouteStatus != nil {
		st := k.RouteStatus(o)
		st.Parents = append(st.Parents, make([]gwapiv1.RouteParentStatus, more)...)
		return len(st.Parents)
	}
	st := k.PolicyStatus(o)
	st.Ancestors = append(st.Ancestors, make([]gwapiv1.PolicyAncestorStatus, more)...)
	return len(st.Ancestors)
}
