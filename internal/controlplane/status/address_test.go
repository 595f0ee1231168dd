// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
)

// TestAddresses: a Gateway is programmed only with the addresses that it asks for
// (https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#gatewayspec, addresses).
func TestAddresses(t *testing.T) {
	ip, hostname := gwapiv1.IPAddressType, gwapiv1.HostnameAddressType
	for name, c := range map[string]struct {
		wanted []gwapiv1.GatewaySpecAddress
		has    []string
		reason gwapiv1.GatewayConditionReason
		says   string
	}{
		"any":                          {nil, []string{"192.0.2.7"}, gwapiv1.GatewayReasonProgrammed, ""},
		"none yet":                     {nil, nil, gwapiv1.GatewayReasonAddressNotAssigned, "no address yet"},
		"any of a type":                {[]gwapiv1.GatewaySpecAddress{{Type: &ip}}, []string{"192.0.2.7"}, gwapiv1.GatewayReasonProgrammed, ""},
		"any of a type, none yet":      {[]gwapiv1.GatewaySpecAddress{{Type: &ip}}, nil, gwapiv1.GatewayReasonAddressNotAssigned, "no address yet"},
		"any of another type":          {[]gwapiv1.GatewaySpecAddress{{Type: &hostname}}, []string{"192.0.2.7"}, gwapiv1.GatewayReasonAddressNotAssigned, "spec.addresses[0] asks for an address of type Hostname"},
		"this one":                     {[]gwapiv1.GatewaySpecAddress{{Value: "192.0.2.7"}}, []string{"192.0.2.7"}, gwapiv1.GatewayReasonProgrammed, ""},
		"this one, spelled otherwise":  {[]gwapiv1.GatewaySpecAddress{{Type: &ip, Value: "2001:db8:0::1"}}, []string{"2001:db8::1"}, gwapiv1.GatewayReasonProgrammed, ""},
		"this one, which is not given": {[]gwapiv1.GatewaySpecAddress{{Value: "192.0.2.7"}}, nil, gwapiv1.GatewayReasonAddressNotUsable, "no address and not spec.addresses[0].value (192.0.2.7)"},
		"another was given":            {[]gwapiv1.GatewaySpecAddress{{Value: "192.0.2.7"}}, []string{"192.0.2.8"}, gwapiv1.GatewayReasonAddressNotUsable, "only 192.0.2.8 and not spec.addresses[0].value (192.0.2.7)"},
		"one of two":                   {[]gwapiv1.GatewaySpecAddress{{Value: "192.0.2.7"}, {Value: "192.0.2.9"}}, []string{"192.0.2.9"}, gwapiv1.GatewayReasonAddressNotUsable, "spec.addresses[0].value (192.0.2.7)"},
		"a host name":                  {[]gwapiv1.GatewaySpecAddress{{Type: &hostname, Value: "LB.example.com"}}, []string{"lb.example.com"}, gwapiv1.GatewayReasonProgrammed, ""},
		"many, none given":             {many(16), nil, gwapiv1.GatewayReasonAddressNotUsable, "spec.addresses[2].value (192.0.2.2) and 13 more"},
		"another host name":            {[]gwapiv1.GatewaySpecAddress{{Type: &hostname, Value: "foo"}}, []string{"lb.example.com"}, gwapiv1.GatewayReasonAddressNotUsable, "spec.addresses[0].value (foo)"},
	} {
		t.Run(name, func(t *testing.T) {
			v := GatewayVerdict{
				GatewayVerdict: gatewayapi.GatewayVerdict{
					Conditions: []metav1.Condition{{Type: string(gwapiv1.GatewayConditionAccepted), Status: metav1.ConditionTrue}},
					Listeners:  []gwapiv1.ListenerStatus{{Name: "http"}},
					Serving:    []string{"http"},
					Wanted:     c.wanted,
				},
				Addresses: c.has,
			}
			st := Gateway(gwapiv1.GatewayStatus{}, v, Outcome{Programmed: true, Reason: ReasonAcknowledged})
			got := condition(st.Conditions, string(gwapiv1.GatewayConditionProgrammed))
			good := c.reason == gwapiv1.GatewayReasonProgrammed
			if got.Reason != string(c.reason) || (got.Status == metav1.ConditionTrue) != good || !strings.Contains(got.Message, c.says) {
				t.Errorf("%+v, want %s with %q", got, c.reason, c.says)
			}
			if len(st.Addresses) != len(c.has) {
				t.Errorf("addresses %v", st.Addresses)
			}
			l := condition(st.Listeners[0].Conditions, string(gwapiv1.ListenerConditionProgrammed))
			if want := map[bool]gwapiv1.ListenerConditionReason{true: gwapiv1.ListenerReasonProgrammed, false: gwapiv1.ListenerReasonPending}[good]; l.Reason != string(want) {
				t.Errorf("the listener's reason is %s, want %s", l.Reason, want)
			}
			if !good && strings.Contains(l.Message, "192.0.2") {
				t.Errorf("the listener repeats the addresses: %s", l.Message)
			}
		})
	}
}

func many(n int) []gwapiv1.GatewaySpecAddress {
	out := make([]gwapiv1.GatewaySpecAddress, 0, n)
	for i := range n {
		out = append(out, gwapiv1.GatewaySpecAddress{Value: fmt.Sprintf("192.0.2.%d", i)})
	}
	return out
}

func condition(cs []metav1.Condition, kind string) metav1.Condition {
	for _, c := range cs {
		if c.Type == kind {
			return c
		}
	}
	return metav1.Condition{}
}

// TestRoutability: an entry for the cluster gets a cluster address of the Gateway's Service and never another,
// each address is given once, and what is not given is in the condition AddressesAssigned
// (GatewaySpecAddress.routability).
func TestRoutability(t *testing.T) {
	const cluster = gwapiv1.GatewayAddressRoutabilityCluster
	hostname := gwapiv1.HostnameAddressType
	for name, c := range map[string]struct {
		wanted     []gwapiv1.GatewaySpecAddress
		has        []string
		status     metav1.ConditionStatus
		reason     gwapiv1.GatewayConditionReason
		programmed bool
		addresses  string
		says       string
	}{
		"nothing asked":          {nil, []string{"192.0.2.7"}, "True", gwapiv1.GatewayReasonAddressesAssigned, true, "192.0.2.7 ", ""},
		"nothing asked, none":    {nil, nil, "", "", false, "", ""},
		"in the cluster":         {[]gwapiv1.GatewaySpecAddress{{Routability: cluster}}, []string{"10.96.0.9"}, "True", gwapiv1.GatewayReasonAddressesAssigned, true, "10.96.0.9 Cluster", ""},
		"both":                   {[]gwapiv1.GatewaySpecAddress{{Routability: cluster}, {}}, []string{"192.0.2.7"}, "True", gwapiv1.GatewayReasonAddressesAssigned, true, "10.96.0.9 Cluster,192.0.2.7 ", ""},
		"both, none outside yet": {[]gwapiv1.GatewaySpecAddress{{Routability: cluster}, {}}, nil, "False", gwapiv1.GatewayReasonAddressesPartiallyAssigned, true, "10.96.0.9 Cluster", "spec.addresses[1]"},
		"two of one":             {[]gwapiv1.GatewaySpecAddress{{Routability: cluster}, {Routability: cluster}}, nil, "False", gwapiv1.GatewayReasonAddressesPartiallyAssigned, true, "10.96.0.9 Cluster", "spec.addresses[1] (routability Cluster)"},
		"another value":          {[]gwapiv1.GatewaySpecAddress{{Routability: cluster, Value: "203.0.113.1"}}, []string{"192.0.2.7"}, "False", gwapiv1.GatewayReasonAddressesNotAssigned, false, "", "spec.addresses[0] (203.0.113.1, routability Cluster)"},
		"its own value":          {[]gwapiv1.GatewaySpecAddress{{Routability: cluster, Value: "10.96.0.9"}}, nil, "True", gwapiv1.GatewayReasonAddressesAssigned, true, "10.96.0.9 Cluster", ""},
		"a host name":            {[]gwapiv1.GatewaySpecAddress{{Routability: cluster, Type: &hostname}}, []string{"192.0.2.7"}, "False", gwapiv1.GatewayReasonAddressesNotAssigned, false, "", "spec.addresses[0]"},
		"another routability":    {[]gwapiv1.GatewaySpecAddress{{Routability: "example.com/wan"}}, []string{"192.0.2.7"}, "False", gwapiv1.GatewayReasonAddressesNotAssigned, false, "", "routability example.com/wan"},
	} {
		t.Run(name, func(t *testing.T) {
			v := GatewayVerdict{
				GatewayVerdict: gatewayapi.GatewayVerdict{
					Conditions: []metav1.Condition{{Type: string(gwapiv1.GatewayConditionAccepted), Status: metav1.ConditionTrue}},
					Serving:    []string{"http"}, Wanted: c.wanted,
				},
				Generation: 3, Addresses: c.has, ClusterAddresses: []string{"10.96.0.9"},
			}
			st := Gateway(gwapiv1.GatewayStatus{}, v, Outcome{Programmed: true, Reason: ReasonAcknowledged})
			var addresses []string
			for _, a := range st.Addresses {
				routability := gwapiv1.GatewayAddressRoutabilityDefault
				if a.Routability != nil {
					routability = *a.Routability
				}
				addresses = append(addresses, a.Value+" "+string(routability))
			}
			if got := strings.Join(addresses, ","); got != c.addresses {
				t.Errorf("addresses %q, want %q", got, c.addresses)
			}
			got := condition(st.Conditions, string(gwapiv1.GatewayConditionAddressesAssigned))
			if got.Status != c.status || got.Reason != string(c.reason) || !strings.Contains(got.Message, c.says) || c.status != "" && got.ObservedGeneration != 3 {
				t.Errorf("%+v, want %s %s with %q", got, c.status, c.reason, c.says)
			}
			programmed := condition(st.Conditions, string(gwapiv1.GatewayConditionProgrammed))
			if (programmed.Status == metav1.ConditionTrue) != c.programmed || !c.programmed && programmed.Reason != string(gwapiv1.GatewayReasonAddressNotAssigned) {
				t.Errorf("%+v", programmed)
			}
		})
	}
}
