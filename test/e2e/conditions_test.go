// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/testing/cluster"
)

// told is what the status of any object of the Gateway API says.
type told struct {
	Metadata struct{ Generation int64 }
	Status   struct {
		Conditions         []metav1.Condition
		Parents, Ancestors []struct{ Conditions []metav1.Condition }
		Listeners          []struct {
			Name       string
			Conditions []metav1.Condition
		}
	}
}

// statusOf reads the status of an object of any kind.
func statusOf(t *testing.T, c *cluster.Cluster, o *unstructured.Unstructured) (s told, err error) {
	t.Helper()
	now := &unstructured.Unstructured{}
	now.SetGroupVersionKind(o.GroupVersionKind())
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), now); err != nil {
		return s, err
	}
	text, err := now.MarshalJSON()
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// all are the lists of conditions by where they stand: "" the object's own, "parents[0]", "listeners[http]".
func (s told) all() map[string][]metav1.Condition {
	out := map[string][]metav1.Condition{"": s.Status.Conditions}
	for i, p := range s.Status.Parents {
		out[fmt.Sprintf("parents[%d]", i)] = p.Conditions
	}
	for i, a := range s.Status.Ancestors {
		out[fmt.Sprintf("ancestors[%d]", i)] = a.Conditions
	}
	for _, l := range s.Status.Listeners {
		out["listeners["+l.Name+"]"] = l.Conditions
	}
	return out
}

// inEffect waits until an object says of itself, as it is now, that it is carried out everywhere.
// Objects that are not the Gateway API's say nothing.
func inEffect(t *testing.T, c *cluster.Cluster, o *unstructured.Unstructured) {
	t.Helper()
	wants := []string{"Accepted", "ResolvedRefs", status.ConditionProgrammed}
	list := "parents"
	switch o.GetKind() {
	case "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute":
	case "BackendTLSPolicy":
		wants, list = wants[:2], "ancestors"
	case "Gateway":
		wants, list = []string{"Accepted", "Programmed"}, ""
	default:
		return
	}
	cluster.Eventually(t, 2*time.Minute, fmt.Sprintf("%s %s is in effect", o.GetKind(), o.GetName()), func() error {
		s, err := statusOf(t, c, o)
		if err != nil {
			return err
		}
		said := false
		for where, conditions := range s.all() {
			if place, _, _ := strings.Cut(where, "["); place != list {
				continue
			}
			said = true
			for _, w := range wants {
				if k := apimeta.FindStatusCondition(conditions, w); k == nil || k.Status != metav1.ConditionTrue || k.ObservedGeneration != s.Metadata.Generation {
					return fmt.Errorf("%s in generation %d: %+v", where, s.Metadata.Generation, conditions)
				}
			}
		}
		if !said {
			return fmt.Errorf("it says nothing of its %s", list)
		}
		return nil
	})
}
