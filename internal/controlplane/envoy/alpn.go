// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// meshALPN is what a client's proxy offers a server's: first how to ask the application, which follows from
// the Service port that the client meant; then the version of HTTP, for a server's proxy that was configured
// by release 0.2.0.
func meshALPN(b model.Backend, version string) []string {
	switch b.Protocol {
	case model.HTTP:
		return []string{names.ALPNAppHTTP1, version}
	case model.HTTP2, model.GRPC:
		return []string{names.ALPNAppHTTP2, version}
	default:
		return []string{names.ALPNTCP}
	}
}

// directALPN is what a client offers that carries bytes without knowing what they are: the server's proxy
// handles them by what its port speaks.
func directALPN() []string { return []string{names.ALPNAny, names.ALPNTCP} }
