// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gateway

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func wrote(manager string, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{Manager: manager, Operation: "Update", Subresource: "status", FieldsV1: metav1.NewFieldsV1(`{"f:status":` + fields + `}`)}
}

// TestLeftGateway: what Tulle has written goes, and what another controller has written or changed stays.
func TestLeftGateway(t *testing.T) {
	status := func() gwapiv1.GatewayStatus {
		n := int32(1)
		s := gwapiv1.GatewayStatus{Addresses: []gwapiv1.GatewayStatusAddress{{Value: "192.0.2.1"}}, AttachedListenerSets: &n}
		for _, c := range []string{"Accepted", "Programmed", "tulle.dev/Deployed", "example.com/Seen"} {
			s.Conditions = append(s.Conditions, metav1.Condition{Type: c})
		}
		for _, l := range []gwapiv1.SectionName{"http", "https"} {
			s.Listeners = append(s.Listeners, gwapiv1.ListenerStatus{Name: l, AttachedRoutes: 2, Conditions: []metav1.Condition{{Type: "Accepted"}, {Type: "example.com/Seen"}}})
		}
		return s
	}
	all := wrote("tulle", `{"f:addresses":{},"f:attachedListenerSets":{},
		"f:conditions":{"k:{\"type\":\"Accepted\"}":{".":{},"f:status":{}},"k:{\"type\":\"Programmed\"}":{".":{}}},
		"f:listeners":{"k:{\"name\":\"http\"}":{".":{}},"k:{\"name\":\"https\"}":{".":{},"f:attachedRoutes":{},"f:conditions":{"k:{\"type\":\"Accepted\"}":{".":{}}}}}}`)
	stranger := wrote("watcher", `{"f:conditions":{"k:{\"type\":\"example.com/Seen\"}":{".":{}}}}`)
	next := wrote("next", `{"f:addresses":{},
		"f:conditions":{"k:{\"type\":\"Accepted\"}":{"f:observedGeneration":{}}},
		"f:listeners":{"k:{\"name\":\"http\"}":{"f:attachedRoutes":{}}}}`)
	type left struct {
		Conditions, Listeners []string
		Addresses             int
	}
	for name, c := range map[string]struct {
		by       []metav1.ManagedFieldsEntry
		deployed bool
		want     left
	}{
		"nobody has come":               {[]metav1.ManagedFieldsEntry{all, stranger}, false, left{[]string{"example.com/Seen"}, nil, 0}},
		"there is no Mesh":              {[]metav1.ManagedFieldsEntry{all, stranger}, true, left{[]string{"tulle.dev/Deployed", "example.com/Seen"}, nil, 0}},
		"the next controller has begun": {[]metav1.ManagedFieldsEntry{all, stranger, next}, false, left{[]string{"Accepted", "example.com/Seen"}, []string{"http"}, 1}},
		"it never was Tulle's":          {[]metav1.ManagedFieldsEntry{wrote("next", `{"f:conditions":{"k:{\"type\":\"Accepted\"}":{}}}`)}, true, left{[]string{"Accepted", "Programmed", "tulle.dev/Deployed", "example.com/Seen"}, []string{"http", "https"}, 1}},
		"not by the status subresource": {[]metav1.ManagedFieldsEntry{{Manager: "tulle", FieldsV1: all.FieldsV1}}, true, left{[]string{"Accepted", "Programmed", "tulle.dev/Deployed", "example.com/Seen"}, []string{"http", "https"}, 1}},
	} {
		gw := &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{ManagedFields: c.by}, Status: status()}
		s := LeftGateway(gw, c.deployed)
		got := left{Addresses: len(s.Addresses)}
		for _, x := range s.Conditions {
			got.Conditions = append(got.Conditions, x.Type)
		}
		for _, x := range s.Listeners {
			got.Listeners = append(got.Listeners, string(x.Name))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if d := cmp.Diff(status(), gw.Status); d != "" {
			t.Errorf("%s: the Gateway itself changed: %s", name, d)
		}
	}
}

// TestLeftListener: of a listener with a condition of another controller, that condition stays.
func TestLeftListener(t *testing.T) {
	const name = `k:{\"name\":\"http\"}`
	gw := &gwapiv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{
			wrote("tulle", `{"f:listeners":{"`+name+`":{".":{},"f:attachedRoutes":{},"f:conditions":{"k:{\"type\":\"Accepted\"}":{".":{}}}}}}`),
			wrote("watcher", `{"f:listeners":{"`+name+`":{"f:conditions":{"k:{\"type\":\"example.com/Seen\"}":{".":{}}}}}}`),
		}},
		Status: gwapiv1.GatewayStatus{Listeners: []gwapiv1.ListenerStatus{{Name: "http", AttachedRoutes: 2, Conditions: []metav1.Condition{{Type: "Accepted"}, {Type: "example.com/Seen"}}}}},
	}
	want := []gwapiv1.ListenerStatus{{Name: "http", Conditions: []metav1.Condition{{Type: "example.com/Seen"}}}}
	if d := cmp.Diff(want, LeftGateway(gw, false).Listeners); d != "" {
		t.Error(d)
	}
}
