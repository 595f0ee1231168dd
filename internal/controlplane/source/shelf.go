// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"fmt"
	"reflect"

	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/controlplane/model"
)

// shelf is the store into which a reflector puts the objects of one kind (cache.ReflectorStore). It
// keeps what they are converted to, or their identity, to tell changes from updates that change nothing. Its reflector's
// goroutine is the only one to use it.
type shelf struct {
	feed feed
	out  *queue
	held map[model.Key]any
	// synced: a list has been seen, or it is known that there is none.
	synced bool
}

// Transformer has the reflector convert each object of a stream when it is read (cache.TransformingStore).
func (s *shelf) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return s.feed.read(obj) }
}

func (s *shelf) Add(obj any) error {
	e, ok, err := s.event(obj)
	if err == nil && ok {
		s.out.put(s.feed.kind, []Event{e}, false)
	}
	return err
}

func (s *shelf) Update(obj any) error { return s.Add(obj) }

func (s *shelf) Delete(obj any) error {
	o, err := object(obj)
	if err != nil {
		return err
	}
	if e, ok := s.gone(keyOf(o)); ok {
		s.out.put(s.feed.kind, []Event{e}, false)
	}
	return nil
}

// Replace takes the complete list: after it the kind is synced.
func (s *shelf) Replace(list []any, _ string) error {
	seen := make(map[model.Key]bool, len(list))
	var events []Event
	for _, obj := range list {
		e, ok, err := s.event(obj)
		if err != nil {
			return err
		}
		seen[e.Key] = true
		if ok {
			events = append(events, e)
		}
	}
	for k := range s.held {
		if !seen[k] {
			e, _ := s.gone(k)
			events = append(events, e)
		}
	}
	s.synced = true
	s.out.put(s.feed.kind, events, true)
	return nil
}

// Resync has nothing to do: nothing here is ever lost.
func (s *shelf) Resync() error { return nil }

// event converts an object, if need be, and puts it on the shelf; ok is false where nothing changed. The event has
// the object's key in any case.
func (s *shelf) event(obj any) (e Event, ok bool, err error) {
	c, err := s.feed.read(obj)
	if err != nil {
		return Event{}, false, err
	}
	if c.value == nil {
		e, ok = s.gone(c.key)
		return e, ok, nil
	}
	e = Event{Kind: s.feed.kind, Key: c.key, Object: c.value}
	held := c.value
	if s.feed.identity != nil {
		held = s.feed.identity(c.value)
	}
	if old, has := s.held[c.key]; has && reflect.DeepEqual(old, held) {
		return e, false, nil
	}
	s.held[c.key] = held
	return e, true, nil
}

func (s *shelf) gone(k model.Key) (Event, bool) {
	_, has := s.held[k]
	delete(s.held, k)
	return Event{Kind: s.feed.kind, Key: k}, has
}

func object(obj any) (client.Object, error) {
	o, ok := obj.(client.Object)
	if !ok {
		return nil, fmt.Errorf("%T is not an object of the API server", obj)
	}
	return o, nil
}

func keyOf(o client.Object) model.Key {
	return model.Key{Namespace: o.GetNamespace(), Name: o.GetName()}
}
