// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayspec

import (
	"fmt"
	"slices"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Refusal is why a Gateway is not accepted, whatever its listeners.
type Refusal struct {
	Reason  gwapiv1.GatewayConditionReason
	Message string // begins with the field
}

// Refuse returns why a Gateway as a whole is not accepted; nil if its spec is valid, except perhaps for
// its listeners.
func Refuse(gw *gwapiv1.Gateway) *Refusal {
	for i, a := range gw.Spec.Addresses {
		if a.Type != nil && *a.Type != gwapiv1.IPAddressType && *a.Type != gwapiv1.HostnameAddressType {
			return &Refusal{gwapiv1.GatewayReasonUnsupportedAddress, fmt.Sprintf(
				"spec.addresses[%d].type: %s is not supported, only IPAddress and Hostname", i, *a.Type,
			)}
		}
	}
	if i := gw.Spec.Infrastructure; i != nil && i.ParametersRef != nil {
		return &Refusal{gwapiv1.GatewayReasonInvalidParameters, fmt.Sprintf(
			"spec.infrastructure.parametersRef: %s is not supported; remove it. Settings of a single Gateway are annotations in spec.infrastructure.annotations: %s",
			kindText(string(i.ParametersRef.Group), string(i.ParametersRef.Kind)), strings.Join(Keys(), ", "),
		)}
	}
	if _, problem := SettingsOf(gw); problem != "" {
		return &Refusal{gwapiv1.GatewayReasonInvalidParameters, problem}
	}
	return nil
}

// OnlyClusterAddresses reports whether a Gateway asks for addresses, and all of them are to be reachable in the
// cluster alone (GatewaySpecAddress.routability).
func OnlyClusterAddresses(gw *gwapiv1.Gateway) bool {
	return len(gw.Spec.Addresses) > 0 && !slices.ContainsFunc(gw.Spec.Addresses, func(a gwapiv1.GatewaySpecAddress) bool {
		return a.Routability != gwapiv1.GatewayAddressRoutabilityCluster
	})
}

// kindText names a kind in a message.
func kindText(group, kind string) string {
	if group == "" {
		return kind + " of the core group"
	}
	return kind + " of group " + group
}
