// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
)

// pace is the least time between two writes of one object while its proxies are still acknowledging.
const pace = 300 * time.Millisecond

// own is this replica's name among those that report.
const own = ""

// Writer writes conditions. Every replica keeps one up to date; only while Run runs, on the leader,
// is anything written. Safe for concurrent use.
type Writer struct {
	client client.Client
	log    logr.Logger

	mu       sync.Mutex // guards all below
	routes   map[model.Object]RouteVerdict
	gateways map[model.Key]GatewayVerdict
	sets     map[model.Key]ListenerSetVerdict
	policies map[model.Object]PolicyVerdict
	progress map[string]map[Subject]Progress // by replica; own is this one
	releases map[string]string               // of the same replicas
	outcomes map[Subject]Outcome
	dirty    map[model.Object]time.Time // when each may be written
	wake     chan struct{}
}

// NewWriter returns a Writer that knows of nothing yet.
func NewWriter(c client.Client, log logr.Logger) *Writer {
	return &Writer{
		client: c, log: log, routes: map[model.Object]RouteVerdict{}, gateways: map[model.Key]GatewayVerdict{}, sets: map[model.Key]ListenerSetVerdict{},
		policies: map[model.Object]PolicyVerdict{},
		progress: map[string]map[Subject]Progress{}, releases: map[string]string{}, outcomes: map[Subject]Outcome{}, dirty: map[model.Object]time.Time{},
		wake: make(chan struct{}, 1),
	}
}

// Route sets the verdict on a route; nil forgets it.
func (w *Writer) Route(id model.Object, v *RouteVerdict) { keep(w, w.routes, id, v, id) }

// Gateway sets the verdict on a Gateway; nil forgets it.
func (w *Writer) Gateway(k model.Key, v *GatewayVerdict) {
	keep(w, w.gateways, k, v, model.Object{Kind: gatewayapi.KindGateway, Namespace: k.Namespace, Name: k.Name})
}

// ListenerSet sets the verdict on a ListenerSet; nil forgets it.
func (w *Writer) ListenerSet(k model.Key, v *ListenerSetVerdict) {
	keep(w, w.sets, k, v, model.Object{Kind: gatewayapi.KindListenerSet, Namespace: k.Namespace, Name: k.Name})
}

// keep sets a verdict, or with nil forgets it.
func keep[K comparable, V any](w *Writer, verdicts map[K]V, k K, v *V, id model.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v == nil {
		delete(verdicts, k)
	} else {
		verdicts[k] = *v
	}
	w.touch(id, 0)
}

// Progress takes in what a replica reports.
func (w *Writer) Progress(replica string, r Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.progress[replica]
	if known == nil || r.All {
		for s := range known {
			w.touch(object(s), pace)
		}
		known = map[Subject]Progress{}
		w.progress[replica] = known
		w.releases[replica] = r.Release
	}
	for _, row := range r.Rows {
		if row.Gone {
			delete(known, row.Subject)
		} else {
			known[row.Subject] = row.Progress
		}
		delay := pace
		if row.Progress.Done() {
			delay = 0
		}
		w.touch(object(row.Subject), delay)
	}
}

// Drop forgets a replica that has gone.
func (w *Writer) Drop(replica string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.progress[replica] {
		w.touch(object(s), pace)
	}
	delete(w.progress, replica)
	delete(w.releases, replica)
}

// Refresh looks at an object again, because somebody else may have written its status.
func (w *Writer) Refresh(id model.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touch(id, pace)
}

func object(s Subject) model.Object {
	return model.Object{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name}
}

func (w *Writer) touch(id model.Object, delay time.Duration) {
	at := time.Now().Add(delay)
	if old, ok := w.dirty[id]; ok && old.Before(at) {
		return
	}
	w.dirty[id] = at
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run writes until the context ends. It begins by looking at every object, as a new leader.
func (w *Writer) Run(ctx context.Context) {
	w.mu.Lock()
	w.outcomes = map[Subject]Outcome{}
	for id := range w.routes {
		w.touch(id, 0)
	}
	for k := range w.gateways {
		w.touch(model.Object{Kind: gatewayapi.KindGateway, Namespace: k.Namespace, Name: k.Name}, 0)
	}
	for k := range w.sets {
		w.touch(model.Object{Kind: gatewayapi.KindListenerSet, Namespace: k.Namespace, Name: k.Name}, 0)
	}
	for id := range w.policies {
		w.touch(id, 0)
	}
	w.mu.Unlock()
	for ctx.Err() == nil {
		id, wait := w.next()
		if wait > 0 {
			select {
			case <-ctx.Done():
			case <-w.wake:
			case <-time.After(wait):
			}
			continue
		}
		if err := w.write(ctx, id); err != nil && ctx.Err() == nil {
			if !apierrors.IsConflict(err) {
				w.log.Error(err, "Writing status", "kind", id.Kind, "namespace", id.Namespace, "name", id.Name)
			}
			w.mu.Lock()
			w.touch(id, time.Second)
			w.mu.Unlock()
		}
	}
}

// next takes an object that is due, or says how long to wait for one.
func (w *Writer) next() (model.Object, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wait := time.Minute
	now := time.Now()
	for id, at := range w.dirty {
		if d := at.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		delete(w.dirty, id)
		return id, 0
	}
	return model.Object{}, wait
}

// reports are what the replicas say of a Subject in this configuration; none while one of them is behind.
func (w *Writer) reports(s Subject, config string, generation int64) []Progress {
	var all []Progress
	for replica, known := range w.progress {
		p, told := known[s]
		switch p.towards(config, generation, told, w.releases[replica] == w.releases[own]) {
		case behind:
			return nil
		case counts:
			p.Config = config
			all = append(all, p)
		case unknown:
		}
	}
	return all
}

// judge returns the outcome for a Subject, given what is written on the object now.
func (w *Writer) judge(s Subject, config string, written []metav1.Condition, kind string, generation int64) Outcome {
	last, ok := w.outcomes[s]
	if !ok {
		last = previous(written, kind, generation, config)
	}
	sum, ok := Merge(w.reports(s, config, generation))
	if !ok {
		if last.Programmed && last.Settled == config {
			return last
		}
		return Outcome{Reason: ReasonPending, Message: "the control plane's replicas are taking it in"}
	}
	o := Judge(last, sum)
	w.outcomes[s] = o
	return o
}

func (w *Writer) write(ctx context.Context, id model.Object) error {
	switch id.Kind {
	case gatewayapi.KindHTTPRoute:
		r := &gwapiv1.HTTPRoute{}
		return w.writeRoute(ctx, id, r, &r.Status.RouteStatus)
	case gatewayapi.KindGRPCRoute:
		r := &gwapiv1.GRPCRoute{}
		return w.writeRoute(ctx, id, r, &r.Status.RouteStatus)
	case gatewayapi.KindTLSRoute:
		r := &gwapiv1.TLSRoute{}
		return w.writeRoute(ctx, id, r, &r.Status.RouteStatus)
	case gatewayapi.KindTCPRoute:
		r := &gwapiv1.TCPRoute{}
		return w.writeRoute(ctx, id, r, &r.Status.RouteStatus)
	case gatewayapi.KindUDPRoute:
		r := &gwapiv1.UDPRoute{}
		return w.writeRoute(ctx, id, r, &r.Status.RouteStatus)
	case gatewayapi.KindGateway:
		return w.writeGateway(ctx, id)
	case gatewayapi.KindListenerSet:
		return w.writeListenerSet(ctx, id)
	case gatewayapi.KindBackendTLSPolicy:
		return w.writePolicy(ctx, id)
	}
	return fmt.Errorf("status of kind %q is not written here", id.Kind)
}

// update brings an object's status up to date: change does that to the object as it is now, and tells
// whether there was anything to do. It is called with the lock held.
func (w *Writer) update(ctx context.Context, id model.Object, obj client.Object, change func() bool) error {
	if err := w.client.Get(ctx, client.ObjectKey{Namespace: id.Namespace, Name: id.Name}, obj); err != nil {
		return client.IgnoreNotFound(err)
	}
	w.mu.Lock()
	changed := change()
	w.mu.Unlock()
	if !changed {
		return nil
	}
	return client.IgnoreNotFound(w.client.Status().Update(ctx, obj))
}

func (w *Writer) writeRoute(ctx context.Context, id model.Object, obj client.Object, st *gwapiv1.RouteStatus) error {
	return w.update(ctx, id, obj, func() bool {
		v, ok := w.routes[id]
		if ok && v.Generation != obj.GetGeneration() {
			return false // the verdict on the newer one will come
		}
		outcomes := make([]Outcome, len(v.Parents))
		for i, p := range v.Parents {
			s := Subject{Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, Parent: i}
			outcomes[i] = w.judge(s, v.Needs[i].Config, conditionsOf(st.Parents, p.ParentRef), ConditionProgrammed, v.Generation)
		}
		parents := Parents(st.Parents, v, outcomes)
		if equality.Semantic.DeepEqual(parents, st.Parents) {
			return false
		}
		st.Parents = parents
		if st.Parents == nil {
			st.Parents = []gwapiv1.RouteParentStatus{}
		}
		return true
	})
}

func (w *Writer) writeGateway(ctx context.Context, id model.Object) error {
	gw := &gwapiv1.Gateway{}
	return w.update(ctx, id, gw, func() bool {
		v, ok := w.gateways[model.Key{Namespace: id.Namespace, Name: id.Name}]
		if !ok || v.Generation != gw.Generation {
			return false
		}
		s := Subject{Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
		o := w.judge(s, v.Need.Config, gw.Status.Conditions, string(gwapiv1.GatewayConditionProgrammed), v.Generation)
		return replace(&gw.Status, Gateway(gw.Status, v, o))
	})
}

// replace tells whether that was a change.
func replace[S any](old *S, status S) bool {
	if equality.Semantic.DeepEqual(status, *old) {
		return false
	}
	*old = status
	return true
}
