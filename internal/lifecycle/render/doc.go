// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package render turns a Mesh, a release and the roots into the Kubernetes
// objects that make it up, and a Gateway into its proxies.
//
// Pure: the same input gives the same objects, in the same order. It decides
// what an object looks like and never when it is applied (package plan) or how
// (package apply). What is not written into an object here belongs to whoever
// else writes it, because objects are applied with server-side apply.
//
// Invariant: every object carries the labels by which apply finds it again;
// objects of a revision have the revision in name and label. Start at Input.
package render
