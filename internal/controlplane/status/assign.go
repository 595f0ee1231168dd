// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// assignment is what a Gateway gets of the addresses that it asks for.
type assignment struct {
	// have are the addresses of its status. Of a Gateway that asks for addresses of a routability they are
	// those that it asks for and nothing else.
	have []gwapiv1.GatewayStatusAddress
	// missing are the entries of spec.addresses that no address of the Gateway's Service satisfies.
	missing []string
}

// assign finds an address for each entry of spec.addresses, each address for one entry. An entry for the
// cluster gets a cluster address of the Service; other values of routability are not supported
// (GatewaySpecAddress.routability).
func assign(v GatewayVerdict) assignment {
	var out assignment
	routed := false
	used := map[string]bool{}
	for i, want := range v.Wanted {
		kind := gwapiv1.IPAddressType
		if want.Type != nil {
			kind = *want.Type
		}
		routed = routed || want.Routability != gwapiv1.GatewayAddressRoutabilityDefault
		offered := v.Addresses
		switch want.Routability {
		case gwapiv1.GatewayAddressRoutabilityDefault:
		case gwapiv1.GatewayAddressRoutabilityCluster:
			offered = v.ClusterAddresses
		default:
			offered = nil
		}
		found := slices.IndexFunc(offered, func(a string) bool {
			return !used[a] && addressType(a) == kind && (want.Value == "" || sameAddress(a, want.Value))
		})
		if found < 0 {
			out.missing = append(out.missing, requested(i, want))
			continue
		}
		used[offered[found]] = true
		got := gwapiv1.GatewayStatusAddress{Type: &kind, Value: offered[found]}
		if want.Routability != gwapiv1.GatewayAddressRoutabilityDefault {
			got.Routability = &want.Routability
		}
		out.have = append(out.have, got)
	}
	if routed {
		return out
	}
	out.have = nil
	for _, a := range v.Addresses[:min(len(v.Addresses), maxAddresses)] {
		kind := addressType(a)
		out.have = append(out.have, gwapiv1.GatewayStatusAddress{Type: &kind, Value: a})
	}
	return out
}

// requested names an entry of spec.addresses.
func requested(i int, a gwapiv1.GatewaySpecAddress) string {
	s := fmt.Sprintf("spec.addresses[%d]", i)
	switch {
	case a.Value != "" && a.Routability != "":
		return fmt.Sprintf("%s (%s, routability %s)", s, a.Value, a.Routability)
	case a.Value != "":
		return fmt.Sprintf("%s (%s)", s, a.Value)
	case a.Routability != "":
		return fmt.Sprintf("%s (routability %s)", s, a.Routability)
	}
	return s
}

// condition is AddressesAssigned; ok is false as long as nothing is known of the Gateway's addresses.
func (a assignment) condition(v GatewayVerdict) (c metav1.Condition, ok bool) {
	c = metav1.Condition{
		Type: string(gwapiv1.GatewayConditionAddressesAssigned), ObservedGeneration: v.Generation,
		Status: metav1.ConditionTrue, Reason: string(gwapiv1.GatewayReasonAddressesAssigned), Message: "The Gateway has the addresses that it asks for",
	}
	if len(a.missing) == 0 {
		return c, len(a.have) > 0
	}
	c.Status, c.Reason = metav1.ConditionFalse, string(gwapiv1.GatewayReasonAddressesPartiallyAssigned)
	if len(a.missing) == len(v.Wanted) {
		c.Reason = string(gwapiv1.GatewayReasonAddressesNotAssigned)
	}
	c.Message = "not assigned: " + few(a.missing) + "; " + offers(v)
	return c, len(v.Addresses)+len(v.ClusterAddresses) > 0
}

// offers says what a Gateway's Service has.
func offers(v GatewayVerdict) string {
	has := "no address"
	if len(v.Addresses) > 0 {
		has = few(v.Addresses)
	}
	return "the Gateway's Service has " + has + ", and for routability Cluster, which is given to entries of type IPAddress, " + few(v.ClusterAddresses) +
		"; other values of routability are not supported"
}
