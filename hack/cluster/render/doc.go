// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package render writes the components' configuration and command lines.
//
// It is pure: a layout goes in, file contents and arguments come out. It knows
// what each component wants to be told, and why; it must not start or read
// anything.
//
// Invariant: nothing rendered names an address outside the layout's ranges and
// loopback, or a path outside the state folder and the node's own /run.
//
// Start reading at Components, then Files.
package render
