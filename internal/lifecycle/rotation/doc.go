// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package rotation changes the root of the mesh's certificates while it carries
// traffic: because somebody asks for it, because the root is near its end, or
// because the Mesh names another issuer.
//
//	Preparing     an intermediate is issued below the new root, for a trial
//	Distributing  the new root joins the bundle; every replica and proxy takes it
//	Signing       the signing intermediate is issued anew, by the new issuer
//	TurningOver   proxies renew; the last certificate of the old root goes
//	Retiring      the old root leaves the bundle
//
// Next is a pure function of what is seen. It remembers nothing but what the
// status says, and the status is only believed where the cluster agrees: which
// issuer signs is read from the Certificate, who trusts what from the replicas
// of the control plane. Until Retiring it can be turned back, which is nothing
// or the same way in the other direction.
//
// Beside the roots, and whether one changes or not, it keeps the list of the mesh's own intermediates that
// every chain must pass through (intermediates.go).
//
// Invariant: a root leaves the bundle only when nothing that is in use hangs
// from it, and nothing is signed below a root, or with an intermediate, before
// every proxy trusts it. A proxy that does not do its part within a certificate's
// life, and a pod that the Mesh names in names.AnnotationRotateWithout, are exempt:
// one pod must not keep a root that has to go.
// Start at Next; phases.go has what each phase waits for.
package rotation
