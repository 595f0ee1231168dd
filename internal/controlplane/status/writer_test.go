// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
)

// api keeps HTTPRoutes and remembers what is asked of it, in order.
type api struct {
	client.Client

	mu     sync.Mutex // guards all below
	routes map[string]*gwapiv1.HTTPRoute
	asked  []string
}

func (a *api) Get(_ context.Context, k client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, "get "+k.Name)
	r, ok := a.routes[k.Name]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{}, k.Name)
	}
	r.DeepCopyInto(obj.(*gwapiv1.HTTPRoute))
	return nil
}

func (a *api) Status() client.SubResourceWriter { return apiStatus{api: a} }

type apiStatus struct {
	client.SubResourceWriter
	*api
}

func (a apiStatus) Update(_ context.Context, obj client.Object, _ ...client.SubResourceUpdateOption) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, "update "+obj.GetName())
	a.routes[obj.GetName()] = obj.(*gwapiv1.HTTPRoute).DeepCopy()
	return nil
}

// take waits until nothing is to be done any more and returns what was asked meanwhile.
func (a *api) take() []string {
	time.Sleep(time.Minute) // of the bubble's clock
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.asked
	a.asked = nil
	return out
}

func routeID(name string) model.Object {
	return model.Object{Kind: gatewayapi.KindHTTPRoute, Namespace: "shop", Name: name}
}

func verdict(config string, generation int64) *RouteVerdict {
	return &RouteVerdict{
		Generation: generation,
		Parents: []gatewayapi.RouteParent{{RouteParentStatus: gwapiv1.RouteParentStatus{
			ParentRef:  gwapiv1.ParentReference{Name: "front"},
			Conditions: []metav1.Condition{{Type: string(gwapiv1.RouteConditionAccepted), Status: metav1.ConditionTrue, ObservedGeneration: generation}},
		}}},
		Needs: []Requirement{{Config: config, Generation: generation}},
	}
}

func rows(names []string, config string, needed, acked int) Report {
	r := Report{Release: "0.3.0"}
	for _, n := range names {
		r.Rows = append(r.Rows, Row{Subject: subject(routeID(n), 0), Progress: Progress{Config: config, Generation: 1, Needed: needed, Acked: acked}})
	}
	return r
}

// TestWhatIsAsked: the API server is asked about an object whose status may have to change, and no other:
// not about each route of a backend whose endpoints change, and not about what is gone.
func TestWhatIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{routes: map[string]*gwapiv1.HTTPRoute{}}
		w := NewWriter(a, logr.Discard())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.Run(ctx) }()
		defer func() { cancel(); <-done }()
		var names []string
		for i := range 50 {
			n := fmt.Sprintf("r%02d", i)
			names = append(names, n)
			a.routes[n] = &gwapiv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: n, Generation: 1}}
		}
		for _, n := range names { // from here on the Writer reads what the API server has
			w.Route(routeID(n), verdict("one", 1))
		}
		w.Progress(own, rows(names, "one", 2, 2))
		if got := a.take(); len(got) > 4*len(names) {
			t.Errorf("%d requests for %d new routes", len(got), len(names))
		}
		if c := a.routes["r07"].Status.Parents[0].Conditions; len(c) == 0 || c[len(c)-1].Reason != ReasonAcknowledged {
			t.Fatalf("conditions %+v", c)
		}

		// Endpoints of a backend that all have: each proxy has yet to acknowledge them, and then has.
		w.Progress(own, rows(names, "one", 2, 0))
		w.Progress(own, rows(names, "one", 2, 2))
		if got := a.take(); len(got) > 0 {
			t.Errorf("nothing has changed, and it was asked %q", got)
		}

		a.routes["r07"].Generation = 2
		w.Route(routeID("r07"), verdict("two", 2))
		w.Progress(own, Report{Rows: []Row{{Subject: subject(routeID("r07"), 0), Progress: Progress{Config: "two", Generation: 2, Needed: 2, Acked: 2}}}})
		got := a.take()
		if len(got) < 2 || len(got) > 4 || got[0] != "get r07" || a.routes["r07"].Status.Parents[0].Conditions[0].ObservedGeneration != 2 {
			t.Errorf("one route has changed, and it was asked %q", got)
		}

		two := verdict("three", 3)
		two.Parents, two.Needs = append(two.Parents, two.Parents[0]), append(two.Needs, two.Needs[0])
		a.routes["r07"].Generation = 3
		w.Route(routeID("r07"), two)
		w.Progress(own, Report{Rows: []Row{
			{Subject: subject(routeID("r07"), 0), Progress: Progress{Config: "three", Generation: 3, Needed: 2, Acked: 2}},
			{Subject: subject(routeID("r07"), 1), Progress: Progress{Config: "three", Generation: 3, Needed: 2, Acked: 2}},
		}})
		a.take()
		a.routes["r07"].Generation = 4
		w.Route(routeID("r07"), verdict("four", 4)) // it has lost a parent
		a.take()

		for _, n := range names[:40] {
			delete(a.routes, n)
		}
		for _, n := range names[:40] {
			w.Route(routeID(n), nil)
			w.Progress(own, Report{Rows: []Row{{Subject: subject(routeID(n), 0), Gone: true}}})
		}
		if got := a.take(); len(got) > 0 {
			t.Errorf("routes are gone, and it was asked %q", got)
		}
		if len(w.outcomes) != 10 || len(w.told) != 10 {
			t.Errorf("of 10 routes that are left, %d and %d outcomes are kept", len(w.outcomes), len(w.told))
		}

		// Somebody else has written to it.
		a.routes["r45"].Status.Parents = nil
		w.Refresh(routeID("r45"))
		if got := a.take(); len(got) != 2 || len(a.routes["r45"].Status.Parents) != 1 {
			t.Errorf("what somebody else wrote was answered with %q", got)
		}
	})
}
