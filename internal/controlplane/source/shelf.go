// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"fmt"
	"reflect"

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
		o, err := object(obj)
		if err != nil {
			return err
		}
		seen[keyOf(o)] = true
		if e, ok, err := s.event(obj); err != nil {
			return err
		} else if ok {
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

// event converts an object and puts it on the shelf; ok is false where nothing changed.
func (s *shelf) event(obj any) (e Event, ok bool, err error) {
	o, err := object(obj)
	if err != nil {
		return Event{}, false, err
	}
	k := keyOf(o)
	v := s.feed.convert(o)
	if v == nil {
		e, ok = s.gone(k)
		return e, ok, nil
	}
	held := v
	if s.feed.identity != nil {
		held = s.feed.identity(v)
	}
	if old, has := s.held[k]; has && reflect.DeepEqual(old, held) {
		return Event{}, false, nil
	}
	s.held[k] = held
	return Event{Kind: s.feed.kind, Key: k, Object: v}, true, nil
}

func (s *shelf) gone(k model.Key) (Event, bool) {
	if _, has := s.held[k]; !has {
		return Event{}, false
	}
	delete(s.held, k)
	return Event{Kind: s.feed.kind, Key: k}, true
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
