// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"maps"
	"testing"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/source"
)

// TestObjectThatCannotBeRead: an object on which parsing panics stays what it was, is reported, and keeps nothing
// else of the batch from being applied. The failure ends with the next object that can be read, and with the object.
func TestObjectThatCannotBeRead(t *testing.T) {
	good, bad := bigRoute(1, 1), bigRoute(1, 2)
	bad.Object = (*gwapiv1.HTTPRoute)(nil)
	id := idOf(good)
	var reported []incr.Failure
	g := New(func(f incr.Failure) { reported = append(reported, f) })
	g.Apply([]source.Event{good}, testSettings())
	was, _ := g.in.routes.Value(id)
	g.Apply([]source.Event{bad, bigRoute(2, 1)}, Inputs{})
	if now, ok := g.in.routes.Value(id); !ok || now != was {
		t.Errorf("the route is %v, want what it was", now)
	}
	if n := len(maps.Collect(g.verdicts.routes.All())); n != 2 {
		t.Errorf("verdicts on %d routes, want 2", n)
	}
	if len(g.Failures()) != 1 || len(reported) != 1 || reported[0].Collection != "routes" || reported[0].Key != id {
		t.Errorf("failures %v, reported %v, want the route's", g.Failures(), reported)
	}
	g.Apply([]source.Event{bigRoute(1, 3)}, Inputs{})
	if len(g.Failures()) != 0 {
		t.Errorf("failures %v after an object that can be read", g.Failures())
	}
	gone := bad
	gone.Object = nil
	g.Apply([]source.Event{bad}, Inputs{})
	g.Apply([]source.Event{gone}, Inputs{})
	if _, ok := g.in.routes.Value(id); ok || len(g.Failures()) != 0 {
		t.Errorf("failures %v after the object was deleted", g.Failures())
	}
}
