// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/controlplane/inject"
)

// namespaces are the facts by which pods are injected. Labels come from the watch; what a namespace allows
// its containers is read from the API server and kept for a moment. Strangers can ask for reviews, and name
// any namespace. So the number of questions depends on the number of namespaces and on time, never on the
// number of reviews; questions are asked in turn, fairly by the address that a review came from; and names that
// the watch has not seen have a small rate of their own. Safe for concurrent use.
type namespaces struct {
	// watched returns the labels that the watch has seen; ok is false if it has not seen the namespace.
	watched func(name string) (labels map[string]string, ok bool)
	api     client.Reader
	log     logr.Logger

	waiting singleflight.Group // reviews of one address that want the same
	flight  singleflight.Group // questions under way
	// seen are turns to ask about namespaces that exist, unseen about names that the watch has not seen.
	seen, unseen *bounded.Turns
	patient      time.Duration // how long a review waits for an answer
	lines        rarely

	mu     sync.Mutex // guards all below
	bounds map[string]kept[inject.Bounds]
	labels map[string]kept[map[string]string]
}

// kept is an answer and when it was asked for. The answer may be that there is no such namespace.
type kept[T any] struct {
	value  T
	absent error
	at     time.Time
}

const (
	// current is how long an answer counts as that of now.
	current = time.Second
	// patient is how long a review waits for an answer. The API server waits for ten seconds in all.
	patient = 2 * time.Second
	// settling is how long the watch gets to see a namespace that it has not.
	settling = 500 * time.Millisecond
	// questions is how many are under way at a time, questionsEach those of one address.
	questions     = 8
	questionsEach = 4
	// unseenEvery is how often at most the API server is asked for a name that the watch has not seen. It is asked for
	// one after the other.
	unseenEvery = 100 * time.Millisecond
	// maxKept is how many answers are kept.
	maxKept = 2000
)

func newNamespaces(watched func(string) (map[string]string, bool), api client.Reader, log logr.Logger) *namespaces {
	return &namespaces{
		watched: watched, api: api, log: log, patient: patient,
		seen:   bounded.NewTurns(bounded.TurnOptions{Places: questions, Each: questionsEach, Longest: patient}),
		unseen: bounded.NewTurns(bounded.TurnOptions{Places: 1, Each: 1, Longest: patient}),
		bounds: map[string]kept[inject.Bounds]{}, labels: map[string]kept[map[string]string]{},
	}
}

// facts returns those by the watch, or if that has not seen the namespace, those of fresh. The review came from
// an address.
func (n *namespaces) facts(ctx context.Context, from netip.Addr, name string) (inject.NamespaceFacts, error) {
	labels, ok := n.await(ctx, name)
	if !ok {
		return n.fresh(ctx, from, name)
	}
	return inject.NamespaceFacts{Name: name, Labels: labels, Bounds: n.boundsOf(ctx, from, name)}, nil
}

// await returns what the watch has seen, and waits a little for a namespace that was perhaps made just now.
func (n *namespaces) await(ctx context.Context, name string) (map[string]string, bool) {
	labels, ok := n.watched(name)
	if ok {
		return labels, true
	}
	end := time.NewTimer(settling)
	defer end.Stop()
	look := time.NewTicker(settling / 20)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if labels, ok = n.watched(name); ok {
				return labels, true
			}
		case <-end.C:
			return nil, false
		case <-ctx.Done():
			return nil, false
		}
	}
}

// fresh asks the API server for the namespace. An answer to another review of the last second will do.
func (n *namespaces) fresh(ctx context.Context, from netip.Addr, name string) (inject.NamespaceFacts, error) {
	_, seen := n.watched(name)
	labels, err := awaited(ctx, n, question[map[string]string]{what: "labels", from: from, name: name, unseen: !seen, answers: n.labels, read: func(ctx context.Context) (map[string]string, error) {
		ns := &metav1.PartialObjectMetadata{}
		ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
		if err := n.api.Get(ctx, client.ObjectKey{Name: name}, ns); err != nil {
			return nil, fmt.Errorf("read namespace %s: %w", name, err)
		}
		return ns.Labels, nil
	}})
	if err != nil {
		return inject.NamespaceFacts{}, err
	}
	return inject.NamespaceFacts{Name: name, Labels: labels, Bounds: n.boundsOf(ctx, from, name)}, nil
}

// boundsOf returns what a namespace that exists allows its containers. What can't be read in time is left to the API
// server, which refuses the pod if it has to.
func (n *namespaces) boundsOf(ctx context.Context, from netip.Addr, name string) inject.Bounds {
	b, err := awaited(ctx, n, question[inject.Bounds]{what: "bounds", from: from, name: name, answers: n.bounds, old: true, read: func(ctx context.Context) (inject.Bounds, error) {
		var ranges corev1.LimitRangeList
		var quotas corev1.ResourceQuotaList
		for _, l := range []client.ObjectList{&ranges, &quotas} {
			if err := n.api.List(ctx, l, client.InNamespace(name)); err != nil {
				return inject.Bounds{}, fmt.Errorf("read what namespace %s allows its containers: %w", name, err)
			}
		}
		var out inject.Bounds
		for _, r := range ranges.Items {
			out.Ranges = append(out.Ranges, corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: r.Name, Namespace: name}, Spec: r.Spec})
		}
		for _, q := range quotas.Items {
			out.Quotas = append(out.Quotas, corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: q.Name, Namespace: name}, Spec: q.Spec})
		}
		return out, nil
	}})
	if err != nil && !errors.Is(err, context.Canceled) && n.lines.allows(time.Now()) {
		n.log.Error(err, "Injecting without the bounds of a namespace")
	}
	return b
}

// question is something to ask the API server about a namespace, for a review from an address.
type question[T any] struct {
	what, name string
	from       netip.Addr
	unseen     bool               // the watch has not seen the name
	answers    map[string]kept[T] // guarded by namespaces.mu
	// old tells that an older answer will do if a new one takes long.
	old  bool
	read func(context.Context) (T, error)
}

// awaited returns an answer of the last second, or asks for one together with all others that want it.
func awaited[T any](ctx context.Context, n *namespaces, q question[T]) (T, error) {
	last, known, now := lastAnswer(n, q)
	if now {
		return last.value, last.absent
	}
	old, wait := q.old && known, n.patient
	if old {
		wait /= 4
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	// Reviews of an address wait together. Those of another address do not wait with them: its turn may come earlier.
	result := n.waiting.DoChan(q.what+"/"+q.name+"/"+q.from.String(), func() (any, error) {
		// Not the context of one review: others wait for this, too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.patient)
		defer cancel()
		done, err := n.turn(ctx, q.from, q.unseen)
		if err != nil {
			return nil, err
		}
		defer done()
		v, err, _ := n.flight.Do(q.what+"/"+q.name, func() (any, error) { return askNow(ctx, n, q) })
		return v, err //nolint:wrapcheck // says what was read
	})
	var err error
	select {
	case a := <-result:
		if v, ok := a.Val.(T); ok && a.Err == nil {
			return v, nil
		}
		err = a.Err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if old {
		return last.value, nil
	}
	var none T
	return none, err
}

// turn waits for an address's turn to ask. done ends it.
func (n *namespaces) turn(ctx context.Context, from netip.Addr, unseen bool) (done func(), err error) {
	turns := n.seen
	if unseen {
		turns = n.unseen
	}
	turn := turns.Queue(bounded.Client{Address: from})
	select {
	case <-turn.Ready():
	case <-ctx.Done():
		turn.End()
		return nil, ctx.Err()
	}
	if !unseen {
		return turn.End, nil
	}
	next := time.Now().Add(unseenEvery)
	return func() { time.AfterFunc(time.Until(next), turn.End) }, nil
}

// askNow asks, unless there is an answer by now, and keeps the answer.
func askNow[T any](ctx context.Context, n *namespaces, q question[T]) (T, error) {
	if last, _, now := lastAnswer(n, q); now {
		return last.value, last.absent
	}
	at := time.Now()
	// Its turn may have come late, and others may wait for the answer by now.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.patient)
	defer cancel()
	v, err := q.read(ctx)
	if err != nil && !apierrors.IsNotFound(err) {
		return v, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	keep(q.answers, q.name, kept[T]{v, err, at})
	return v, err
}

// lastAnswer returns the answer that is kept, whether it is one, and whether it counts as that of now.
func lastAnswer[T any](n *namespaces, q question[T]) (last kept[T], known, now bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	last, asked := q.answers[q.name]
	return last, asked && last.absent == nil, asked && time.Since(last.at) < current
}

// keep keeps an answer. When there are too many, those go first that are no longer of use.
func keep[T any](answers map[string]kept[T], name string, k kept[T]) {
	if _, known := answers[name]; !known && len(answers) >= maxKept {
		for other, o := range answers {
			if k.at.Sub(o.at) > current {
				delete(answers, other)
			}
		}
		if len(answers) >= maxKept {
			clear(answers)
		}
	}
	answers[name] = k
}

// rarely allows something once a second: a flood of reviews must not become one of log lines. Safe for concurrent use.
type rarely struct {
	mu   sync.Mutex
	last time.Time
}

func (r *rarely) allows(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.last) < time.Second {
		return false
	}
	r.last = now
	return true
}
