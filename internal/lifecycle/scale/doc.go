// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package scale decides how many replicas of the control plane there are to be.
//
// It is pure and remembers nothing but what it is given back from the Mesh's
// status. It goes up at once, to what is needed, and down by one replica each
// time that fewer would have done for five minutes on end. It must not know
// who counts proxies and CPU, nor how replicas are made.
//
// Invariant: whatever it is told, the result is within the bounds; told the
// same again and again, it comes to rest. Start at Next.
package scale
