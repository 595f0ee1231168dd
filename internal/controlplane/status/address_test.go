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
