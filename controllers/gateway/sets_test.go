// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gateway

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// counting counts the objects that are read, each of which is a deep copy from a cache.
type counting struct {
	client.Reader
	read int
}

func (c *counting) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	err := c.Reader.List(ctx, list, options...)
	c.read += len(list.(*gwapiv1.ListenerSetList).Items)
	return err
}

func set(namespace, name, gateway string) *gwapiv1.ListenerSet {
	s := &gwapiv1.ListenerSet{}
	s.Namespace, s.Name, s.Generation = namespace, name, 1
	s.Spec.ParentRef.Name = gwapiv1.ObjectName(gateway)
	if namespace != "shop" {
		ns := gwapiv1.Namespace("shop")
		s.Spec.ParentRef.Namespace = &ns
	}
	return s
}

// TestSetsOfOthers: a look at a Gateway reads its own ListenerSets only, however many a tenant has.
func TestSetsOfOthers(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := gwapiv1.Install(scheme); err != nil {
		t.Fatal(err)
	}
	objects := []client.Object{set("shop", "own", "gw"), set("apart", "granted", "gw")}
	for i := range 200 {
		objects = append(objects, set("shop", fmt.Sprint("s", i), "elsewhere"))
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithIndex(&gwapiv1.ListenerSet{}, parentField, parentIndex).Build()
	cache := &counting{Reader: c}
	for _, watched := range []bool{false, true} {
		r := &Reconciler{Live: c, Cache: cache}
		r.withSets.Store(watched)
		sets, err := r.sets(t.Context(), types.NamespacedName{Namespace: "shop", Name: "gw"})
		if err != nil || len(sets) != 2 || sets[0].Name != "granted" || sets[1].Name != "own" {
			t.Errorf("watched %v: %v, %v", watched, sets, err)
		}
	}
	if cache.read != 2 {
		t.Errorf("%d ListenerSets were read from the cache", cache.read)
	}
}

// TestStatusOfSets: a change of a ListenerSet's status is no reason to look at a Gateway.
func TestStatusOfSets(t *testing.T) {
	before, after := set("shop", "own", "gw"), set("shop", "own", "gw")
	after.ResourceVersion = "2"
	if specChanged().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}) {
		t.Error("the status counts")
	}
	after.Generation++
	if !specChanged().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}) {
		t.Error("the spec does not count")
	}
}
