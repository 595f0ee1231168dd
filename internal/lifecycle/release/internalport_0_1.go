// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package release

// InternalPort is false: this build stands for a release whose operator renders no such port.
func (r Release) InternalPort() bool { return false }
