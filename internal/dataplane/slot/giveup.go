// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// StartLimit is how long the first proxy of a pod may take to get ready before slot a gives up.
const StartLimit = time.Minute

// laterLimit is the same for each further time: the kubelet forgets after ten minutes that a container
// has failed before, and then starts it again without delay.
const laterLimit = 11 * time.Minute

// giveUp ends slot a when no proxy of the pod has ever been ready and that takes too long. The kubelet
// starts the slot again, and shows the error with which Run returns: "kubectl describe pod" has it as the
// container's last state, which is the only place there for the reason. The application does not run yet,
// so nobody misses the slot, and meanwhile slot b tries.
func (s *slot) giveUp() {
	if s.StartLimit <= 0 || s.Slot != "a" || s.stopping || s.ending || s.Layout.begun() {
		return
	}
	limit, mark := s.StartLimit, s.Layout.at(protocol.GaveUpFile(s.Slot))
	if _, err := os.Stat(mark); err == nil {
		limit = max(limit, laterLimit)
	}
	if time.Since(s.born) < limit {
		return
	}
	why, ready := s.Layout.reasons()
	if ready {
		return
	}
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		s.log("%v; this slot does not give up, because it would do so too often", err)
		s.StartLimit = 0
		return
	}
	s.gaveUp = fmt.Errorf("the proxy is not ready after %v, and the application waits for it: %s", limit, why)
	s.stop("gives up")
}

// begun reports whether a slot of the pod has ever been Ready: the active one takes the lock then.
func (l Layout) begun() bool {
	_, err := os.Stat(l.at(protocol.LockFile))
	return !errors.Is(err, fs.ErrNotExist)
}
