// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import (
	"regexp"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// routedRevision is the Revision of listeners whose requests are routed.
const routedRevision = Revision

// clientPaths: routes beside a client match paths as they come.
func clientPaths() *wrapperspb.BoolValue { return nil }

// dotsPlaces: none has the filter.
func dotsPlaces() []place { return nil }

// eitherCase: every path is matched in the one way it is written.
func eitherCase(string) bool { return false }

func pathPattern(path string) string { return regexp.QuoteMeta(path) }
