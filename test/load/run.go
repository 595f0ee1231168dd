// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package load

import (
	"context"
	"sync"
	"time"
)

// Run sends what o says and returns the final summary. An error means that o is wrong and nothing
// was sent; failed requests are in the summary. Requests under way when the run's time or ctx
// ends get to finish (within their own timeout), so that an end is never counted as a failure.
func Run(ctx context.Context, o Options) (Summary, error) {
	o = o.withDefaults()
	u, err := o.validate()
	if err != nil {
		return Summary{}, err
	}
	start := time.Now()
	t := newTally(o.URL, start)
	turns := o.turns(ctx, start)
	shared := o.transport()

	var workers sync.WaitGroup
	for range o.Workers {
		workers.Go(func() {
			s := o.newSender(u, shared)
			defer s.close()
			for range turns {
				one, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Timeout)
				began := time.Now()
				out := s.send(one)
				t.add(out, began, time.Now())
				cancel()
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		workers.Wait()
		close(finished)
	}()
	o.tell(t, finished)
	last := t.summary(time.Now(), true)
	if o.Progress != nil {
		o.Progress(last)
	}
	return last, nil
}

// turns is a channel with one element per request to send, at the rate wanted; it closes at the
// end. When every worker is busy, late turns are made up for afterwards.
func (o Options) turns(ctx context.Context, start time.Time) <-chan struct{} {
	turns := make(chan struct{})
	go func() {
		defer close(turns)
		if o.Duration > 0 {
			bounded, cancel := context.WithDeadline(ctx, start.Add(o.Duration))
			defer cancel()
			ctx = bounded
		}
		for i := 0; o.Count <= 0 || i < o.Count; i++ {
			if o.Rate > 0 && !sleepUntil(ctx, start.Add(time.Duration(float64(i)/o.Rate*float64(time.Second)))) {
				return
			}
			select {
			case <-ctx.Done():
				return
			case turns <- struct{}{}:
			}
		}
	}()
	return turns
}

// tell calls Progress until the run has finished.
func (o Options) tell(t *tally, finished <-chan struct{}) {
	if o.Progress == nil {
		<-finished
		return
	}
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	for {
		select {
		case <-finished:
			return
		case now := <-tick.C:
			o.Progress(t.summary(now, false))
		}
	}
}
