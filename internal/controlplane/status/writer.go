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
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/schedule"
	"tulle.dev/tulle/internal/gatewaykinds"
	"tulle.dev/tulle/internal/names"
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
	asked    map[Subject]asked                // since when an outcome is looked for
	told     map[model.Object][]Outcome       // what an object's status says of its parents
	look     map[model.Object]bool            // the verdict is new, or the object: its status may have to say more than that
	dirty    *schedule.Schedule[model.Object] // when each may be written
	wake     chan struct{}
}

// asked is since when this configuration of an object of this generation is asked about.
type asked struct {
	config     string
	generation int64
	at         time.Time
}

// NewWriter returns a Writer that knows of nothing yet.
func NewWriter(c client.Client, log logr.Logger) *Writer {
	return &Writer{
		client: c, log: log, routes: map[model.Object]RouteVerdict{}, gateways: map[model.Key]GatewayVerdict{}, sets: map[model.Key]ListenerSetVerdict{},
		policies: map[model.Object]PolicyVerdict{},
		progress: map[string]map[Subject]Progress{}, releases: map[string]string{}, outcomes: map[Subject]Outcome{}, asked: map[Subject]asked{},
		told: map[model.Object][]Outcome{}, look: map[model.Object]bool{}, dirty: schedule.New[model.Object](),
		wake: make(chan struct{}, 1),
	}
}

// Route sets the verdict on a route; nil forgets it, which is gone.
func (w *Writer) Route(id model.Object, v *RouteVerdict) { keep(w, w.routes, id, v, id) }

// Gateway sets the verdict on a Gateway; nil forgets it.
func (w *Writer) Gateway(k model.Key, v *GatewayVerdict) {
	keep(w, w.gateways, k, v, model.Object{Kind: gatewayapi.KindGateway, Namespace: k.Namespace, Name: k.Name})
}

// ListenerSet sets the verdict on a ListenerSet; nil forgets it.
func (w *Writer) ListenerSet(k model.Key, v *ListenerSetVerdict) {
	keep(w, w.sets, k, v, model.Object{Kind: gatewayapi.KindListenerSet, Namespace: k.Namespace, Name: k.Name})
}

// keep sets a verdict, or with nil forgets all about an object: its status has gone with it.
func keep[K comparable, V any](w *Writer, verdicts map[K]V, k K, v *V, id model.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.needs(id))
	if v != nil {
		verdicts[k] = *v
		w.lookAt(id, 0)
	} else {
		delete(verdicts, k)
		delete(w.told, id)
		delete(w.look, id)
		w.dirty.Delete(id)
	}
	for i := len(w.needs(id)); i < before; i++ {
		delete(w.outcomes, subject(id, i))
		delete(w.asked, subject(id, i))
	}
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
	w.lookAt(id, pace)
}

func object(s Subject) model.Object {
	return model.Object{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name}
}

func subject(id model.Object, parent int) Subject {
	return Subject{Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, Parent: parent}
}

// reports are what the replicas say of a Subject in this configuration; none while one of them is behind.
func (w *Writer) reports(s Subject, need Requirement) []Progress {
	var all []Progress
	for replica, known := range w.progress {
		p, told := known[s]
		switch p.towards(need.Config, need.Generation, told, w.releases[replica] == w.releases[own]) {
		case behind:
			return nil
		case counts:
			p.Config = need.Config
			all = append(all, p.split(need.Near))
		case unknown:
		}
	}
	return all
}

// judged are the outcomes of an object's requirements. written are the conditions that say Programmed on
// the object now, by requirement; nil if they have been asked for before.
func (w *Writer) judged(id model.Object, needs []Requirement, written func(i int) *metav1.Condition) []Outcome {
	out := make([]Outcome, len(needs))
	for i, n := range needs {
		s := subject(id, i)
		if _, ok := w.outcomes[s]; !ok && written != nil {
			w.outcomes[s] = previous(written(i), n)
		}
		out[i] = w.judge(s, n)
	}
	return out
}

// judge returns the outcome for a Subject.
func (w *Writer) judge(s Subject, n Requirement) Outcome {
	last := w.outcomes[s]
	sum, ok := Merge(w.reports(s, n))
	if !ok {
		if last.Programmed && last.Settled == n.Config {
			return last
		}
		return Outcome{Reason: ReasonPending, Message: "the control plane's replicas are taking it in"}
	}
	now := time.Now()
	if a := w.asked[s]; a.config != n.Config || a.generation != n.Generation {
		w.asked[s] = asked{n.Config, n.Generation, now}
	}
	o, again := Judge(last, sum, now.Sub(w.asked[s].at))
	w.outcomes[s] = o
	if again > 0 {
		w.touch(object(s), again)
	}
	return o
}

// Written reports whether a Writer writes the status of objects of a kind.
func Written(kind string) bool {
	_, known := gatewaykinds.Find(kind)
	return known || kind == gatewayapi.KindGateway || kind == gatewayapi.KindListenerSet
}

func (w *Writer) write(ctx context.Context, id model.Object) error {
	switch id.Kind {
	case gatewayapi.KindGateway:
		return w.writeGateway(ctx, id)
	case gatewayapi.KindListenerSet:
		return w.writeListenerSet(ctx, id)
	}
	k, known := gatewaykinds.Find(id.Kind)
	switch {
	case !known:
	case k.RouteStatus != nil:
		r := k.New()
		return w.writeRoute(ctx, id, r, k.RouteStatus(r))
	case k.PolicyStatus != nil:
		p := k.New()
		return w.writePolicy(ctx, id, p, k.PolicyStatus(p))
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
	return client.IgnoreNotFound(w.client.Status().Update(ctx, obj, client.FieldOwner(names.FieldManager)))
}

func (w *Writer) writeRoute(ctx context.Context, id model.Object, obj client.Object, st *gwapiv1.RouteStatus) error {
	return w.update(ctx, id, obj, func() bool {
		v := w.routes[id]
		if v.Generation != obj.GetGeneration() {
			return false // the verdict on the newer one will come
		}
		w.told[id] = w.judged(id, v.Needs, func(i int) *metav1.Condition {
			return apimeta.FindStatusCondition(conditionsOf(st.Parents, v.Parents[i].ParentRef), ConditionProgrammed)
		})
		parents := Parents(st.Parents, v, w.told[id])
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
		v := w.gateways[model.Key{Namespace: id.Namespace, Name: id.Name}]
		if v.Generation != gw.Generation {
			return false
		}
		return replace(&gw.Status, Gateway(gw.Status, v, w.judgedOne(id, v.Need, gw.Status.Conditions, string(gwapiv1.GatewayConditionProgrammed))))
	})
}

// judgedOne is judged for an object with one requirement.
func (w *Writer) judgedOne(id model.Object, need Requirement, written []metav1.Condition, kind string) Outcome {
	w.told[id] = w.judged(id, []Requirement{need}, func(int) *metav1.Condition { return apimeta.FindStatusCondition(written, kind) })
	return w.told[id][0]
}

// replace tells whether that was a change.
func replace[S any](old *S, status S) bool {
	if equality.Semantic.DeepEqual(status, *old) {
		return false
	}
	*old = status
	return true
}
