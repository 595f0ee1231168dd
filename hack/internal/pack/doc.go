// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package pack makes container images from files, without a docker daemon and
// without a base image.
//
// It owns the form of the images: what a layer's tar looks like and what the
// configuration says. It must not know which images exist.
//
// Invariant: the same files make the same bytes (times are zero, order is
// sorted), so an image's digest says what is in it and nothing else.
//
// Start reading at Write, then Layer.
package pack
