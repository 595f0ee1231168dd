// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package referenced

import (
	"context"
	"time"

	"github.com/go-logr/logr"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
)

const (
	// maxReads is how many objects are read at a time. Each may have a mebibyte.
	maxReads = 8
	// readTimeout bounds a read.
	readTimeout = 5 * time.Second
)

// Read reads an object by name, as source.Read does.
type Read func(ctx context.Context, kind source.Kind, k model.Key) (object any, version string, err error)

// Stage adds to batches of events the Secrets and ConfigMaps that the objects in them refer to. Make it with New
// and call Run once.
type Stage struct {
	signals *signals
	log     logr.Logger
}

// New returns a Stage.
func New(log logr.Logger) *Stage { return &Stage{signals: newSignals(), log: log} }

// Referenced is to be notified of changes of metadata. It may be used from any goroutine.
func (s *Stage) Referenced() source.Referenced { return s.signals }

// Run takes batches until ctx ends, and calls deliver with one batch after the other, never two at a time. The
// first batch that it delivers is the first that it takes, which may be empty, with all that this refers to.
func (s *Stage) Run(ctx context.Context, batches <-chan []source.Event, read Read, deliver func([]source.Event)) {
	l := newLoader(s.log, s.signals.want)
	results := make(chan found)
	reading := 0
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for ; reading < maxReads; reading++ {
			r, ok := l.next()
			if !ok {
				break
			}
			go s.read(ctx, r, read, results)
		}
		in := batches
		if l.begun && !l.open {
			in = nil // the first batch comes first
		}
		timer.Reset(untilWake(l.wake()))
		var out []source.Event
		select {
		case <-ctx.Done():
			return
		case b := <-in:
			out = l.take(b, time.Now())
		case r := <-results:
			reading--
			out = l.done(r, time.Now())
		case <-s.signals.news:
			changed, unwatched := s.signals.take()
			for r, version := range changed {
				l.changed(r, version)
			}
			for kind := range unwatched {
				l.unwatched(kind, time.Now())
			}
		case <-timer.C:
			out = l.pass(time.Now())
		}
		if out != nil {
			deliver(out)
		}
	}
}

func untilWake(at time.Time) time.Duration {
	if at.IsZero() {
		return time.Hour
	}
	return max(time.Until(at), 0)
}

func (s *Stage) read(ctx context.Context, r Ref, read Read, results chan<- found) {
	limited, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	object, version, err := read(limited, r.Kind, r.Key)
	select {
	case results <- found{r, object, version, err}:
	case <-ctx.Done():
	}
}
