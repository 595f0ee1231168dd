// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package rights decides which xDS resource a proxy may ask for.
//
// One pure function over the proxy's proven identity and the resource's name;
// it looks nothing up, so that the answer can be read off the name. Invariant:
// what it does not know, it refuses.
package rights
