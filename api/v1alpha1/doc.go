// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package v1alpha1 is the API of Tulle, group tulle.dev: the one resource that
// an administrator writes, Mesh.
//
// It knows apimachinery and core/v1 only, so that anybody may import it. What
// a single object can get wrong is refused by its schema, with a message that
// says what to write instead; what depends on the cluster is told in
// conditions, all of which are listed in conditions.go.
//
// Start at Mesh in mesh.go.
//
// +kubebuilder:object:generate=true
// +groupName=tulle.dev
package v1alpha1
