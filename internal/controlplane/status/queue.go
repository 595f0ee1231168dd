// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
)

// lookAt touches what may have to say something else than before whatever proxies acknowledge.
func (w *Writer) lookAt(id model.Object, delay time.Duration) {
	w.look[id] = true
	w.touch(id, delay)
}

func (w *Writer) touch(id model.Object, delay time.Duration) {
	at := time.Now().Add(delay)
	if old, ok := w.dirty.At(id); ok && old.Before(at) {
		return
	}
	w.dirty.Set(id, at)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run writes until the context ends. It begins by looking at every object, as a new leader.
func (w *Writer) Run(ctx context.Context) {
	w.mu.Lock()
	w.outcomes, w.asked, w.told = map[Subject]Outcome{}, map[Subject]asked{}, map[model.Object][]Outcome{}
	for id := range w.routes {
		w.lookAt(id, 0)
	}
	for k := range w.gateways {
		w.lookAt(model.Object{Kind: gatewayapi.KindGateway, Namespace: k.Namespace, Name: k.Name}, 0)
	}
	for k := range w.sets {
		w.lookAt(model.Object{Kind: gatewayapi.KindListenerSet, Namespace: k.Namespace, Name: k.Name}, 0)
	}
	for id := range w.policies {
		w.lookAt(id, 0)
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
			w.lookAt(id, time.Second)
			w.mu.Unlock()
		}
	}
}

// atOnce is how many objects are looked at before others may have the lock.
const atOnce = 100

// next takes the object that has been due for longest, or returns how long to wait for one. Objects that have
// nothing new to report are passed over: a backend of many routes touches all of them.
func (w *Writer) next() (model.Object, time.Duration) {
	for {
		if id, wait, ok := w.nextOf(atOnce); ok {
			return id, wait
		}
	}
}

// nextOf is next among the first n objects; ok is false if all of these are passed over.
func (w *Writer) nextOf(n int) (id model.Object, wait time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range n {
		first, due, ok := w.dirty.First()
		if !ok {
			return first, time.Minute, true
		}
		if wait := time.Until(due); wait > 0 {
			return first, wait, true
		}
		w.dirty.Delete(first)
		told, ok := w.told[first]
		if needs := w.needs(first); w.look[first] || len(needs) > 0 && !(ok && slices.Equal(told, w.judged(first, needs, nil))) {
			delete(w.look, first)
			return first, 0, true
		}
	}
	return id, 0, false
}

// needs are the requirements of an object's parents, or the one of a Gateway or ListenerSet; none of what there is no verdict on.
func (w *Writer) needs(id model.Object) []Requirement {
	k := model.Key{Namespace: id.Namespace, Name: id.Name}
	switch id.Kind {
	case gatewayapi.KindGateway:
		if v, ok := w.gateways[k]; ok {
			return []Requirement{v.Need}
		}
	case gatewayapi.KindListenerSet:
		if v, ok := w.sets[k]; ok {
			return []Requirement{v.Need}
		}
	}
	return w.routes[id].Needs
}
