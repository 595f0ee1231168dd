// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// addressType is the type of an address that a Service was given.
func addressType(a string) gwapiv1.AddressType {
	if _, err := netip.ParseAddr(a); err == nil {
		return gwapiv1.IPAddressType
	}
	return gwapiv1.HostnameAddressType
}

// unmet is the state of a Gateway that does not have an address it asks for by its value, or one of a
// type it asks for (GatewaySpecAddress); ok is false where it has them all. Who gives addresses tells
// nobody that it won't give one, so "not yet" and "never" look the same here.
func unmet(v GatewayVerdict) (o Outcome, ok bool) {
	var values []string
	for i, a := range v.Wanted {
		kind := gwapiv1.IPAddressType
		if a.Type != nil {
			kind = *a.Type
		}
		if a.Routability != gwapiv1.GatewayAddressRoutabilityDefault {
			continue // see assign
		}
		switch {
		case a.Value != "" && !slices.ContainsFunc(v.Addresses, func(have string) bool { return sameAddress(have, a.Value) }):
			values = append(values, fmt.Sprintf("spec.addresses[%d].value (%s)", i, a.Value))
		case a.Value == "" && len(v.Addresses) > 0 && !slices.ContainsFunc(v.Addresses, func(have string) bool { return addressType(have) == kind }):
			return Outcome{Reason: string(gwapiv1.GatewayReasonAddressNotAssigned), Message: fmt.Sprintf(
				"spec.addresses[%d] asks for an address of type %s; the Gateway's Service has %s", i, kind, few(v.Addresses),
			)}, true
		}
	}
	if len(values) == 0 {
		return Outcome{}, false
	}
	has := "no address"
	if len(v.Addresses) > 0 {
		has = "only " + few(v.Addresses)
	}
	return Outcome{Reason: string(gwapiv1.GatewayReasonAddressNotUsable), Message: fmt.Sprintf(
		"the Gateway's Service has %s and not %s: only a Service of type LoadBalancer can ask for an address, and for one; write one that this cluster can give and that is not in use, or remove the value to get any",
		has, few(values),
	)}, true
}

// few joins the first of many values.
func few(values []string) string {
	const shown = 3
	out := strings.Join(values[:min(len(values), shown)], ", ")
	if n := len(values) - shown; n > 0 {
		out += fmt.Sprintf(" and %d more", n)
	}
	return out
}

// sameAddress compares addresses by their meaning: IPv6 has many spellings, and host names know no case.
func sameAddress(a, b string) bool {
	x, errA := netip.ParseAddr(a)
	y, errB := netip.ParseAddr(b)
	if errA == nil && errB == nil {
		return x == y
	}
	return strings.EqualFold(a, b)
}
