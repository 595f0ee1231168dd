// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package admin is the verb "tulle-proxy admin GET PATH": it asks the Envoy
// of the active slot for one of a few read-only paths and prints the answer.
// "tulle proxy config" runs it in the pod, which has no shell and no curl.
//
// Invariant: nothing that it sends can change the proxy; a path that is not
// on the list is refused before anything is sent.
package admin
