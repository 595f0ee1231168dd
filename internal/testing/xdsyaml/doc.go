// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package xdsyaml writes xDS resources as YAML for people and golden files, and
// reads them back: a list of {name, refs, type, xds}, extensions unpacked.
//
// It knows Envoy's protobuf types and nothing of how resources are made.
// Invariant: Decode(Encode(x)) equals x. To print or read an extension it must
// be linked in; extensions.go has the list.
package xdsyaml
