// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import (
	"strconv"

	"tulle.dev/tulle/internal/gatewaykinds"
)

// Kind is a kind that a release reads.
type Kind struct {
	// Definition is the name of the CustomResourceDefinition, Version the one that is read.
	Definition, Version string
}

// OldestMinor is the first minor release of Kubernetes (1.x) that Tulle runs on: native sidecars are on
// by default from there.
const OldestMinor = 29

// oldestKubernetes is OldestMinor as a version.
func oldestKubernetes() string { return "1." + strconv.Itoa(OldestMinor) }

// kinds02 are those that 0.2 and its operator read.
func kinds02() []Kind { return append(GatewayAPIKinds(), certManagerKinds()...) }

// GatewayAPIKinds are the kinds of the Gateway API that Tulle needs. All are in both of its channels.
func GatewayAPIKinds() []Kind {
	out := []Kind{
		{"gatewayclasses.gateway.networking.k8s.io", "v1"},
		{"gateways.gateway.networking.k8s.io", "v1"},
	}
	for _, k := range gatewaykinds.All() {
		if k.Required {
			out = append(out, Kind{k.Definition(), k.Version})
		}
	}
	return append(out, Kind{"referencegrants.gateway.networking.k8s.io", "v1beta1"})
}

func certManagerKinds() []Kind {
	return []Kind{
		{"certificates.cert-manager.io", "v1"},
		{"issuers.cert-manager.io", "v1"},
		{"clusterissuers.cert-manager.io", "v1"},
	}
}
