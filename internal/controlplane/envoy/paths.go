// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package envoy

import "google.golang.org/protobuf/types/known/wrapperspb"

// routedRevision is the Revision of listeners whose requests are routed; 1 had no CORS filter, 2 no
// normal paths beside clients.
const routedRevision = "3"

// clientPaths: routes beside a client match RFC 3986's normal form, as those of gateways do. The
// server's proxy makes that form in any case: otherwise /x/../admin would pass by a rule for /admin
// here and be /admin for the application.
func clientPaths() *wrapperspb.BoolValue { return wrapperspb.Bool(true) }
