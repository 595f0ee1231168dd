// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"time"
)

// spreadOver is how long proxies take to spread over replicas after one more came. They come back with
// what they have, so that moving one costs little; but a token's review and a handshake each.
const spreadOver = 2 * time.Minute

// crew is what a replica knows of those who serve with it.
type crew struct {
	// serves tells whether this replica does, servers how many do.
	serves  bool
	servers int
}

// grown tells whether somebody came who has no proxies yet, while this replica served already. Where the
// Service moves to another revision, proxies stay with the replica they have.
func grown(before, now crew) bool {
	return before.serves && now.serves && now.servers > before.servers
}

// rebalance has the proxies of this replica spread over all when there is one more of them. Without
// it, a new replica would wait for the streams of the others to get old.
func (r *replica) rebalance(ctx context.Context) error {
	before, changed := r.feed.crew()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		var now crew
		if now, changed = r.feed.crew(); grown(before, now) {
			r.opts.Log.Info("Another replica serves: proxies spread over all of them", "replicas", now.servers, "within", spreadOver.String())
			r.server.Rebalance(spreadOver)
		}
		before = now
	}
}

// crew is who serves now. The channel is closed when that may have changed.
func (f *feed) crew() (crew, <-chan struct{}) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return crew{serves: f.peers.serves(f.self), servers: f.peers.servers()}, f.moved
}
