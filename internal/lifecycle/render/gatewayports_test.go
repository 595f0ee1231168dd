// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// TestPortsOfListenerSets: a Gateway's Service has the ports of accepted listeners of accepted sets, each once, and
// none of the proxy's own.
func TestPortsOfListenerSets(t *testing.T) {
	condition := func(kind string, status metav1.ConditionStatus) []metav1.Condition {
		return []metav1.Condition{{Type: kind, Status: status}}
	}
	set := func(accepted metav1.ConditionStatus, listeners map[int32]metav1.ConditionStatus) gwapiv1.ListenerSet {
		s := gwapiv1.ListenerSet{Status: gwapiv1.ListenerSetStatus{Conditions: condition("Accepted", accepted)}}
		for port, status := range listeners {
			name := gwapiv1.SectionName(fmt.Sprint("l", port))
			s.Spec.Listeners = append(s.Spec.Listeners, gwapiv1.ListenerEntry{Name: name, Port: port, Protocol: gwapiv1.HTTPProtocolType})
			s.Status.Listeners = append(s.Status.Listeners, gwapiv1.ListenerEntryStatus{Name: name, Conditions: condition("Accepted", status)})
		}
		return s
	}
	gw := &gwapiv1.Gateway{Spec: gwapiv1.GatewaySpec{Listeners: []gwapiv1.Listener{
		{Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType}, {Name: "ours", Port: 15020, Protocol: gwapiv1.HTTPProtocolType},
	}}}
	var got []int32
	for _, p := range GatewayPorts(
		gw,
		set("True", map[int32]metav1.ConditionStatus{80: "True", 8080: "True", 9000: "False"}),
		set("False", map[int32]metav1.ConditionStatus{7000: "True"}),
		gwapiv1.ListenerSet{Spec: gwapiv1.ListenerSetSpec{Listeners: []gwapiv1.ListenerEntry{{Name: "new", Port: 6000}}}},
		// The control plane accepts no more of a Gateway's listeners: TooManyListeners.
		set("True", map[int32]metav1.ConditionStatus{8081: "True", 8082: "False"}), set("False", map[int32]metav1.ConditionStatus{8083: "False"}),
	) {
		got = append(got, p.Port)
	}
	if d := cmp.Diff([]int32{80, 8080, 8081}, got); d != "" {
		t.Error(d)
	}
}
