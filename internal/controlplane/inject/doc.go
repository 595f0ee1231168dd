// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package inject puts the proxy into a pod.
//
//	AdmissionReview -> handler.go -> Pod(pod, namespace, settings) -> patch.go -> JSON patch
//
// It owns the decision who is injected, the closed list of annotations that a
// workload may set, the moving of probes to the agent and what is refused. What
// the added containers look like is internal/slots' business.
//
// Everything but handler.go is pure. It knows no clients and no xDS.
//
// Invariant: Pod(Pod(p)) equals Pod(p), also when others have added containers
// in between, and every field of the pod that it has no reason to touch stays
// as it was.
//
// Start with pod.go.
package inject
