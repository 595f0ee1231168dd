// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"bytes"
	"sync"
)

// Bounds of what a command in a pod may write to standard output and error, in bytes.
const (
	maxAdmin      = 256 << 20
	maxAdminError = 4 << 10
)

// bounded keeps the first most bytes that are written to it. It drops further ones and calls full, once. It may be
// used concurrently: a command that is stopped may still write.
type bounded struct {
	most int
	full func()

	mu   sync.Mutex // guards all below
	kept bytes.Buffer
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	room := b.most - b.kept.Len()
	b.kept.Write(p[:min(room, len(p))])
	if len(p) > room && !b.over {
		b.over = true
		b.full()
	}
	return len(p), nil
}

// text returns what is kept, which later writes do not change, and whether it is all that was written.
func (b *bounded) text() (kept []byte, whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept.Bytes(), !b.over
}
